// Package object is JSON documents: parsing, editing, patching, and knowing who owns which field. It knows no kinds;
// what it must know of a schema it asks a Shape.
package object

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

// Shape is what patches and field ownership need to know of the schema at one position of a document. A nil Shape
// knows nothing: maps are granular there, lists atomic.
type Shape interface {
	// Field is the shape of a map's member; nil when the schema does not know it.
	Field(name string) Shape
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
