package object

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/mergepatch"

	"pintle.dev/api"
)

// The directives of strategic merge patches.
const (
	dirPatch           = "$patch"
	dirRetainKeys      = "$retainKeys"
	dirSetElementOrder = "$setElementOrder"
	dirDeleteFromList  = "$deleteFromPrimitiveList"
)

// StrategicMerge applies a strategic merge patch to target, whose shape says which lists merge by which key. The patch
// is used up: target takes over its values. After an error target is in between. Errors that upstream answers with
// something else than 500 carry that status.
//
// Where upstream depends on the random order of a map, members are taken in the order of their names: a list is
// reduced by $deleteFromPrimitiveList before it is merged.
func StrategicMerge(target, patch *Value, shape Shape) error {
	if patch.Kind() != Map || target.Kind() != Map {
		return api.BadRequest("json: cannot unmarshal %s into Go value of type map[string]interface {}", patch.Kind())
	}
	switch err := mergeMaps(target, patch, shape); {
	case err == nil:
		return nil
	case errors.Is(err, mergepatch.ErrNoListOfLists):
		return unprocessable(err)
	case errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList), errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys),
		errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList):
		return apierrors.NewBadRequest(err.Error())
	default:
		return err
	}
}

func mergeMaps(target, patch *Value, shape Shape) error {
	if directive := patch.Get(dirPatch); directive != nil {
		switch directive.Str() {
		case "replace":
			patch.Remove(dirPatch)
			target.Replace(*patch)
		case "delete":
			target.Replace(NewMap())
		default:
			return badPatchType(directive, patch)
		}
		return nil
	}
	if err := retainKeys(target, patch); err != nil {
		return err
	}
	if err := setElementOrders(target, patch, shape); err != nil {
		return err
	}
	for i, members := 0, patch.children(); i < len(members); i++ {
		if err := mergeMember(target, &members[i], shape); err != nil {
			return err
		}
	}
	return nil
}

// mergeMember merges one member of a patch into target.
func mergeMember(target, p *Value, shape Shape) error {
	key, deleting := p.name, strings.HasPrefix(p.name, dirDeleteFromList)
	if deleting {
		name, err := directiveKey(p.name, dirDeleteFromList)
		if err != nil {
			return err
		}
		if name != "" {
			key = name
		}
	}
	if p.kind == Null {
		target.Remove(key)
		return nil
	}
	t := target.Get(key)
	switch {
	case t == nil || t.kind != p.kind || t.kind < List:
		if deleting {
			if t == nil || t.kind != p.kind {
				return nil
			}
		}
		pruneNulls(p)
		if !removeDirectives(p) {
			target.Remove(key)
			return nil
		}
		target.Set(key, *p)
		return nil
	case t.kind == Map:
		field, err := fieldShape(shape, key)
		if err != nil {
			return err
		}
		strategy, _, err := strategyOf(field)
		if err != nil {
			return err
		}
		if strategy == "replace" {
			t.Replace(*p)
			return nil
		}
		return mergeMaps(t, p, field)
	default:
		field, err := listShape(shape, key)
		if err != nil {
			return err
		}
		strategy, mergeKey, err := strategyOf(field)
		if err != nil {
			return err
		}
		if strategy != "merge" && !deleting {
			t.Replace(*p)
			return nil
		}
		l := listMerge{key: mergeKey, item: itemShape(field), deleting: deleting}
		merged, err := l.merge(t.children(), p.children())
		if err != nil {
			return err
		}
		t.setChildren(merged)
		return nil
	}
}

// GoTyped is a Shape that knows which Go type it is of: upstream merges by the types' fields, and its messages name them.
type GoTyped interface {
	// GoType is the kind of the type, "struct", "map" or "slice", "" of scalars, and a struct's name.
	GoType() (kind, name string)
}

func goType(s Shape) (kind, name string) {
	if t, ok := s.(GoTyped); ok {
		return t.GoType()
	}
	return "struct", ""
}

// fieldShape is the shape of a member. Under an unknown shape everything is unknown; a known one must be of a struct, and
// know the member.
func fieldShape(shape Shape, name string) (Shape, error) {
	if shape == nil {
		return nil, nil
	}
	kind, typ := goType(shape)
	if kind != "struct" {
		return nil, fmt.Errorf("merging an object in json but data type is not struct, instead is: %s", kind)
	}
	field := shape.Field(name)
	if field == nil && !shape.Declares(name) {
		return nil, fmt.Errorf("unable to find api field in struct %s for the json field %q", typ, name)
	}
	return field, nil
}

// listShape is the shape of a member that is to be a list.
func listShape(shape Shape, name string) (Shape, error) {
	field, err := fieldShape(shape, name)
	if err != nil || shape == nil {
		return nil, err
	}
	// What is of a struct passes, as most such fields are pointers.
	if field != nil {
		if kind, _ := goType(field); kind != "map" {
			return field, nil
		}
	}
	return nil, errors.New("expected slice or array type, but got: struct")
}

func itemShape(list Shape) Shape {
	if list == nil {
		return nil
	}
	return list.Item()
}

// strategyOf is how a member is patched: "merge", "replace" or "", beside retainKeys, which only clients mind.
func strategyOf(shape Shape) (strategy, mergeKey string, err error) {
	if shape == nil {
		return "", "", nil
	}
	mergeKey, all := shape.Patch()
	for _, s := range all {
		switch {
		case s == "retainKeys" || s == "":
		case strategy != "":
			return "", "", fmt.Errorf("unexpected patch strategy: %v", all)
		default:
			strategy = s
		}
	}
	return strategy, mergeKey, nil
}

// directiveKey is the member a directive such as $setElementOrder/containers is about.
func directiveKey(name, directive string) (string, error) {
	head, key, ok := strings.Cut(name, "/")
	if !ok || head != directive {
		if directive == dirDeleteFromList {
			return "", mergepatch.ErrBadPatchFormatForPrimitiveList
		}
		return "", mergepatch.ErrBadPatchFormatForSetElementOrderList
	}
	return key, nil
}

// retainKeys obeys a $retainKeys directive: target keeps only the members it lists, which must include all of the
// patch.
func retainKeys(target, patch *Value) error {
	directive := patch.Get(dirRetainKeys)
	if directive == nil {
		return nil
	}
	if directive.kind != List {
		return mergepatch.ErrBadPatchFormatForRetainKeys
	}
	keep := make(map[string]bool, directive.Len())
	for _, name := range directive.Items() {
		switch name.kind {
		case String:
			keep[name.Str()] = true
		case List, Map: // upstream panics
			return mergepatch.ErrBadPatchFormatForRetainKeys
		}
	}
	patch.Remove(dirRetainKeys)
	for name, v := range patch.Fields() {
		if v.kind != Null && !strings.HasPrefix(name, dirDeleteFromList) && !strings.HasPrefix(name, dirSetElementOrder) && !keep[name] {
			return mergepatch.ErrBadPatchFormatForRetainKeys
		}
	}
	target.setChildren(slices.DeleteFunc(target.children(), func(m Value) bool { return !keep[m.name] }))
	return nil
}

// setElementOrders obeys the $setElementOrder directives of a map, and merges the lists they are about.
func setElementOrders(target, patch *Value, shape Shape) error {
	for i := 0; i < patch.Len(); {
		directive := patch.Index(i)
		if !strings.HasPrefix(directive.name, dirSetElementOrder) {
			i++
			continue
		}
		name, order := directive.name, *directive
		patch.Remove(name)
		if order.kind != List {
			return badArgType(List, &order)
		}
		key, err := directiveKey(name, dirSetElementOrder)
		if err != nil {
			return err
		}
		if err := mergeOrdered(target, patch, key, shapedOrder{shape, order.children()}); err != nil {
			return err
		}
	}
	return nil
}

type shapedOrder struct {
	shape Shape
	order []Value
}

// mergeOrdered merges the list that is member key of both maps, and gives it the order of the directive. The member
// leaves the patch.
func mergeOrdered(target, patch *Value, key string, o shapedOrder) error {
	live, change := target.Get(key), patch.Get(key)
	for _, list := range []*Value{live, change} {
		if list != nil && list.kind != List {
			return badArgType(List, list)
		}
	}
	field, err := listShape(o.shape, key)
	if err != nil {
		return err
	}
	strategy, mergeKey, err := strategyOf(field)
	if err != nil {
		return err
	}
	l := listMerge{key: mergeKey, item: itemShape(field)}
	if err := l.checkOrder(change.children(), o.order); err != nil {
		return err
	}
	// What the live list looked like: merging rearranges it.
	before := slices.Clone(live.children())
	patched := slices.Clone(change.children())
	var merged []Value
	switch {
	case live == nil && change == nil:
		return nil
	case change == nil:
		merged = live.children()
	case live == nil:
		removeDirectives(change)
		merged = change.children()
	case strategy == "merge":
		if merged, err = l.merge(live.children(), change.children()); err != nil {
			return err
		}
		if l.worn != nil {
			before = l.worn
		}
	default:
		merged = change.children()
	}
	listed, others, err := l.partition(merged, o.order)
	if err != nil {
		return err
	}
	l.kind, err = itemKind(before, patched)
	if err != nil {
		return err
	}
	both, err := l.interleave(listed, others, o.order, before)
	if err != nil {
		return err
	}
	target.Set(key, NewList(both...))
	patch.Remove(key)
	return nil
}

// removeDirectives takes what carries a $patch directive out of a new value, and reports whether the value itself may
// stay.
func removeDirectives(v *Value) bool {
	if v.kind < List {
		return true
	}
	if v.kind == Map && v.Get(dirPatch) != nil {
		return false
	}
	c := v.children()
	n := 0
	for i := range c {
		if removeDirectives(&c[i]) {
			c[n] = c[i]
			n++
		}
	}
	clear(c[n:])
	v.setChildren(c[:n])
	return true
}

// listMerge merges two lists of one field.
type listMerge struct {
	key      string // the merge key, "" for scalars
	item     Shape
	deleting bool // the patch lists scalars to delete
	kind     Kind // of the items
	// worn is the live list of maps as merging leaves it behind upstream, which does so in place: what is new takes the
	// places of what was deleted. Nil when that list is as it was.
	worn []Value
}

func (l *listMerge) merge(live, patch []Value) ([]Value, error) {
	if len(live) == 0 && len(patch) == 0 {
		return live, nil
	}
	var err error
	if l.kind, err = itemKind(live, patch); err != nil {
		return nil, err
	}
	var merged []Value
	if l.kind != Map {
		if l.deleting {
			gone := positions(patch, "")
			return slices.DeleteFunc(slices.Clone(live), func(v Value) bool { return gone.of(&v) >= 0 }), nil
		}
		merged = distinct(slices.Concat(live, patch))
	} else {
		if l.key == "" {
			return nil, errors.New("cannot merge lists without merge key for struct")
		}
		length := len(live)
		if live, patch, err = l.obeyDirectives(live, patch); err != nil {
			return nil, err
		}
		if merged, err = l.mergeItems(live, patch); err != nil {
			return nil, err
		}
		if len(live) < length && len(patch) > 0 {
			l.worn = merged[:min(len(merged), length)]
		}
	}
	listed, others, err := l.partition(merged, patch)
	if err != nil {
		return nil, err
	}
	return l.interleave(listed, others, patch, live)
}

// obeyDirectives removes from the live list the items that the patch deletes or, all of them, replaces, and from the
// patch the items that say so.
func (l *listMerge) obeyDirectives(live, patch []Value) (left, rest []Value, err error) {
	replace := false
	var deleted []Value
	for i := range patch {
		p := &patch[i]
		directive := p.Get(dirPatch)
		if directive == nil {
			rest = append(rest, *p)
			continue
		}
		switch directive.Str() {
		case "delete":
			key := p.Get(l.key)
			if key == nil {
				return nil, nil, noMergeKey(p, l.key)
			}
			deleted = append(deleted, *key)
		case "replace":
			replace = true
		case "merge":
			return nil, nil, errors.New("merging lists cannot yet be specified in the patch")
		default:
			return nil, nil, badPatchType(directive, p)
		}
	}
	if replace {
		return rest, nil, nil
	}
	if len(deleted) > 0 {
		gone := positions(deleted, "")
		live = slices.DeleteFunc(slices.Clone(live), func(v Value) bool {
			key := v.Get(l.key)
			return key != nil && gone.of(key) >= 0
		})
	}
	return live, rest, nil
}

// mergeItems merges each item of the patch into the live one of the same key, or adds it.
func (l *listMerge) mergeItems(live, patch []Value) ([]Value, error) {
	merged := slices.Clone(live)
	at := positions(merged, l.key)
	for i := range patch {
		p := patch[i]
		key := p.Get(l.key)
		if key == nil {
			return nil, noMergeKey(&p, l.key)
		}
		at, known := at.claim(key, len(merged))
		if !known {
			merged = append(merged, p)
			continue
		}
		// Merging uses the patch up, and its items are looked at again for their order.
		own := p.Clone()
		if err := mergeMaps(&merged[at], &own, l.item); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// partition splits items into those that are in the list order and the others.
func (l *listMerge) partition(items, order []Value) (listed, others []Value, err error) {
	in := positions(order, l.key)
	stranger := -1 // the first of the order that is no map
	if l.key != "" {
		stranger = slices.IndexFunc(order, func(v Value) bool { return v.kind != Map })
	}
	for i := range items {
		at := -1
		if l.key == "" {
			at = in.of(&items[i])
		} else {
			if items[i].kind != Map {
				return nil, nil, badArgType(Map, &items[i])
			}
			key := items[i].Get(l.key)
			if key == nil {
				return nil, nil, noMergeKey(&items[i], l.key)
			}
			if at = in.of(key); stranger >= 0 && (at < 0 || stranger < at) {
				return nil, nil, fmt.Errorf("value for key %d is not a map", stranger)
			}
		}
		if at >= 0 {
			listed = append(listed, items[i])
		} else {
			others = append(others, items[i])
		}
	}
	return listed, others, nil
}

// interleave brings listed into the order of order and others into that of live, and puts each of the others before the
// first listed item that came after it in the live list.
func (l *listMerge) interleave(listed, others, order, live []Value) ([]Value, error) {
	if err := l.sort(listed, order); err != nil {
		return nil, err
	}
	if err := l.sort(others, live); err != nil {
		return nil, err
	}
	in := l.positions(live)
	all := make([]Value, 0, len(listed)+len(others))
	for len(listed) > 0 && len(others) > 0 {
		a, b := in.of(l.identity(&others[0])), in.of(l.identity(&listed[0]))
		if a >= 0 && b >= 0 && a < b {
			all, others = append(all, others[0]), others[1:]
		} else {
			all, listed = append(all, listed[0]), listed[1:]
		}
	}
	return append(append(all, listed...), others...), nil
}

func (l *listMerge) sort(items, order []Value) error {
	if l.kind == Map {
		for _, list := range [][]Value{items, order} {
			for i := range list {
				if list[i].kind != Map {
					return badArgType(Map, &list[i])
				}
				if list[i].Get(l.key) == nil {
					return noMergeKey(&list[i], l.key)
				}
			}
		}
	}
	in := l.positions(order)
	at := make([]int, len(items))
	for i := range items {
		at[i] = in.of(l.identity(&items[i]))
	}
	sort.Stable(itemsByPosition{items, at})
	return nil
}

// itemsByPosition sorts items by where they are in another list. What is not there is less than anything, upstream's
// way, so the order depends on the algorithm: it must be sort.Stable.
type itemsByPosition struct {
	items []Value
	at    []int
}

func (s itemsByPosition) Len() int           { return len(s.items) }
func (s itemsByPosition) Less(i, j int) bool { return s.at[i] < 0 || s.at[j] < 0 || s.at[i] < s.at[j] }
func (s itemsByPosition) Swap(i, j int) {
	s.items[i], s.items[j] = s.items[j], s.items[i]
	s.at[i], s.at[j] = s.at[j], s.at[i]
}

// identity is what items are told apart by: the merge key of maps, scalars themselves.
func (l *listMerge) identity(item *Value) *Value {
	if l.kind == Map {
		return item.Get(l.key)
	}
	return item
}

// positions is where each item is first, by identity.
func (l *listMerge) positions(list []Value) places {
	if l.kind == Map {
		return positions(list, l.key)
	}
	return positions(list, "")
}

// checkOrder makes sure that the items of the patch are in the order that the directive lists them in.
func (l *listMerge) checkOrder(patch, order []Value) error {
	if len(order) == 0 || len(patch) == 0 {
		return nil
	}
	var items []*Value
	for i := range patch {
		p := &patch[i]
		if l.key != "" && p.kind != Map {
			return badArgType(Map, p)
		}
		if l.key == "" || p.Get(dirPatch).Str() != "delete" {
			items = append(items, p)
		}
	}
	for i := 0; i < len(order) && len(items) > 0; i++ {
		// Other directives are passed over, but only up to the end of the order: upstream's way.
		for len(items) > 0 && items[0].Get(dirPatch) != nil {
			items = items[1:]
		}
		if len(items) == 0 {
			return nil
		}
		same, err := l.sameKey(items[0], &order[i])
		if err != nil {
			return err
		}
		if same {
			items = items[1:]
		}
	}
	if len(items) > 0 {
		//lint:ignore ST1005 upstream's words
		return fmt.Errorf("The order in patch list:\n%v\n doesn't match %s list:\n%v\n",
			goList(patch), dirSetElementOrder, goList(order))
	}
	return nil
}

func (l *listMerge) sameKey(a, b *Value) (bool, error) {
	if l.key == "" {
		return Equal(a, b), nil
	}
	for _, v := range []*Value{a, b} {
		if v.kind != Map {
			return false, badArgType(Map, v)
		}
		if v.Get(l.key) == nil {
			return false, noMergeKey(v, l.key)
		}
	}
	return Equal(a.Get(l.key), b.Get(l.key)), nil
}

// itemKind is the one kind that all items have.
func itemKind(lists ...[]Value) (Kind, error) {
	kind, found := Null, false
	for _, list := range lists {
		for i := range list {
			switch {
			case !found:
				if kind, found = list[i].kind, true; kind == List {
					return kind, mergepatch.ErrNoListOfLists
				}
			case list[i].kind != kind:
				all := make([][]any, len(lists))
				for j := range lists {
					all[j] = goList(lists[j])
				}
				return kind, fmt.Errorf("list element types are not identical: %v", all)
			}
		}
	}
	if !found {
		return kind, errors.New("no elements in any of the given slices")
	}
	return kind, nil
}

// distinct drops repeated items but the first. (Upstream moves others to their places; the sort that follows undoes that.)
func distinct(s []Value) []Value {
	seen, i := make(places, len(s)), -1
	return slices.DeleteFunc(s, func(v Value) bool {
		i++
		_, known := seen.claim(&v, i)
		return known
	})
}

// places finds the first of equal values in a list, without looking at all of them.
type places map[string]int

// positions is where each value is first; with a merge key, where the map that has it is.
func positions(list []Value, key string) places {
	p := make(places, len(list))
	for i := range list {
		v := &list[i]
		if key != "" {
			if v = v.Get(key); v == nil {
				continue
			}
		}
		p.claim(v, i)
	}
	return p
}

// canonical is the same for equal values only.
func canonical(v *Value) string { return string(appendValue(nil, v)) }

// of is the position of the first value equal to v, or -1.
func (p places) of(v *Value) int {
	if at, ok := p[canonical(v)]; ok {
		return at
	}
	return -1
}

// claim gives v the position at unless an equal value has one already, which is returned then.
func (p places) claim(v *Value, at int) (first int, known bool) {
	c := canonical(v)
	if first, known = p[c]; known {
		return first, true
	}
	p[c] = at
	return at, false
}

func goList(list []Value) []any {
	l := make([]any, len(list))
	for i := range list {
		l[i] = list[i].ToAny()
	}
	return l
}

func badArgType(want Kind, v *Value) error {
	if want == Map {
		return mergepatch.ErrBadArgType(map[string]any(nil), v.ToAny())
	}
	return mergepatch.ErrBadArgType([]any(nil), v.ToAny())
}

func noMergeKey(v *Value, key string) error {
	return fmt.Errorf("map: %v does not contain declared merge key: %s", v.ToAny(), key)
}

func badPatchType(directive, patch *Value) error {
	return fmt.Errorf("unknown patch type: %s in map: %v", directive.ToAny(), patch.ToAny())
}
