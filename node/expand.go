package node

import (
	"slices"
	"strings"
)

// Expand replaces $(NAME) in words by the variable's value. $$ stands for one $, and a reference to an unknown
// variable stays as it is.
func Expand(words []string, env []Variable) []string {
	if len(words) == 0 {
		return nil
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = expand(w, func(name string) (string, bool) { return valueOf(name, env) })
	}
	return out
}

// ExpandAll is Expand of one word, and the variables it refers to that are unknown or empty, sorted.
func ExpandAll(word string, env []Variable) (expanded string, missing []string) {
	expanded = expand(word, func(name string) (string, bool) {
		v, ok := valueOf(name, env)
		if v == "" && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		return v, ok
	})
	slices.Sort(missing)
	return expanded, missing
}

// valueOf is a variable's value; where one is named more than once, the last.
func valueOf(name string, env []Variable) (string, bool) {
	for _, v := range slices.Backward(env) {
		if v.Name == name {
			return v.Value, true
		}
	}
	return "", false
}

func expand(s string, value func(string) (string, bool)) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i+2:], ')')
			if end < 0 {
				b.WriteByte('$')
				continue
			}
			name := s[i+2 : i+2+end]
			if v, ok := value(name); ok {
				b.WriteString(v)
			} else {
				b.WriteString("$(" + name + ")")
			}
			i += 2 + end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}
