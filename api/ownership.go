package api

import (
	"encoding/binary"
	"errors"
	"time"
	"unique"
	"unsafe"
)

// Owner says which fields one manager owns: an entry of metadata.managedFields.
type Owner struct {
	Manager     string
	Operation   string // "Update" or "Apply"
	APIVersion  string // the version the manager wrote in, in which Fields are expressed
	Subresource string // "" for the object itself
	Fields      string // fieldsV1 JSON, canonical: no white space, members in field-set order
	Time        int64  // Unix seconds; 0 when the entry has none
}

// Owners is an object's managedFields.
type Owners []Owner

// Ownership is an interned Owners without its times: objects that are alike share one copy, and two are equal exactly
// when they are ==. The zero Ownership owns nothing.
type Ownership struct {
	handle unique.Handle[string]
}

var noOwnership = unique.Make("")

// NewOwnership interns owners, leaving out their times.
func NewOwnership(owners Owners) Ownership {
	if len(owners) == 0 {
		return Ownership{noOwnership}
	}
	var room [4 << 10]byte // for most; Make copies what it does not know yet
	b := room[:0]
	for _, o := range owners {
		for _, s := range [...]string{o.Manager, o.Operation, o.APIVersion, o.Subresource, o.Fields} {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
	}
	return Ownership{unique.Make(unsafe.String(&b[0], len(b)))}
}

// next takes the next owner off an encoded ownership.
func next(s string) (o Owner, rest string, ok bool) {
	for _, f := range [...]*string{&o.Manager, &o.Operation, &o.APIVersion, &o.Subresource, &o.Fields} {
		if len(s) < 4 {
			return o, "", false
		}
		n := int(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
		if s = s[4:]; n > len(s) {
			return o, "", false
		}
		*f, s = s[:n], s[n:]
	}
	return o, s, true
}

func decodeOwnership(b []byte) (Ownership, error) {
	if len(b) == 0 {
		return Ownership{noOwnership}, nil
	}
	all := unsafe.String(&b[0], len(b)) // Make copies what it does not know yet
	for s := all; s != ""; {
		var ok bool
		if _, s, ok = next(s); !ok {
			return Ownership{}, errors.New("record: malformed ownership")
		}
	}
	return Ownership{unique.Make(all)}, nil
}

// Is reports whether w is the ownership of owners, without interning them.
func (w Ownership) Is(owners Owners) bool {
	s := w.value()
	for _, o := range owners {
		have, rest, ok := next(s)
		o.Time = 0
		if !ok || have != o {
			return false
		}
		s = rest
	}
	return s == ""
}

// Size is how many bytes the ownership takes, once for all records that share it.
func (w Ownership) Size() int { return len(w.value()) }

func (w Ownership) value() string {
	if w == (Ownership{}) {
		return ""
	}
	return w.handle.Value()
}

func (w Ownership) count() int {
	n := 0
	for s := w.value(); s != ""; n++ {
		_, s, _ = next(s)
	}
	return n
}

func (w Ownership) owners() Owners {
	var owners Owners
	for s := w.value(); s != ""; {
		var o Owner
		o, s, _ = next(s)
		owners = append(owners, o)
	}
	return owners
}

// appendJSON appends the managedFields array, taking the time of entry i from at.
func (w Ownership) appendJSON(dst []byte, at func(i int) int64) []byte {
	dst = append(dst, '[')
	i := 0
	for s := w.value(); s != ""; i++ {
		var o Owner
		o, s, _ = next(s)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMember(append(dst, '{'), `"manager":`, o.Manager, o.Manager != "")
		dst = appendMember(dst, `"operation":`, o.Operation, true)
		dst = appendMember(dst, `"apiVersion":`, o.APIVersion, o.APIVersion != "")
		if t := at(i); t != 0 {
			dst = append(dst, `,"time":"`...)
			dst = time.Unix(t, 0).UTC().AppendFormat(dst, time.RFC3339)
			dst = append(dst, '"')
		}
		dst = append(dst, `,"fieldsType":"FieldsV1","fieldsV1":`...)
		dst = append(dst, o.Fields...)
		dst = appendMember(dst, `"subresource":`, o.Subresource, o.Subresource != "")
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendMember(dst []byte, name, value string, present bool) []byte {
	if !present {
		return dst
	}
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return AppendString(append(dst, name...), value)
}

// AppendString appends s, which must be valid UTF-8 (every decoder checks that on the way in), as a JSON string.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
