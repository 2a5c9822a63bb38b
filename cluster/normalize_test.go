package cluster

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// normalizer replaces what differs from run to run in an answer by the placeholders of the golden transcripts.
type normalizer struct {
	ns        string
	generated map[string]string // names made from a generateName
	ips       []string          // cluster IPs the answer shows
}

func newNormalizer(ns string, body any) *normalizer {
	n := &normalizer{ns: ns, generated: map[string]string{}}
	n.learn(body)
	return n
}

func (n *normalizer) learn(v any) {
	switch x := v.(type) {
	case []any:
		for _, y := range x {
			n.learn(y)
		}
	case map[string]any:
		gen, _ := x["generateName"].(string)
		// The generator cuts the prefix so that the name has at most 63 characters.
		cut := gen[:min(len(gen), 58)]
		if name, _ := x["name"].(string); gen != "" && strings.HasPrefix(name, cut) && len(name) == len(cut)+5 {
			n.generated[name] = cut + "<gen>"
		}
		if ip, _ := x["clusterIP"].(string); strings.HasPrefix(ip, "10.") {
			n.ips = append(n.ips, ip)
		}
		for _, y := range x {
			n.learn(y)
		}
	}
}

var replacements = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "<uid>"},
	{regexp.MustCompile(`20(2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)`), "<microtime>"},
	{regexp.MustCompile(`20(2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)`), "<time>"},
	{regexp.MustCompile(`kube-api-access-[a-z0-9]{5}\b`), "kube-api-access-<gen>"},
	{regexp.MustCompile("\u00a0"), " "},
	{regexp.MustCompile(`^eyJ[\w-]+\.[\w-]+\.[\w-]+$`), "<jwt>"},
	{regexp.MustCompile(`0xc[0-9a-f]{6,}`), "<pointer>"},
	{regexp.MustCompile(`too old resource version: \d+ \(\d+\)`), "too old resource version: <rv> (<rv>)"},
	{regexp.MustCompile(`Too large resource version: \d+, current: \d+`), "Too large resource version: <rv>, current: <rv>"},
	{regexp.MustCompile(`ResourceVersion in precondition: \d+, ResourceVersion in object meta: \d+`), "ResourceVersion in precondition: <rv>, ResourceVersion in object meta: <rv>"},
	{regexp.MustCompile(`does not match the ResourceVersion in record \(\d+\)`), "does not match the ResourceVersion in record (<rv>)"},
	{regexp.MustCompile(`resourceVersion: "[1-9]\d*"`), `resourceVersion: "<rv>"`},
	{regexp.MustCompile(`resourceVersion":"[1-9]\d*"`), `resourceVersion":"<rv>"`},
	{regexp.MustCompile(`resourceVersion\\":\\"[1-9]\d*\\"`), `resourceVersion\":\"<rv>\"`},
}

func (n *normalizer) text(s string) string {
	s = strings.ReplaceAll(s, n.ns, "$NS")
	for name, to := range n.generated {
		s = strings.ReplaceAll(s, strings.ReplaceAll(name, n.ns, "$NS"), strings.ReplaceAll(to, n.ns, "$NS"))
	}
	for _, r := range replacements {
		s = r.re.ReplaceAllString(s, r.to)
	}
	return shortenRuns(s)
}

// shortenRuns writes a run of 1000 or more times the same character as ${repeat:C:N}.
func shortenRuns(s string) string {
	if len(s) < 1000 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] == s[i] {
			j++
		}
		if j-i >= 1000 {
			b.WriteString("${repeat:" + s[i:i+1] + ":" + string(mustJSON(j-i)) + "}")
		} else {
			b.WriteString(s[i:j])
		}
		i = j
	}
	return b.String()
}

func (n *normalizer) strings(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = n.text(s)
	}
	return out
}

var (
	positive   = regexp.MustCompile(`^[1-9]\d*$`)
	age        = regexp.MustCompile(`^(\d+[smhdy]){1,2}( ago)?$`)
	nodePortIn = regexp.MustCompile(`:3\d{4}/`)
)

func (n *normalizer) value(v any, path string) any {
	v = n.walk("", v)
	return n.finish(v, strings.HasPrefix(path, "/apis/$NS"))
}

func (n *normalizer) walk(key string, v any) any {
	switch x := v.(type) {
	case string:
		return n.leaf(key, x)
	case float64:
		if (key == "nodePort" || key == "healthCheckNodePort") && x >= 30000 && x <= 32767 {
			return "<nodePort>"
		}
		return x
	case []any:
		out := make([]any, len(x))
		for i, y := range x {
			if key == "cells" {
				if s, ok := y.(string); ok {
					out[i] = n.cell(s)
					continue
				}
			}
			out[i] = n.walk(key, y)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, y := range x {
			out[n.text(k)] = n.walk(k, y)
		}
		switch out["kind"] {
		case "CertificateSigningRequest":
			if spec, ok := out["spec"].(map[string]any); ok {
				for _, k := range []string{"username", "uid", "groups", "extra"} {
					delete(spec, k)
				}
			}
		case "SelfSubjectReview":
			out["status"] = map[string]any{"userInfo": "<userInfo>"}
		}
		return out
	}
	return v
}

func (n *normalizer) leaf(key, s string) any {
	switch {
	case key == "resourceVersion" && positive.MatchString(s):
		return "<rv>"
	case key == "continue" && s != "":
		return "<continue>"
	case (key == "clusterIP" || key == "clusterIPs") && strings.HasPrefix(s, "10."):
		return "<ip>"
	case key == "serverAddress" || key == "jwks_uri":
		return "<server>"
	case key == "message":
		for _, ip := range n.ips {
			s = strings.ReplaceAll(s, ip, "<ip>")
		}
	}
	return n.text(s)
}

func (n *normalizer) cell(s string) string {
	switch {
	case age.MatchString(s) || s == "<invalid>":
		return "<age>"
	case strings.HasPrefix(s, "10."):
		return "<ip>"
	}
	return nodePortIn.ReplaceAllString(n.text(s), ":<nodePort>/")
}

func (n *normalizer) finish(v any, custom bool) any {
	if !custom {
		return v
	}
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = n.finish(x[i], custom)
		}
	case map[string]any:
		for k, y := range x {
			if k == "storageVersionHash" {
				y = "<hash>"
			}
			x[k] = n.finish(y, custom)
		}
	}
	return v
}

// valueIn finds the value that a validation error shows.
var (
	valueIn    = regexp.MustCompile(`(?s)^(Invalid|Duplicate|Required|Unsupported) value: (.*)$`)
	scalar     = regexp.MustCompile(`^("|-?\d|true|false)`)
	dumpEnd    = regexp.MustCompile(`(?s)^.*?[]})>l"]: ([a-z"'` + "`" + `].*)$`)
	noMoreThan = regexp.MustCompile(`must be no more than (\d+) (?:bytes|characters)`)
)

// canonicalCause leaves Go's type names and dumps out of a validation error. Later versions of apimachinery than the
// recorded server's show values that are no scalars as JSON instead, and count the bytes of names, not characters.
func canonicalCause(s string) string {
	s = noMoreThan.ReplaceAllString(s, "must be no more than $1 bytes")
	if head, diff, ok := strings.Cut(s, "\n"); ok && strings.Contains(diff, ".PodSpec{") {
		return head // what follows is a diff of Go structs
	}
	m := valueIn.FindStringSubmatch(s)
	if m == nil || scalar.MatchString(m[2]) {
		return s
	}
	if detail := dumpEnd.FindStringSubmatch(m[2]); detail != nil {
		return m[1] + " value: <value>: " + detail[1]
	}
	return m[1] + " value: <value>"
}

// restarted is the cell of a pod's restarts, "3 (2y325d ago)", which grows by the day.
var restarted = regexp.MustCompile(`^(\d+) \((\d+[smhdy]){1,2} ago\)$`)

// canonical removes what upstream has in no fixed order, and what later versions of upstream's types write otherwise:
// since 1.34 an unset creationTimestamp is left out rather than null.
func canonical(v any) any {
	switch x := v.(type) {
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = canonical(x[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, y := range x {
			if k == "creationTimestamp" && y == nil {
				continue
			}
			y = canonical(y)
			switch list, _ := y.([]any); {
			case k == "managedFields" || k == "causes":
				slices.SortFunc(list, func(a, b any) int { return strings.Compare(string(mustJSON(a)), string(mustJSON(b))) })
			case k == "message":
				if s, ok := y.(string); ok {
					if _, cause := x["field"]; cause {
						y = canonicalCause(s)
					} else {
						y = canonicalMessage(s, x)
					}
				}
			}
			out[k] = y
		}
		return out
	case string:
		return restarted.ReplaceAllString(x, "$1 (<age> ago)")
	case json.Number:
		f, _ := x.Float64()
		return f
	}
	return v
}

// canonicalMessage writes the errors in a Status message, which stand in details.causes as well, in a fixed order, and
// sorts the lines after "errors:".
func canonicalMessage(s string, status map[string]any) string {
	if head, tail, ok := strings.Cut(s, " is invalid: "); ok {
		details, _ := status["details"].(map[string]any)
		causes, _ := details["causes"].([]any)
		var parts []string
		length := 0
		for _, c := range causes {
			cm, _ := c.(map[string]any)
			field, _ := cm["field"].(string)
			msg, _ := cm["message"].(string)
			length += len(field) + len(msg) + len(": , ")
			parts = append(parts, field+": "+canonicalCause(msg))
		}
		slices.Sort(parts)
		// The lengths tell that the message says no more and no less than the causes.
		if n := length - len(", "); n == len(tail) || n+len("[]") == len(tail) {
			return head + " is invalid: " + strings.Join(parts, ", ")
		}
	}
	s = noMoreThan.ReplaceAllString(s, "must be no more than $1 bytes")
	if head, tail, ok := strings.Cut(s, "errors:\n"); ok {
		lines := strings.Split(tail, "\n")
		slices.Sort(lines)
		return head + "errors:\n" + strings.Join(lines, "\n")
	}
	return s
}

// withoutEstablishing takes out of CustomResourceDefinitions what differs by design: Pintle establishes them in the
// write itself, where upstream's controllers do it a little later.
func withoutEstablishing(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = withoutEstablishing(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = withoutEstablishing(x[k])
		}
		if m, ok := x["metadata"].(map[string]any); ok && x["kind"] == "CustomResourceDefinition" {
			delete(x, "status")
			if entries, ok := m["managedFields"].([]any); ok {
				m["managedFields"] = slices.DeleteFunc(entries, func(e any) bool {
					entry, ok := e.(map[string]any)
					return ok && entry["subresource"] == "status"
				})
			}
		}
	}
	return v
}
