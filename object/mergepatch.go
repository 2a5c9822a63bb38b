package object

import (
	"fmt"

	"pintle.dev/api"
)

// MergePatch applies a JSON merge patch (RFC 7386) to target, which takes over the patch's values. It fails with 400
// when the patch is no object. As upstream has it, a new value loses its null members wherever they are, also inside
// lists, while a list or scalar that takes the place of an object is taken as it is.
func MergePatch(target, patch *Value) error {
	if patch.Kind() != Map {
		return api.BadRequest("Invalid JSON Patch")
	}
	if target.Kind() != Map {
		return fmt.Errorf("merge patch: the document is not an object but %s", target.Kind())
	}
	mergeMembers(target, patch)
	return nil
}

// mergeMembers merges one map into another, both in order of their names.
func mergeMembers(target, patch *Value) {
	for i, members := 0, patch.children(); i < len(members); i++ {
		p := &members[i]
		if p.kind == Null {
			target.Remove(p.name)
			continue
		}
		t := target.Get(p.name)
		switch {
		case t == nil:
			pruneNulls(p)
			target.Set(p.name, *p)
		case t.kind == Map && p.kind == Map:
			mergeMembers(t, p)
		case t.kind == Map:
			t.Replace(*p)
		default:
			pruneNulls(p)
			t.Replace(*p)
		}
	}
}

// pruneNulls removes the null members of all maps in v; null items of lists stay.
func pruneNulls(v *Value) {
	c := v.children()
	if v.kind == Map {
		n := 0
		for i := range c {
			if c[i].kind != Null {
				c[n] = c[i]
				n++
			}
		}
		clear(c[n:])
		c = c[:n]
		v.setChildren(c)
	}
	for i := range c {
		pruneNulls(&c[i])
	}
}
