package object

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// BeforeFirstApply is the manager that what an object without owners holds is accounted to by its first apply.
const BeforeFirstApply = "before-first-apply"

// ErrNoVersion is what Application.Convert returns for a version that the kind does not have (any more).
var ErrNoVersion = errors.New("no such version")

// Application is one server-side apply.
type Application struct {
	// Write says who applies, in which version, through which subresource, and when.
	Write
	// Config is what the manager wants of the object, in the Write's version.
	Config *Value
	// Force takes fields from managers that want other values, instead of failing with Conflicts.
	Force bool
}

// Applied is what an apply made of an object.
type Applied struct {
	// Value shares memory with the live document and the configuration; none may be changed any more. It is the live
	// document itself when nothing changes: not the order of items either, nor what Ignore names.
	Value  *Value
	Owners api.Owners
}

// Apply merges a configuration into the live document and decides who owns what then, as structured-merge-diff's Updater
// does: what other managers own must not change (Conflicts, unless forced); what the manager applied the last time and
// does not mention any more goes, unless somebody else owns it; what it applies is its own, and that only. The manager's
// time is set when the document changes. An error that is no Conflicts says what is wrong with the configuration.
//
// An object that exists and has no owners is to be given some by Own in the name of BeforeFirstApply before.
func Apply(live *Value, owners api.Owners, s Shape, by Application) (Applied, error) {
	a := apply{by: &by, versions: map[string]*versioned{by.APIVersion: {shape: s, live: live}}}
	a.by.Owner = writer(by.Owner)
	a.by.Operation = opApply
	if err := a.read(owners, live); err != nil {
		return Applied{}, err
	}
	own, err := appliedFields(by.Config, s, true)
	if err != nil {
		return Applied{}, err
	}
	merged, err := merge(live, by.Config, s)
	if err != nil {
		return Applied{}, fmt.Errorf("failed to merge config: %w", err)
	}
	a.ignored = by.Ignore
	own = own.Without(a.ignored)
	last := a.self
	a.self = owned{Owner: by.Owner, fields: own, changed: true}
	after := &merged
	if !last.fields.Empty() {
		if after, err = a.prune(after, last); err != nil {
			return Applied{}, fmt.Errorf("failed to prune fields: %w", err)
		}
	}
	if err := a.take(after); err != nil {
		return Applied{}, err
	}
	if a.self.Time = by.Time; Equal(live, after) {
		after, a.self.Time = live, last.Time
	}
	if a.self.fields = own.Difference(unowned); !a.self.fields.Empty() {
		a.others = append(a.others, a.self)
	}
	out := make(api.Owners, len(a.others))
	for i := range a.others {
		out[i] = a.others[i].owner()
	}
	sortOwners(out)
	return Applied{Value: after, Owners: out}, nil
}

// apply is an Apply being decided.
type apply struct {
	by       *Application
	self     owned   // at first what the manager owned before
	others   []owned // all but self
	ignored  Fields
	versions map[string]*versioned
}

// versioned is what is known of one version in which owners speak.
type versioned struct {
	shape   Shape
	missing bool
	live    *Value
	compared
}

// compared is how the document differs after the apply, in one version.
type compared struct {
	done             bool
	removed, changed Fields
}

// read reads the owners there are, and brings them into line with the schema of today.
func (a *apply) read(owners api.Owners, live *Value) error {
	a.others = make([]owned, 0, len(owners)+1)
	for _, o := range owners {
		f, err := readFields(o.Fields)
		if err != nil {
			return fmt.Errorf("reading the fields of %q: %w", o.Manager, err)
		}
		s, err := a.speak(o.APIVersion, live)
		if err != nil {
			return err
		}
		w := owned{Owner: o, fields: f}
		if r, changed := reconcile(f.nodes, s); changed {
			w.fields, w.changed = Fields{r}, true
		}
		if o.Operation == opApply && o.Manager == a.by.Manager && o.Subresource == a.by.Subresource {
			a.self = w
			continue
		}
		a.others = append(a.others, w)
	}
	return nil
}

// speak gets to know a version of the live document; its shape is nil when there is no such version.
func (a *apply) speak(version string, live *Value) (Shape, error) {
	v := a.versions[version]
	if v == nil {
		v = new(versioned)
		a.versions[version] = v
	}
	if v.live != nil || v.missing {
		return v.shape, nil
	}
	converted, s, err := a.convert(live, version)
	v.shape, v.live, v.missing = s, converted, errors.Is(err, ErrNoVersion)
	if v.missing {
		return nil, nil
	}
	return s, err
}

// convert is a document in another version, or itself when it is in that.
func (a *apply) convert(v *Value, version string) (*Value, Shape, error) {
	switch known := a.versions[version]; {
	case version == a.by.APIVersion && a.by.Convert == nil, known != nil && v.Get("apiVersion").Str() == version:
		return v, known.shape, nil
	case known != nil && known.missing, a.by.Convert == nil:
		return nil, nil, ErrNoVersion
	}
	return a.by.Convert(v, version)
}

// prune takes away what the manager applied the last time and does not apply any more, unless another manager owns it.
func (a *apply) prune(merged *Value, last owned) (*Value, error) {
	full, s, err := a.convert(merged, last.APIVersion)
	if errors.Is(err, ErrNoVersion) {
		return merged, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to convert merged object to last applied version: %w", err)
	}
	versions := a.ownersVersions(last.APIVersion)
	if full == merged && len(versions) == 1 && a.self.fields.Contains(last.fields) {
		return merged, nil // all that was applied the last time is applied again
	}
	removed := remove(full, namedTops(last.fields.nodes, s), s)
	whole, pruned := full, &removed
	for _, version := range versions {
		if whole, pruned, err = a.restore(whole, pruned, version); err != nil {
			return nil, fmt.Errorf("failed add back owned items: %w", err)
		}
	}
	// Only what the manager applied goes: what came away with it is put back.
	if pruned, _, err = a.convert(pruned, last.APIVersion); err != nil {
		return nil, fmt.Errorf("failed add back dangling items: failed to convert pruned object to last applied version: %w", err)
	}
	has, err := appliedFields(pruned, s, false)
	if err != nil {
		return nil, err
	}
	had, err := appliedFields(full, s, false)
	if err != nil {
		return nil, err
	}
	gone := had.namedDifference(has, s).namedIntersection(last.fields, s)
	out := remove(full, gone.nodes, s)
	back, _, err := a.convert(&out, a.by.APIVersion)
	return back, err
}

// ownersVersions are the versions in which there are owners, the given one first.
func (a *apply) ownersVersions(first string) []string {
	var versions []string
	for _, o := range append([]owned{a.self}, a.others...) {
		if !slices.Contains(versions, o.APIVersion) {
			versions = append(versions, o.APIVersion)
		}
	}
	slices.Sort(versions)
	if i := slices.Index(versions, first); i >= 0 {
		versions = slices.Insert(slices.Delete(versions, i, i+1), 0, first)
	}
	return versions
}

// restore puts back into pruned what owners in a version own of full. It gives both in that version, which is what the next
// restores: as on upstream, what conversion loses on the way is lost.
func (a *apply) restore(full, pruned *Value, version string) (f, p *Value, err error) {
	f, s, err := a.convert(full, version)
	if errors.Is(err, ErrNoVersion) {
		return full, pruned, nil
	} else if err != nil {
		return nil, nil, fmt.Errorf("failed to convert merged object at version %s: %w", version, err)
	}
	if p, _, err = a.convert(pruned, version); err != nil {
		return nil, nil, fmt.Errorf("failed to convert pruned object at version %s: %w", version, err)
	}
	had, err := appliedFields(f, s, false)
	if err != nil {
		return nil, nil, err
	}
	has, err := appliedFields(p, s, false)
	if err != nil {
		return nil, nil, err
	}
	gone := had.namedDifference(has.Union(a.ownedIn(version)), s)
	back := remove(f, gone.nodes, s)
	return f, &back, nil
}

// ownedIn is what is owned by anybody in a version, the manager's new fields included.
func (a *apply) ownedIn(version string) Fields {
	var all Fields
	if a.self.APIVersion == version {
		all = a.self.fields
	}
	for i := range a.others {
		if a.others[i].APIVersion == version {
			all = all.Union(a.others[i].fields)
		}
	}
	return all
}

// take decides what the other owners lose by the change from the live document to after.
func (a *apply) take(after *Value) error {
	var conflicts Conflicts
	left := a.others[:0:0]
	for _, o := range a.others {
		v, err := a.compare(after, o.APIVersion)
		if errors.Is(err, ErrNoVersion) {
			continue // its version is gone, and so is it
		}
		if err != nil {
			return err
		}
		if both := o.fields.Intersection(v.changed); !both.Empty() {
			conflicts = append(conflicts, Conflict{o.Owner, both})
			o.fields, o.changed = o.fields.Difference(both), true
		}
		if !v.removed.Empty() && !o.fields.Intersection(v.removed).Empty() {
			o.fields, o.changed = o.fields.Difference(v.removed), true
		}
		if !o.fields.Empty() {
			left = append(left, o)
		}
	}
	if len(conflicts) > 0 && !a.by.Force {
		conflicts.sort()
		return conflicts
	}
	a.others = left
	return nil
}

// compare is how the document changed as an owner's version has it, which has been spoken before.
func (a *apply) compare(after *Value, version string) (*compared, error) {
	v := a.versions[version]
	if v.missing {
		return nil, ErrNoVersion
	}
	if v.done {
		return &v.compared, nil
	}
	c, _, err := a.convert(after, version)
	if err != nil {
		return nil, fmt.Errorf("failed to convert new object: %w", err)
	}
	ch, err := Compare(v.live, c, v.shape)
	if err != nil {
		return nil, fmt.Errorf("failed to compare objects: %w", err)
	}
	v.compared = compared{true, ch.Removed, ch.Modified.Union(ch.Added)}
	if version == a.by.APIVersion || !a.by.Custom {
		v.removed, v.changed = v.removed.Without(a.by.Ignore), v.changed.Without(a.by.Ignore)
	}
	return &v.compared, nil
}

// Conflicts are the fields that an apply would change though other managers own them.
type Conflicts []Conflict

// Conflict are the fields of one manager.
type Conflict struct {
	api.Owner
	Fields Fields
}

// identifier is what upstream sorts managers by: the entry as JSON, without what is owned and since when.
func (c *Conflict) identifier() string {
	e := metav1.ManagedFieldsEntry{Manager: c.Manager, Operation: metav1.ManagedFieldsOperationType(c.Operation), Subresource: c.Subresource}
	if c.Operation == opUpdate {
		e.APIVersion = c.APIVersion
	}
	b, err := json.Marshal(&e)
	if err != nil {
		return c.Manager
	}
	return string(b)
}

func (c Conflicts) sort() {
	slices.SortFunc(c, func(a, b Conflict) int {
		return cmp.Or(strings.Compare(a.identifier(), b.identifier()), strings.Compare(a.APIVersion, b.APIVersion))
	})
}

// By names the manager as upstream's messages do: `"m" with subresource "status" using v1`.
func (c *Conflict) By() string {
	s := fmt.Sprintf("%q", c.Manager)
	if c.Subresource != "" {
		s += fmt.Sprintf(" with subresource %q", c.Subresource)
	}
	if c.Operation == opUpdate {
		s += " using " + c.APIVersion
	}
	return s
}

// Error lists the conflicts by manager, as upstream does.
func (c Conflicts) Error() string {
	n := 0
	var b strings.Builder
	for i := range c {
		paths := c[i].Fields.Paths()
		n += len(paths)
		fmt.Fprintf(&b, "\nconflicts with %s:", c[i].By())
		for _, p := range paths {
			fmt.Fprintf(&b, "\n- %s", p)
		}
	}
	if n == 1 {
		return fmt.Sprintf("Apply failed with 1 conflict: conflict with %s: %s", c[0].By(), c[0].Fields.Paths()[0])
	}
	return fmt.Sprintf("Apply failed with %d conflicts: %s", n, b.String()[1:])
}

// Without leaves out the conflicts about the given fields.
func (c Conflicts) Without(f Fields) Conflicts {
	var left Conflicts
	for _, one := range c {
		if one.Fields = one.Fields.Difference(f); !one.Fields.Empty() {
			left = append(left, one)
		}
	}
	return left
}

// Unchanged are the fields of an apply configuration that the live document holds with the same values: what a client
// that applied it by itself still has a say in.
func Unchanged(config, live *Value, s Shape) (Fields, error) {
	f, err := appliedFields(config, s, true)
	if err != nil {
		return f, err
	}
	ch, err := Compare(config, live, s)
	if err != nil {
		return f, err
	}
	return f.Difference(ch.Modified).Difference(ch.Added).Difference(ch.Removed), nil
}
