package rule

import (
	"cmp"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"

	"pintle.dev/object"
)

// function is a call of a function whose arguments are all evaluated.
func (c *compiler) function(e ast.Expr, args []term) term {
	overload := c.overload(e)
	switch overload {
	case overloads.InList:
		return c.inList(args[0], args[1])
	case overloads.InMap:
		return c.inMap(args[0], args[1])
	}
	var t term
	switch {
	case len(args) == 1:
		t = unary(overload, args[0])
	case overload == "string_substring_int", overload == "string_substring_int_int":
		t = substring(args[0], args[1:])
	case len(args) != 2 || args[0].kind() != args[1].kind():
	case args[0].kind() == intKind:
		t = ints(overload, args[0].int, args[1].int)
	case args[0].kind() == doubleKind:
		t = doubles(overload, args[0].double, args[1].double)
	case args[0].kind() == stringKind:
		t = c.strings(overload, args[0], args[1])
	}
	if t.typ == nil {
		return c.library(e, args)
	}
	t.exact = t.kind() != stringKind && t.kind() != listKind
	for _, a := range args {
		t.exact = t.exact && a.exact
	}
	return t
}

// unary is a call with one argument; the zero term when it is not known. What CEL does not know the type of it takes for
// any, which is for cel-go's own functions.
func unary(overload string, a term) term {
	if a.kind() == opaqueKind {
		return term{}
	}
	switch overload {
	case overloads.LogicalNot:
		return boolTerm(func(f *frame) bool { v := a.bool(f); f.cost++; return !v })
	case overloads.NegateInt64:
		return intTerm(func(f *frame) int64 {
			v := a.int(f)
			f.cost++
			if v == math.MinInt64 {
				f.err()
			}
			return -v
		})
	case overloads.NegateDouble:
		return doubleTerm(func(f *frame) float64 { v := a.double(f); f.cost++; return -v })
	case overloads.SizeString, overloads.SizeStringInst:
		return intTerm(func(f *frame) int64 { s := a.string(f); f.cost++; return int64(utf8.RuneCountInString(s)) })
	case overloads.SizeList, overloads.SizeListInst, overloads.SizeMap, overloads.SizeMapInst:
		return intTerm(func(f *frame) int64 { v := a.value(f); f.cost++; return int64(v.Len()) })
	case "string_lower_ascii":
		return stringTerm(func(f *frame) string { return mapped(f, a.string(f), lowerASCII) })
	case "string_upper_ascii":
		return stringTerm(func(f *frame) string { return mapped(f, a.string(f), upperASCII) })
	}
	return term{}
}

// mapped is s with each character changed.
func mapped(f *frame, s string, change func(rune) rune) string {
	f.charge(traversal(utf8.RuneCountInString(s)))
	return strings.Map(change, s)
}

func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

func upperASCII(r rune) rune {
	if 'a' <= r && r <= 'z' {
		return r - ('a' - 'A')
	}
	return r
}

func ints(overload string, a, b func(*frame) int64) term {
	switch overload {
	case overloads.AddInt64:
		return intTerm(arithmetic(a, b, func(x, y int64) (int64, bool) { return x + y, (x+y > x) == (y > 0) }))
	case overloads.SubtractInt64:
		return intTerm(arithmetic(a, b, func(x, y int64) (int64, bool) { return x - y, (x-y < x) == (y > 0) }))
	case overloads.MultiplyInt64:
		return intTerm(arithmetic(a, b, func(x, y int64) (int64, bool) {
			if x == 0 || y == 0 {
				return 0, true
			}
			p := x * y
			return p, p/y == x && (x != -1 || y != math.MinInt64) && (y != -1 || x != math.MinInt64)
		}))
	case overloads.DivideInt64:
		return intTerm(arithmetic(a, b, func(x, y int64) (int64, bool) {
			if y == 0 || x == math.MinInt64 && y == -1 {
				return 0, false
			}
			return x / y, true
		}))
	case overloads.ModuloInt64:
		return intTerm(arithmetic(a, b, func(x, y int64) (int64, bool) {
			if y == 0 || x == math.MinInt64 && y == -1 {
				return 0, false
			}
			return x % y, true
		}))
	case overloads.LessInt64, overloads.LessEqualsInt64, overloads.GreaterInt64, overloads.GreaterEqualsInt64:
		return ordered(overload, a, b, func(f *frame, _, _ int64) { f.cost++ })
	}
	return term{}
}

func doubles(overload string, a, b func(*frame) float64) term {
	switch overload {
	case overloads.AddDouble:
		return doubleTerm(arithmetic(a, b, func(x, y float64) (float64, bool) { return x + y, true }))
	case overloads.SubtractDouble:
		return doubleTerm(arithmetic(a, b, func(x, y float64) (float64, bool) { return x - y, true }))
	case overloads.MultiplyDouble:
		return doubleTerm(arithmetic(a, b, func(x, y float64) (float64, bool) { return x * y, true }))
	case overloads.DivideDouble:
		return doubleTerm(arithmetic(a, b, func(x, y float64) (float64, bool) { return x / y, true }))
	case overloads.LessDouble, overloads.LessEqualsDouble, overloads.GreaterDouble, overloads.GreaterEqualsDouble:
		return ordered(overload, a, b, func(f *frame, x, y float64) {
			f.cost++
			if x != x || y != y { // what is not a number has no order
				f.err()
			}
		})
	}
	return term{}
}

// arithmetic is an operation that reports whether it has a result.
func arithmetic[T int64 | float64](a, b func(*frame) T, op func(x, y T) (T, bool)) func(*frame) T {
	return func(f *frame) T {
		x, y := both(f, a, b)
		f.cost++
		v, ok := op(x, y)
		if !ok {
			f.err()
		}
		return v
	}
}

func (c *compiler) strings(overload string, text, other term) term {
	a, b := text.string, other.string
	switch overload {
	case overloads.Matches, overloads.MatchesString, "string_find_string":
		return c.matches(overload, text, other)
	case "string_split_string":
		return split(text, other)
	case overloads.AddString:
		return stringTerm(func(f *frame) string {
			x, y := both(f, a, b)
			f.charge(traversal(utf8.RuneCountInString(x) + utf8.RuneCountInString(y)))
			if f.failed {
				return ""
			}
			return x + y
		})
	case overloads.StartsWithString:
		return boolTerm(func(f *frame) bool {
			x, y := both(f, a, b)
			f.charge(traversal(utf8.RuneCountInString(y)))
			return strings.HasPrefix(x, y)
		})
	case overloads.EndsWithString:
		return boolTerm(func(f *frame) bool {
			x, y := both(f, a, b)
			f.charge(traversal(utf8.RuneCountInString(y)))
			return strings.HasSuffix(x, y)
		})
	case overloads.ContainsString:
		return boolTerm(func(f *frame) bool {
			x, y := both(f, a, b)
			f.charge(traversal(utf8.RuneCountInString(x)) * traversal(utf8.RuneCountInString(y)))
			return strings.Contains(x, y)
		})
	case overloads.LessString, overloads.LessEqualsString, overloads.GreaterString, overloads.GreaterEqualsString:
		return ordered(overload, a, b, chargeStrings)
	}
	return term{}
}

// equalStrings is equals for strings, which is what loops compare mostly, with fewer calls: a tenth of what they take.
func equalStrings(a, b func(*frame) string, not bool) term {
	return boolTerm(func(f *frame) bool {
		var x, y string
		if x = a(f); f.erred {
			y = after(f, b)
		} else {
			y = b(f)
		}
		if x != "" && y != "" && min(len(x), len(y)) <= 10 {
			f.cost++
		} else {
			chargeStrings(f, x, y)
		}
		return (x == y) != not
	})
}

// chargeStrings is the cost of comparing two strings.
func chargeStrings(f *frame, x, y string) {
	if x != "" && y != "" && min(len(x), len(y)) <= 10 {
		f.cost++ // without counting characters
		return
	}
	f.charge(traversal(min(utf8.RuneCountInString(x), utf8.RuneCountInString(y))))
}

// ordered compares two values, at the cost that charge adds.
func ordered[T cmp.Ordered](overload string, a, b func(*frame) T, charge func(f *frame, x, y T)) term {
	var holds func(x, y T) bool
	switch {
	case strings.HasPrefix(overload, "less_equals"):
		holds = func(x, y T) bool { return x <= y }
	case strings.HasPrefix(overload, "less"):
		holds = func(x, y T) bool { return x < y }
	case strings.HasPrefix(overload, "greater_equals"):
		holds = func(x, y T) bool { return x >= y }
	default:
		holds = func(x, y T) bool { return x > y }
	}
	return boolTerm(func(f *frame) bool {
		x, y := both(f, a, b)
		charge(f, x, y)
		return holds(x, y)
	})
}

// matches is matching with a pattern, or finding what it matches. It knows patterns that are literals.
func (c *compiler) matches(overload string, a, pattern term) term {
	text, ok := pattern.literal.(string)
	if !ok {
		return term{}
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return c.no() // cel-go refuses the rule
	}
	size := utf8.RuneCountInString(text)
	subject := func(f *frame) string {
		s := a.string(f)
		if f.erred {
			return "" // cel-go does not come to the call
		}
		if f.charge(matching(utf8.RuneCountInString(s), size)); f.failed {
			return ""
		}
		return s
	}
	if overload == "string_find_string" {
		return stringTerm(func(f *frame) string { return re.FindString(subject(f)) })
	}
	return boolTerm(func(f *frame) bool { return re.MatchString(subject(f)) })
}

// inList is membership in a list. That in a list of constants is made a set by cel-go, and costs nothing.
func (c *compiler) inList(a, list term) term {
	if list.kind() != listKind {
		return c.no()
	}
	fixed, _ := list.literal.(*object.Value)
	switch {
	case fixed != nil && fixed.Len() == 0:
		return constant(false) // whatever a is: cel-go does not look
	case list.typ.elem == nil || list.typ.elem.kind != a.kind():
		return c.no()
	case fixed != nil:
		return c.inSet(a, fixed)
	}
	switch item := list.typ.elem; a.kind() {
	case boolKind:
		return contains(a.bool, list, item, (*object.Value).Bool)
	case intKind:
		return contains(a.int, list, item, intOf)
	case doubleKind:
		return contains(a.double, list, item, (*object.Value).Float)
	case stringKind:
		return contains(a.string, list, item, (*object.Value).Str)
	}
	return c.no()
}

func (c *compiler) inSet(a term, list *object.Value) term {
	var t term
	switch a.kind() {
	case intKind:
		t = inSet(a.int, list, intOf)
	case doubleKind:
		t = inSet(a.double, list, (*object.Value).Float)
	case stringKind:
		t = inSet(a.string, list, (*object.Value).Str)
	default:
		return c.no()
	}
	t.exact = a.exact
	return t
}

func inSet[T comparable](a func(*frame) T, list *object.Value, value func(*object.Value) T) term {
	var set []T
	for _, v := range list.Items() {
		set = append(set, value(v))
	}
	return boolTerm(func(f *frame) bool { return slices.Contains(set, a(f)) })
}

func intOf(v *object.Value) int64 {
	i, _ := v.Int()
	return i
}

// contains looks for a value among all items of a list, which have to be of type item up to where it is found.
func contains[T comparable](a func(*frame) T, list term, item *Type, value func(*object.Value) T) term {
	return boolTerm(func(f *frame) bool {
		x, l := a(f), list.value(f)
		f.charge(uint64(l.Len()))
		for i := range l.Len() {
			v := l.Index(i)
			if !item.admits(v) {
				f.fail()
				return false
			}
			if value(v) == x {
				return true
			}
		}
		return false
	})
}

func (c *compiler) inMap(key, m term) term {
	name := key.key()
	if m.kind() != mapKind || !m.typ.keyed(key.kind()) {
		return c.no()
	}
	values := m.typ.elem
	return boolTerm(func(f *frame) bool {
		k, v := name(f), m.value(f)
		f.cost++
		of := v.Get(k)
		if of == nil {
			return false
		}
		if of.IsNull() || !values.admits(of) {
			f.fail()
		}
		return true
	})
}
