package server

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// requirement is one term of a field selector.
type requirement struct {
	field, value string
	not          bool
	marked       bool // objects have it, but no index finds them by it
	decoded      bool // no index keeps it: objects are decoded to see it
	// values reads the field off an object; nil for the key.
	values func(o *resource.Object) []string
}

// parseFieldSelector reads a field selector of d. What can be selected is the object's key and d's public indexes; the
// texts for what cannot differ, as upstream's do, between kinds that declare fields of their own and those that do not.
func parseFieldSelector(d *resource.Definition, v *resource.Version, s string) ([]requirement, error) {
	if s == "" {
		return nil, nil
	}
	sel, err := fields.ParseSelector(s)
	if err != nil {
		return nil, api.BadRequest("%s", err)
	}
	var rs []requirement
	for _, r := range sel.Requirements() {
		x, err := selectable(d, v, r.Field)
		if err != nil {
			return nil, err
		}
		q := requirement{field: r.Field, value: r.Value, not: r.Operator == selection.NotEquals}
		if x != nil {
			q.marked = x.Marked
			q.values, q.decoded = x.Values, x.Unindexed
		}
		rs = append(rs, q)
	}
	return rs, nil
}

// selectable finds what declares a field; nil for the object's key.
func selectable(d *resource.Definition, v *resource.Version, name string) (*resource.IndexField, error) {
	if name == store.IndexName || name == store.IndexNamespace {
		return nil, nil
	}
	own := d.Custom
	for i := range d.Index {
		if x := &d.Index[i]; !x.Internal {
			if x.Name == name && (len(x.Only) == 0 || slices.Contains(x.Only, v.APIVersion())) {
				return x, nil
			}
			own = true
		}
	}
	if own {
		return nil, api.BadRequest("field label not supported: %s", name)
	}
	return nil, api.BadRequest("%s", fmt.Sprintf("%q is not a known field selector: only %q, %q", name, store.IndexName, store.IndexNamespace))
}

// matches reports whether rec passes, as it is in the version that was asked for.
func (s *selector) matches(srv *Server, rec *api.Record) (bool, error) {
	if s.empty() {
		return true, nil
	}
	if !s.direct(rec) {
		return s.matchesConverted(srv, rec)
	}
	var o *resource.Object
	for i := range s.fields {
		r := &s.fields[i]
		if r.decoded && o == nil {
			var err error
			if o, err = decodeRecord(s.d, rec); err != nil {
				return false, err
			}
		}
		if r.matches(rec, o) == r.not {
			return false, nil
		}
	}
	return s.labels == nil || s.labels.Matches(rec), nil
}

// direct reports whether rec's labels and index entries are those of the object in the version asked for. They are not
// when it was stored under a definition that had other indexes, or has to be converted by a webhook.
func (s *selector) direct(rec *api.Record) bool {
	if s.v.Converted {
		return asStored(s.d, s.v, rec)
	}
	return rec.Definition() == s.d.Generation
}

func (s *selector) matchesConverted(srv *Server, rec *api.Record) (bool, error) {
	o, err := srv.decodeIn(s.d, s.v, rec)
	if err != nil {
		return false, err
	}
	for i := range s.fields {
		r := &s.fields[i]
		if r.matches(rec, o) == r.not {
			return false, nil
		}
	}
	return s.labels == nil || s.labels.Matches(labels.Set(o.Meta.Labels)), nil
}

// matches ignores r.not. o is rec decoded, where it has to be looked at.
func (r *requirement) matches(rec *api.Record, o *resource.Object) bool {
	if r.values != nil && o != nil {
		values := r.values(o)
		return slices.Contains(values, r.value) || r.value == "" && len(values) == 0
	}
	switch r.field {
	case store.IndexName:
		return rec.Name() == r.value
	case store.IndexNamespace:
		return rec.Namespace() == r.value
	}
	if r.value == "" {
		// A field without a value has no entry, or an empty one.
		return rec.IndexValue(r.field) == ""
	}
	return rec.Indexed(api.Index{Name: r.field, Value: r.value})
}

// index finds an equality of the selector that an index of the store answers.
func (s *selector) index() (api.Index, bool) {
	for _, r := range s.fields {
		if !r.not && r.value != "" && !r.decoded && !r.marked && !strings.HasPrefix(r.field, "metadata.") {
			return api.Index{Name: r.field, Value: r.value}, true
		}
	}
	return api.Index{}, false
}

// name is the only name that can pass, if the selector gives one.
func (s *selector) name() (string, bool) {
	for _, r := range s.fields {
		if !r.not && r.field == store.IndexName {
			return r.value, true
		}
	}
	return "", false
}

// keyed reports whether the selector lets pass what has certain index entries, all of the key: what no change of an
// object alters.
func (s *selector) keyed() bool {
	for _, r := range s.fields {
		if r.not || r.value == "" || r.decoded || r.field != store.IndexName && r.field != store.IndexNamespace {
			return false
		}
	}
	return s.labels == nil
}

// entries are the equalities of the selector for a cursor: with them it sleeps through what cannot pass. Without indexed
// only those of the key are.
func (s *selector) entries(namespace string, indexed bool) []api.Index {
	var xs []api.Index
	if namespace != "" {
		xs = append(xs, api.Index{Name: store.IndexNamespace, Value: namespace})
	}
	for _, r := range s.fields {
		if !r.not && r.value != "" && !r.decoded && (indexed || r.values == nil) {
			xs = append(xs, api.Index{Name: r.field, Value: r.value})
		}
	}
	return xs
}
