package object

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	yamlv2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// maxYAMLExpansion bounds, in bytes of JSON, what the aliases of a YAML document may expand to. Request bodies are at
// most 3 MiB; this leaves room for honest use of anchors.
const maxYAMLExpansion = 16 << 20

// FromYAML converts a YAML document to JSON as upstream does (sigs.k8s.io/yaml; of several documents the first).
// Documents whose aliases expand beyond 16 MiB are refused.
func FromYAML(data []byte) ([]byte, error) {
	if err := checkAliases(data); err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(data)
}

// CheckYAML reports what strict field validation complains about in a YAML document that FromYAML accepts: duplicate
// keys, in the words of the YAML library.
func CheckYAML(data []byte) error {
	_, err := yaml.YAMLToJSONStrict(data)
	return err
}

// PlainJSON reads a YAML document that is JSON, as programs write it: some 20 times faster than by way of FromYAML. It
// reports false for all that YAML might read differently or not at all: repeated members and fractions (1.0 is an integer
// there), what its grammar is narrower for, and what is no JSON object.
func PlainJSON(data []byte) (*Value, bool) {
	// Between documents YAML takes no tabs.
	if doc := bytes.Trim(data, " \r\n"); len(doc) == 0 || doc[0] != '{' || doc[len(doc)-1] != '}' {
		return nil, false
	}
	v, problems, err := ParseStrict(data)
	if err != nil || len(problems) > 0 || v.fractional() || !yamlAgrees(string(data)) {
		return nil, false
	}
	return v, true
}

// maxSimpleKey is how far, in characters, a key of YAML may begin before its colon, which must be on the same line.
const maxSimpleKey = 1024

// yamlAgrees reports whether the text of a JSON object, which must be one, is written as YAML writes it too. YAML knows
// neither \/ nor halves of UTF-16 pairs, takes no control characters, folds the lines that NEL, LS and PS end, and looks
// no further than maxSimpleKey for a colon.
func yamlAgrees(text string) bool {
	key := 0 // where the last string began
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case ':':
			if i-key > maxSimpleKey || strings.ContainsAny(text[key:i], "\r\n") {
				return false
			}
		case '"':
			key = i
			if i = yamlString(text, i+1); i < 0 {
				return false
			}
		}
	}
	return strings.IndexByte(text, 0x7f) < 0
}

// yamlString is where the quote stands that ends the string of which text[i] is the first byte; negative when YAML reads
// another string or none.
func yamlString(text string, i int) int {
	for {
		i += plain(text[i:])
		switch c := text[i]; {
		case c == '"':
			return i
		case c == '\\':
			if text[i+1] == '/' || text[i+1] == 'u' && (text[i+2] == 'd' || text[i+2] == 'D') && text[i+3] >= '8' {
				return -1
			}
			i += 2
		default:
			r, size := utf8.DecodeRuneInString(text[i:])
			if r < 0xa0 || r == '\u2028' || r == '\u2029' || r == 0xfffe || r == 0xffff {
				return -1
			}
			i += size
		}
	}
}

// fractional reports a number with a fraction or exponent in v.
func (v *Value) fractional() bool {
	if v.kind == Number {
		return v.float
	}
	for i := range v.children() {
		if v.children()[i].fractional() {
			return true
		}
	}
	return false
}

// checkAliases measures a document that may contain aliases before it is written out as JSON. The library bounds the
// number of nodes it makes of aliases, not what they weigh.
func checkAliases(data []byte) error {
	if !bytes.Contains(data, []byte("*")) || !bytes.Contains(data, []byte("&")) {
		return nil
	}
	var doc any
	if err := yamlv2.Unmarshal(data, &doc); err != nil {
		return nil // the conversion words the error
	}
	left := maxYAMLExpansion
	if !weigh(doc, &left) {
		return errors.New("yaml: document contains excessive aliasing: it expands beyond 16 MiB")
	}
	return nil
}

// weigh takes the JSON size of v, roughly, off left and reports whether that suffices.
func weigh(v any, left *int) bool {
	switch v := v.(type) {
	case string:
		*left -= len(v)
	case []any:
		for _, item := range v {
			if !weigh(item, left) {
				return false
			}
		}
	case map[any]any:
		for k, m := range v {
			if !weigh(k, left) || !weigh(m, left) {
				return false
			}
		}
	case fmt.Stringer:
		*left -= 32
	}
	*left -= 8
	return *left >= 0
}
