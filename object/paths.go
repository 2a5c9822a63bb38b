package object

import (
	"fmt"
	"strconv"
	"strings"
)

// Paths are the paths in the set as messages show them (`.spec.containers[name="c"].image`): at each level first what is
// in the set itself, then what is below.
func (f Fields) Paths() []string { return appendPaths(nil, "", f.nodes) }

func appendPaths(paths []string, prefix string, nodes []fieldNode) []string {
	for i := range nodes {
		if nodes[i].member {
			paths = append(paths, prefix+nodes[i].String())
		}
	}
	for i := range nodes {
		if n := &nodes[i]; !n.leaf() {
			paths = appendPaths(paths, prefix+n.String(), n.nodes())
		}
	}
	return paths
}

// String is the element as part of a path in a message.
func (e *element) String() string {
	switch e.kind {
	case byKey:
		parts := make([]string, len(e.key))
		for i := range e.key {
			parts[i] = e.key[i].name + "=" + shown(&e.key[i])
		}
		return "[" + strings.Join(parts, ",") + "]"
	case byValue:
		return "[=" + shown(&e.key[0]) + "]"
	case byIndex:
		return "[" + shown(&e.key[0]) + "]"
	}
	return "." + e.name
}

// shown is a value as paths in messages have it.
func shown(v *Value) string {
	switch v.kind {
	case String:
		return strconv.Quote(v.Str())
	case Number:
		if v.float {
			return fmt.Sprint(v.Float())
		}
	case List:
		parts := make([]string, v.Len())
		for i, item := range v.Items() {
			parts[i] = shown(item)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case Map:
		var b strings.Builder
		for name, m := range v.Fields() {
			b.WriteString(name + "=" + shown(m))
		}
		return b.String()
	}
	return string(AppendJSON(nil, v))
}
