package object

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// ToAny is v as Go's generic JSON: map[string]any, []any, string, int64, float64, bool and nil, sharing only strings.
func (v *Value) ToAny() any {
	switch v.Kind() {
	case Bool:
		return v.Bool()
	case Number:
		if v.float {
			return v.Float()
		}
		return int64(v.word)
	case String:
		return v.Str()
	case List:
		l := make([]any, 0, v.Len())
		for _, item := range v.Items() {
			l = append(l, item.ToAny())
		}
		return l
	case Map:
		m := make(map[string]any, v.Len())
		for name, member := range v.Fields() {
			m[name] = member.ToAny()
		}
		return m
	}
	return nil
}

// FromAny makes a Value of Go's generic JSON: what ToAny gives, and int, int32 and float32 besides. It fails on any
// other Go type and on floats that are no numbers.
func FromAny(a any) (Value, error) {
	switch a := a.(type) {
	case nil:
		return Value{}, nil
	case bool:
		return NewBool(a), nil
	case string:
		return NewString(a), nil
	case int:
		return NewInt(int64(a)), nil
	case int32:
		return NewInt(int64(a)), nil
	case int64:
		return NewInt(a), nil
	case float32:
		return fromFloat(float64(a))
	case float64:
		return fromFloat(a)
	case []any:
		items := make([]Value, len(a))
		for i := range a {
			var err error
			if items[i], err = FromAny(a[i]); err != nil {
				return Value{}, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return NewList(items...), nil
	case map[string]any:
		members := make([]Value, 0, len(a))
		for name, member := range a {
			m, err := FromAny(member)
			if err != nil {
				return Value{}, fmt.Errorf("%s: %w", name, err)
			}
			m.name = name
			members = append(members, m)
		}
		slices.SortFunc(members, func(a, b Value) int { return strings.Compare(a.name, b.name) })
		v := NewMap()
		v.setChildren(members)
		return v, nil
	}
	return Value{}, fmt.Errorf("%T is not JSON", a)
}

func fromFloat(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}, fmt.Errorf("%v is not a JSON number", f)
	}
	return NewFloat(f), nil
}
