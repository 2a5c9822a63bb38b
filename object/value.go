// Package object is JSON documents: parsing, editing, patching, and knowing who owns which field. It knows no kinds;
// what it must know of a schema it asks a Shape. It does not validate against schemas, default or prune (package
// schema), and it does not know what typed objects look like (package resource).
//
// Invariants:
//
//	O1 The members of a map are held in ascending order of their names, each name once. Comparing and encoding
//	   walk two maps side by side; nothing sorts twice.
//	O2 A Value's strings may share memory with the input it was parsed from; that input never changes afterwards.
//	O3 AppendJSON of equal values gives equal bytes (metadata and the like first at the top, all else sorted), and
//	   parsing what it wrote gives an equal value.
//	O4 Nothing a client sends makes the package panic; only misuse by its callers does.
//
// Data flows from bytes (Parse, FromYAML) to a Value, is edited (Set, MergePatch, JSONPatch, StrategicMerge), compared
// with what was there before (Own says who owns what then, Apply merges by it), and goes back to bytes (AppendJSON).
package object

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"unsafe"
)

// Kind is the JSON type of a Value.
type Kind uint8

// The kinds of JSON values.
const (
	Null Kind = iota
	Bool
	Number
	String
	List
	Map
)

// String names the kind as JSON does ("null", "bool", "number", "string", "array", "object").
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Bool:
		return "bool"
	case Number:
		return "number"
	case String:
		return "string"
	case List:
		return "array"
	case Map:
		return "object"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Value is one node of a JSON document and, for lists and maps, all below it. The zero Value is null.
//
// A Value is copied like a slice: the copy shares members and items with the original. Clone copies deeply. Pointers
// that Get, Index, Fields and Items yield point into their parent; they stay valid until a member or item is added to
// or removed from that parent. Reading methods may be called on a nil *Value, which reads as null. Any number of
// goroutines may read a Value that nobody changes.
type Value struct {
	name  string         // the member name when the Value is in a map
	data  unsafe.Pointer // String: its bytes; List, Map: the array of children
	word  uint64         // Bool: 0 or 1; Number: the int64 or the float's bits; String: length; List, Map: capacity<<32 | length
	kind  Kind
	float bool // the number is a float64
}

// Shape is what patches and field ownership need to know of the schema at one position of a document. A nil Shape
// knows nothing: maps are granular there, lists atomic.
type Shape interface {
	// Field is the shape of a map's member; nil when the schema does not know it.
	Field(name string) Shape
	// Declares reports a member of a map that the schema declares by its name, unlike those that are admitted by
	// additionalProperties or not known at all.
	Declares(name string) bool
	// Item is the shape of a list's items.
	Item() Shape
	// Atomic reports a map or list that is owned and merged as a whole (x-kubernetes-map-type: atomic,
	// x-kubernetes-list-type: atomic or absent).
	Atomic() bool
	// Set reports a list of distinct scalars (x-kubernetes-list-type: set).
	Set() bool
	// Keys are the members that identify an item of an associative list (x-kubernetes-list-map-keys); nil otherwise.
	Keys() []string
	// KeyDefault is the JSON of the schema's default for a member of Keys, or "" ("TCP" for a port's protocol).
	KeyDefault(key string) string
	// Patch is the strategic merge patch directive: the merge key ("" for lists of scalars) and the strategies
	// ("merge", "replace", "retainKeys").
	Patch() (mergeKey string, strategies []string)
}

// NewString is a string, which must be valid UTF-8.
func NewString(s string) Value {
	if s == "" {
		return Value{kind: String}
	}
	return Value{kind: String, data: unsafe.Pointer(unsafe.StringData(s)), word: uint64(len(s))}
}

// NewInt is a number without fraction.
func NewInt(i int64) Value { return Value{kind: Number, word: uint64(i)} }

// NewBool is true or false.
func NewBool(b bool) Value {
	if b {
		return Value{kind: Bool, word: 1}
	}
	return Value{kind: Bool}
}

// NewMap is an empty map; fill it with Set.
func NewMap() Value { return Value{kind: Map} }

// NewList is a list of the given items, which it shares.
func NewList(items ...Value) Value {
	v := Value{kind: List}
	v.setChildren(items)
	return v
}

// children is the array of items or members, with its spare capacity.
func (v *Value) children() []Value {
	if v == nil || v.kind < List {
		return nil
	}
	return unsafe.Slice((*Value)(v.data), int(v.word>>32))[:uint32(v.word)]
}

func (v *Value) setChildren(c []Value) {
	if cap(c) == 0 {
		v.data, v.word = nil, 0
		return
	}
	if uint64(cap(c)) > 1<<32-1 {
		panic("object: a list or map has more than 2^32 children")
	}
	v.data, v.word = unsafe.Pointer(unsafe.SliceData(c)), uint64(cap(c))<<32|uint64(len(c))
}

// Kind is the JSON type of v.
func (v *Value) Kind() Kind {
	if v == nil {
		return Null
	}
	return v.kind
}

// IsNull reports a null or absent value.
func (v *Value) IsNull() bool { return v == nil || v.kind == Null }

// Str is the text of a string, "" for anything else.
func (v *Value) Str() string {
	if v == nil || v.kind != String || v.word == 0 {
		return ""
	}
	return unsafe.String((*byte)(v.data), int(v.word))
}

// Bool is the value of a boolean, false for anything else.
func (v *Value) Bool() bool { return v != nil && v.kind == Bool && v.word == 1 }

// Len is the number of items of a list or members of a map, 0 for anything else.
func (v *Value) Len() int {
	if v == nil || v.kind < List {
		return 0
	}
	return int(uint32(v.word))
}

// Index is item i of a list or member i of a map in order; nil when there is none.
func (v *Value) Index(i int) *Value {
	if i < 0 || i >= v.Len() {
		return nil
	}
	return &v.children()[i]
}

// Name is the name of the member that v is in its map, "" when it is none.
func (v *Value) Name() string {
	if v == nil {
		return ""
	}
	return v.name
}

// find is where in the members of a map name is, or belongs.
func find(members []Value, name string) (int, bool) {
	if len(members) <= 12 {
		for i := range members {
			if n := members[i].name; n >= name {
				return i, n == name
			}
		}
		return len(members), false
	}
	return slices.BinarySearchFunc(members, name, func(m Value, name string) int { return strings.Compare(m.name, name) })
}

// Get is the member of that name; nil when v is no map or has none.
func (v *Value) Get(name string) *Value {
	if v == nil || v.kind != Map {
		return nil
	}
	members := v.children()
	if i, ok := find(members, name); ok {
		return &members[i]
	}
	return nil
}

// GetNear is Get for a name that is asked for of many maps alike: it looks first where the name was the last time, and
// leaves in near where it was now.
func (v *Value) GetNear(name string, near *int) *Value {
	if v == nil || v.kind != Map {
		return nil
	}
	members := v.children()
	if i := *near; i < len(members) && members[i].name == name {
		return &members[i]
	}
	i, ok := find(members, name)
	if !ok {
		return nil
	}
	*near = i
	return &members[i]
}

// Path is the member reached by following names from v; nil when the way ends before.
func (v *Value) Path(names ...string) *Value {
	for _, name := range names {
		if v = v.Get(name); v == nil {
			return nil
		}
	}
	return v
}

// Fields yields the members of a map in order of their names, nothing for other kinds.
func (v *Value) Fields() iter.Seq2[string, *Value] {
	return func(yield func(string, *Value) bool) {
		if v == nil || v.kind != Map {
			return
		}
		members := v.children()
		for i := range members {
			if !yield(members[i].name, &members[i]) {
				return
			}
		}
	}
}

// Items yields the items of a list with their indexes, nothing for other kinds.
func (v *Value) Items() iter.Seq2[int, *Value] {
	return func(yield func(int, *Value) bool) {
		if v == nil || v.kind != List {
			return
		}
		items := v.children()
		for i := range items {
			if !yield(i, &items[i]) {
				return
			}
		}
	}
}

// Set makes val the member of that name and returns the member. v must be a map; a null v becomes one.
func (v *Value) Set(name string, val Value) *Value {
	if v.kind == Null {
		v.kind = Map
		v.data, v.word = nil, 0
	}
	if v.kind != Map {
		panic("object: Set on a " + v.kind.String())
	}
	members := v.children()
	i, ok := find(members, name)
	if !ok {
		members = slices.Insert(members, i, Value{})
		v.setChildren(members)
	}
	val.name = name
	members[i] = val
	return &members[i]
}

// Replace makes v what val is, keeping the place it has in its parent.
func (v *Value) Replace(val Value) {
	val.name = v.name
	*v = val
}

// Remove takes the member of that name away and reports whether there was one.
func (v *Value) Remove(name string) bool {
	if v == nil || v.kind != Map {
		return false
	}
	members := v.children()
	i, ok := find(members, name)
	if ok {
		v.setChildren(slices.Delete(members, i, i+1))
	}
	return ok
}

// Without is a copy of a map without the member of that name. It shares with v what is below its members.
func (v *Value) Without(name string) Value {
	members := v.children()
	i, ok := find(members, name)
	if !ok {
		i = len(members)
	}
	left := append(make([]Value, 0, len(members)), members[:i]...)
	if ok {
		left = append(left, members[i+1:]...)
	}
	w := *v
	w.setChildren(left)
	return w
}

// RemoveIndex takes item i of a list away; it must exist.
func (v *Value) RemoveIndex(i int) {
	v.wantList("RemoveIndex")
	v.setChildren(slices.Delete(v.children(), i, i+1))
}

// Append adds items at the end of a list; a null v becomes one.
func (v *Value) Append(items ...Value) {
	if v.kind == Null {
		v.kind = List
		v.data, v.word = nil, 0
	}
	v.Insert(v.Len(), items...)
}

// Insert adds items to a list before item i, which may be its length.
func (v *Value) Insert(i int, items ...Value) {
	v.wantList("Insert")
	c := slices.Insert(v.children(), i, items...)
	for j := range items {
		c[i+j].name = ""
	}
	v.setChildren(c)
}

func (v *Value) wantList(method string) {
	if v.kind != List {
		panic("object: " + method + " on a " + v.kind.String())
	}
}

// Clone is a copy that shares no children with v (strings, which never change, are shared). The clone of nil is null.
func (v *Value) Clone() Value {
	if v == nil {
		return Value{}
	}
	c := *v
	if n := v.Len(); n > 0 {
		a := arena{chunk: make([]Value, 0, v.count()-1)}
		c.setChildren(a.clone(v.children()))
	}
	return c
}

// count is the number of nodes of v, itself included.
func (v *Value) count() int {
	n := 1
	for i, c := 0, v.children(); i < len(c); i++ {
		n += c[i].count()
	}
	return n
}

// Equal reports whether two values are the same JSON: numbers compare by value, the order of members does not count,
// and nil is null.
func Equal(a, b *Value) bool { return equal(a, b, equalNumbers) }

// Same is Equal that takes a number written as a whole one for another than one that is not: 1 and 1.0.
func Same(a, b *Value) bool {
	return equal(a, b, func(a, b *Value) bool { return a.float == b.float && equalNumbers(a, b) })
}

func equal(a, b *Value, numbers func(a, b *Value) bool) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	if a == b || a.IsNull() {
		return true
	}
	switch a.kind {
	case Bool:
		return a.word == b.word
	case Number:
		return numbers(a, b)
	case String:
		return a.Str() == b.Str()
	}
	ca, cb := a.children(), b.children()
	if len(ca) != len(cb) {
		return false
	}
	if len(ca) == 0 || &ca[0] == &cb[0] {
		return true
	}
	for i := range ca {
		if a.kind == Map && ca[i].name != cb[i].name || !equal(&ca[i], &cb[i], numbers) {
			return false
		}
	}
	return true
}

// arena hands out runs of nodes from chunks, so that a document is few allocations. Runs have no spare capacity:
// growing one moves it out of the arena.
type arena struct {
	chunk []Value // the unused part is what lies between its length and its capacity
}

// arenaChunk bounds how many nodes are taken at once on a mere estimate (40 bytes each).
const arenaChunk = 1024

func (a *arena) run(n int) []Value {
	if n > cap(a.chunk)-len(a.chunk) {
		a.chunk = make([]Value, 0, max(n, min(max(4*cap(a.chunk), 4), arenaChunk/2)))
	}
	at := len(a.chunk)
	a.chunk = a.chunk[:at+n]
	return a.chunk[at : at+n : at+n]
}

func (a *arena) clone(children []Value) []Value {
	c := a.run(len(children))
	copy(c, children)
	for i := range c {
		if c[i].Len() > 0 {
			c[i].setChildren(a.clone(c[i].children()))
		}
	}
	return c
}
