package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"pintle.dev/api"
)

const formatVersion = "1"

// The spaces of keys: their first byte.
const (
	spaceMeta    = 'm'
	spaceTable   = 't'
	spaceDropped = 'd'
	spaceVersion = 'v'
	spaceEvent   = 'e'
)

var (
	keyFormat   = []byte("m format")
	keyRevision = []byte("m revision")
	keyHorizon  = []byte("m horizon")
	keyTables   = []byte("m tables")
)

type tableID uint32

var (
	errBadKey   = errors.New("a key is malformed")
	errBadValue = errors.New("a value is malformed")
)

func resourceKey(space byte, r api.Resource) []byte {
	return append(append(append([]byte{space}, r.Group...), 0), r.Name...)
}

func parseResourceKey(k []byte) (api.Resource, error) {
	group, name, ok := bytes.Cut(k[1:], []byte{0})
	if !ok {
		return api.Resource{}, errBadKey
	}
	return api.Resource{Group: string(group), Name: string(name)}, nil
}

func tablePrefix(space byte, id tableID) []byte {
	return binary.BigEndian.AppendUint32([]byte{space}, uint32(id))
}

func appendObject(dst []byte, k api.Key) []byte {
	return append(append(append(dst, k.Namespace...), 0), k.Name...)
}

func parseObject(b []byte) (api.Key, error) {
	namespace, name, ok := bytes.Cut(b, []byte{0})
	if !ok || bytes.IndexByte(name, 0) >= 0 {
		return api.Key{}, errBadKey
	}
	return api.Key{Namespace: string(namespace), Name: string(name)}, nil
}

// versionTail is what follows an object in the key of a version: 00 and the inverted revision.
const versionTail = 9

func appendVersionKey(dst []byte, id tableID, k api.Key, rev api.Revision) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, spaceVersion), uint32(id))
	dst = append(appendObject(dst, k), 0)
	return binary.BigEndian.AppendUint64(dst, ^uint64(rev))
}

// parseVersionKey splits the key of a version. Object is a slice of it: table, namespace and name, so that two
// versions are of one object exactly when their objects are equal.
func parseVersionKey(k []byte) (id tableID, object []byte, rev api.Revision, err error) {
	at := len(k) - versionTail
	if at < 6 || k[at] != 0 || bytes.Count(k[5:at], []byte{0}) != 1 {
		return 0, nil, 0, errBadKey
	}
	return tableID(binary.BigEndian.Uint32(k[1:])), k[1:at], api.Revision(^binary.BigEndian.Uint64(k[at+1:])), nil
}

func eventKey(id tableID, rev api.Revision) []byte {
	return binary.BigEndian.AppendUint64(tablePrefix(spaceEvent, id), uint64(rev))
}

// event is what the value of an event says; its revision is in the key.
type event struct {
	key     api.Key
	old     api.Revision
	deleted bool
}

func (e event) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.old))
	if e.deleted {
		dst = append(dst, 1)
	} else {
		dst = append(dst, 0)
	}
	return appendObject(dst, e.key)
}

func parseEvent(k, v []byte) (rev api.Revision, e event, err error) {
	if len(k) != 13 {
		return 0, e, errBadKey
	}
	old, n := binary.Uvarint(v)
	if n <= 0 || n >= len(v) || v[n] > 1 {
		return 0, e, errBadValue
	}
	key, err := parseObject(v[n+1:])
	return api.Revision(binary.BigEndian.Uint64(k[5:])), event{key, api.Revision(old), v[n] == 1}, err
}

func u64(n api.Revision) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func parseU64(b []byte) (api.Revision, error) {
	if len(b) != 8 {
		return 0, errBadValue
	}
	return api.Revision(binary.BigEndian.Uint64(b)), nil
}

func parseU32(b []byte) (tableID, error) {
	if len(b) != 4 {
		return 0, errBadValue
	}
	return tableID(binary.BigEndian.Uint32(b)), nil
}

// successor is the least key that does not start with prefix.
func successor(prefix []byte) []byte {
	s := slices.Clone(prefix)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i]++; s[i] != 0 {
			return s[:i+1]
		}
	}
	return nil
}
