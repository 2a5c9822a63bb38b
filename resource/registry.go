package resource

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pintle.dev/api"
)

// Registry is the set of Definitions the system serves. Readers take a Snapshot, which never changes, without a lock;
// every change publishes a new one. The zero Registry is not usable: see NewRegistry.
type Registry struct {
	mu      sync.Mutex // serializes writers
	current atomic.Pointer[Snapshot]
	builtIn map[string]bool // the groups of what it was made of; never changed
}

// Snapshot is the Registry at one generation. What is alike in successive Snapshots is shared, group by group: a change of
// one CustomResourceDefinition must not cost what a thousand others take.
type Snapshot struct {
	generation uint64
	changed    chan struct{} // closed when a newer snapshot has been published
	groups     map[string]*Group
	all        func() []*Definition // sorted on first use
}

// Group is what a Snapshot has of one API group: the same Group as in the Snapshot before when nothing of it has changed.
// Only the snapshot it was made for may change it, before it is published.
type Group struct {
	generation uint64                 // of that snapshot
	resources  map[string]*Definition // whose Resource is of the group, by plural name
	paths      map[path]entry         // served by plural name
	kinds      map[path]entry         // served by kind
	sorted     func() []*Definition   // resources, by name, sorted on first use
	served     func() []*Definition   // see Served, sorted on first use
}

// Served lists the Definitions that have a served version in the group, by their Resource: its group, then its name. The
// caller must not change the slice.
func (g *Group) Served() []*Definition { return g.served() }

func (g *Group) listServed() (all []*Definition) {
	for _, e := range g.paths {
		all = append(all, e.definition)
	}
	slices.SortFunc(all, func(a, b *Definition) int {
		return cmp.Or(strings.Compare(a.Resource.Group, b.Resource.Group), strings.Compare(a.Resource.Name, b.Resource.Name))
	})
	return slices.Compact(all) // found once for each version
}

// path is a version and a plural name, or a kind.
type path struct{ version, name string }

type entry struct {
	definition *Definition
	version    *Version
}

// NewRegistry returns a Registry of the given Definitions, at generation 1.
func NewRegistry(ds ...*Definition) *Registry {
	r := &Registry{builtIn: map[string]bool{}}
	s := &Snapshot{generation: 1, groups: map[string]*Group{}}
	for _, d := range ds {
		if !d.Custom {
			d.Generation = indexFingerprint(d.Index)
			r.builtIn[d.Resource.Group] = true
			for i := range d.Versions {
				r.builtIn[d.Versions[i].Group] = true
			}
		}
		s.add(d)
	}
	r.publish(s)
	return r
}

// Snapshot returns the current state, for callers that ask more than one question.
func (r *Registry) Snapshot() *Snapshot { return r.current.Load() }

// Lookup finds what serves /apis/GROUP/VERSION/NAME; nil, nil when nothing does.
func (r *Registry) Lookup(group, version, name string) (*Definition, *Version) {
	return r.Snapshot().Lookup(group, version, name)
}

// ByResource finds a Definition by its identity, whether or not any version is served; nil when there is none.
func (r *Registry) ByResource(res api.Resource) *Definition { return r.Snapshot().ByResource(res) }

// BuiltIn reports whether a group has kinds that are built in. All its paths and kinds are theirs, as upstream has it:
// custom ones of that group are not served.
func (r *Registry) BuiltIn(group string) bool { return r.builtIn[group] }

// ByKind finds what serves a kind; nil, nil when nothing does.
func (r *Registry) ByKind(group, version, kind string) (*Definition, *Version) {
	return r.Snapshot().ByKind(group, version, kind)
}

// All lists the Definitions by group, then name. The caller must not change the slice.
func (r *Registry) All() []*Definition { return r.Snapshot().All() }

// Generation grows with every change: it tells whether what was derived from an earlier Snapshot is outdated.
func (r *Registry) Generation() uint64 { return r.Snapshot().Generation() }

// Put registers each Definition in place of what had its Resource before.
func (r *Registry) Put(ds ...*Definition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.Snapshot().clone()
	for _, d := range ds {
		s.add(d)
	}
	r.publish(s)
}

// Remove unregisters a resource. It reports whether it was registered.
func (r *Registry) Remove(res api.Resource) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.Snapshot()
	if s.ByResource(res) == nil {
		return false
	}
	s = s.clone()
	s.remove(res)
	r.publish(s)
	return true
}

func (r *Registry) publish(s *Snapshot) {
	s.changed = make(chan struct{})
	s.all = sync.OnceValue(func() (all []*Definition) {
		for _, name := range slices.Sorted(maps.Keys(s.groups)) {
			all = append(all, s.groups[name].sorted()...)
		}
		return all
	})
	if old := r.current.Swap(s); old != nil {
		close(old.changed)
	}
}

// Generation is the snapshot's position in the Registry's history, from 1.
func (s *Snapshot) Generation() uint64 { return s.generation }

// Changed is closed when a newer snapshot exists.
func (s *Snapshot) Changed() <-chan struct{} { return s.changed }

// Lookup finds what serves /apis/GROUP/VERSION/NAME; nil, nil when nothing does.
func (s *Snapshot) Lookup(group, version, name string) (*Definition, *Version) {
	g := s.groups[group]
	if g == nil {
		return nil, nil
	}
	e := g.paths[path{version, name}]
	return e.definition, e.version
}

// ByResource finds a Definition by its identity; nil when there is none.
func (s *Snapshot) ByResource(res api.Resource) *Definition {
	if g := s.groups[res.Group]; g != nil {
		return g.resources[res.Name]
	}
	return nil
}

// ByKind finds what serves a kind; nil, nil when nothing does.
func (s *Snapshot) ByKind(group, version, kind string) (*Definition, *Version) {
	g := s.groups[group]
	if g == nil {
		return nil, nil
	}
	e := g.kinds[path{version, kind}]
	return e.definition, e.version
}

// All lists the Definitions by group, then name. The caller must not change the slice.
func (s *Snapshot) All() []*Definition { return s.all() }

// Groups are the API groups by name. The caller must not change the map.
func (s *Snapshot) Groups() map[string]*Group { return s.groups }

// clone is a snapshot of the next generation that has the groups of s.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{generation: s.generation + 1, groups: maps.Clone(s.groups)}
}

// change is the group of that name, to be changed: a copy of the one that earlier snapshots have.
func (s *Snapshot) change(name string) *Group {
	g := &Group{generation: s.generation}
	switch was := s.groups[name]; {
	case was == nil:
		g.resources, g.paths, g.kinds = map[string]*Definition{}, map[path]entry{}, map[path]entry{}
	case was.generation == s.generation:
		return was
	default:
		g.resources, g.paths, g.kinds = maps.Clone(was.resources), maps.Clone(was.paths), maps.Clone(was.kinds)
	}
	g.sorted = sync.OnceValue(func() (all []*Definition) {
		for _, name := range slices.Sorted(maps.Keys(g.resources)) {
			all = append(all, g.resources[name])
		}
		return all
	})
	g.served = sync.OnceValue(g.listServed)
	s.groups[name] = g
	return g
}

// remove and add change a clone that is not published yet.
func (s *Snapshot) remove(res api.Resource) {
	old := s.ByResource(res)
	if old == nil {
		return
	}
	delete(s.change(res.Group).resources, res.Name)
	for i := range old.Versions {
		v := &old.Versions[i]
		g := s.change(v.Group)
		if p := (path{v.Name, res.Name}); g.paths[p].definition == old {
			delete(g.paths, p)
		}
		if p := (path{v.Name, old.KindOf(v)}); g.kinds[p].definition == old {
			delete(g.kinds, p)
		}
		s.prune(v.Group)
	}
	s.prune(res.Group)
}

// prune takes a group out that has nothing left.
func (s *Snapshot) prune(name string) {
	if g := s.groups[name]; g != nil && len(g.resources) == 0 && len(g.paths) == 0 && len(g.kinds) == 0 {
		delete(s.groups, name)
	}
}

func (s *Snapshot) add(d *Definition) {
	s.remove(d.Resource)
	s.change(d.Resource.Group).resources[d.Resource.Name] = d
	for i := range d.Versions {
		v := &d.Versions[i]
		if !v.Served {
			continue
		}
		g := s.change(v.Group)
		g.paths[path{v.Name, d.Resource.Name}] = entry{d, v}
		g.kinds[path{v.Name, d.KindOf(v)}] = entry{d, v}
	}
}
