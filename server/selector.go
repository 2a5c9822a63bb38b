package server

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
)

// requirement is one term of a field selector.
type requirement struct {
	field, value string
	not          bool
}

// parseFieldSelector reads a field selector of d. What can be selected is the object's key and d's public indexes; the
// texts for what cannot differ, as upstream's do, between kinds that declare fields of their own and those that do not.
func parseFieldSelector(d *resource.Definition, s string) ([]requirement, error) {
	if s == "" {
		return nil, nil
	}
	sel, err := fields.ParseSelector(s)
	if err != nil {
		return nil, api.BadRequest("%s", err)
	}
	var rs []requirement
	for _, r := range sel.Requirements() {
		if err := selectable(d, r.Field); err != nil {
			return nil, err
		}
		rs = append(rs, requirement{r.Field, r.Value, r.Operator == selection.NotEquals})
	}
	return rs, nil
}

func selectable(d *resource.Definition, name string) error {
	if name == store.IndexName || name == store.IndexNamespace {
		return nil
	}
	own := d.Custom
	for i := range d.Index {
		if x := &d.Index[i]; !x.Internal {
			if x.Name == name {
				return nil
			}
			own = true
		}
	}
	if own {
		return api.BadRequest("field label not supported: %s", name)
	}
	return api.BadRequest("%s", fmt.Sprintf("%q is not a known field selector: only %q, %q", name, store.IndexName, store.IndexNamespace))
}

// matches reports whether rec passes.
func (s *selector) matches(rec *api.Record) bool {
	for i := range s.fields {
		if s.fields[i].matches(rec) == s.fields[i].not {
			return false
		}
	}
	return s.labels == nil || s.labels.Matches(rec)
}

// matches ignores r.not.
func (r *requirement) matches(rec *api.Record) bool {
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
		if !r.not && r.value != "" && !strings.HasPrefix(r.field, "metadata.") {
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

// entries are the equalities of the selector for a cursor: with them it sleeps through what cannot pass.
func (s *selector) entries(namespace string) []api.Index {
	var xs []api.Index
	if namespace != "" {
		xs = append(xs, api.Index{Name: store.IndexNamespace, Value: namespace})
	}
	for _, r := range s.fields {
		if !r.not && r.value != "" {
			xs = append(xs, api.Index{Name: r.field, Value: r.value})
		}
	}
	return xs
}
