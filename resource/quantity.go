package resource

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"pintle.dev/schema"
)

// checkQuantities refuses a document that has, where *T has a quantity, one with an exponent beyond schema.MaxExponent.
func checkQuantities[T any](data []byte) error {
	if !mayHoldHuge(data) || !holdsQuantity(reflect.TypeFor[T]()) {
		return nil
	}
	var bad []byte
	options := json.JoinOptions(storedOptions, jsonv1.ReportErrorsWithLegacySemantics(true),
		json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, q *resource.Quantity) error {
			text, err := d.ReadValue()
			if text = bytes.TrimSpace(bytes.Trim(text, `"`)); schema.HugeQuantity(string(text)) {
				bad = bytes.Clone(text)
			}
			return err
		})))
	if err := json.Unmarshal(data, new(T), options); bad == nil && err != nil {
		return nil // what else is wrong is found, and worded, by the decoder that reads the document
	}
	return hugeQuantityError(bad)
}

// mayHoldHuge reports whether JSON may have a quantity with an exponent of four digits: a number with one, or a string that
// is nothing but that and white space. Texts that merely contain the like, as many a UID does, are told apart.
func mayHoldHuge(data []byte) bool {
	for i := nextExponent(data, 0); i >= 0; i = nextExponent(data, i+1) {
		start, end := i, i+1
		for start > 0 && isNumber(data[start-1]) {
			start--
		}
		for end < len(data) && isNumber(data[end]) {
			end++
		}
		if start == 0 || end == len(data) || bytes.IndexByte([]byte("\" \t\r\n:[,"), data[start-1]) >= 0 && bytes.IndexByte([]byte("\" \t\r\n}],"), data[end]) >= 0 {
			return true
		}
	}
	return false
}

// CheckMessage refuses a protobuf message that has what looks like a quantity with an exponent beyond three digits: a
// message of one field, the first, that is such a text.
func CheckMessage(data []byte) error {
	for i := nextExponent(data, 0); i >= 0; i = nextExponent(data, i+1) {
		// The text may begin at any of the digits before the exponent, as the length before it may look like one.
		for start := i; start > 1 && (start == i || isNumber(data[start])); start-- {
			at := start - 1 // of the length
			for at > 0 && data[at-1] >= 0x80 && start-at < 4 {
				at--
			}
			n, size := binary.Uvarint(data[at:start])
			end := uint64(start) + n
			if at == 0 || data[at-1] != 1<<3|2 || size != start-at || end > uint64(len(data)) {
				continue
			}
			if whole := binary.AppendUvarint(nil, end-uint64(at-1)); !bytes.HasSuffix(data[:at-1], whole) {
				continue // it has other fields
			}
			if text := bytes.TrimSpace(data[start:end]); schema.HugeQuantity(string(text)) {
				return hugeQuantityError(text)
			}
		}
	}
	return nil
}

func hugeQuantityError(text []byte) error {
	if text == nil {
		return nil
	}
	return fmt.Errorf("quantity %.40s: the exponent must be between -%d and %d", text, schema.MaxExponent, schema.MaxExponent)
}

func isNumber(c byte) bool { return c-'0' <= 9 || c == '.' || c == '+' || c == '-' }

// nextExponent is the position, from i on, of an e that may begin an exponent of four digits; -1 when there is none.
func nextExponent(data []byte, i int) int {
	for ; i+4 < len(data); i++ {
		if data[i]|0x20 != 'e' || !isNumber(data[i+1]) {
			continue
		}
		if isNumber(data[i+2]) && isNumber(data[i+3]) && isNumber(data[i+4]) {
			return i
		}
	}
	return -1
}

var quantityTypes sync.Map // reflect.Type -> bool

// holdsQuantity reports whether a value of that type may hold a quantity.
func holdsQuantity(t reflect.Type) bool {
	if known, ok := quantityTypes.Load(t); ok {
		return known.(bool)
	}
	holds := searchQuantity(t, map[reflect.Type]bool{})
	quantityTypes.Store(t, holds)
	return holds
}

func searchQuantity(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == reflect.TypeFor[resource.Quantity]() {
		return true
	}
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return searchQuantity(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if searchQuantity(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}
