package node

import "strings"

// Expand replaces $(NAME) in words by the variable's value. $$ stands for one $, and a reference to an unknown
// variable stays as it is.
func Expand(words []string, env []Variable) []string {
	if len(words) == 0 {
		return nil
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = expand(w, func(name string) (string, bool) {
			for j := len(env) - 1; j >= 0; j-- {
				if env[j].Name == name {
					return env[j].Value, true
				}
			}
			return "", false
		})
	}
	return out
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
