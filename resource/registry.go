package resource

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"pintle.dev/api"
)

// Registry is the set of Definitions the system serves. Readers take a Snapshot, which never changes, without a lock;
// every change publishes a new one. The zero Registry is not usable: see NewRegistry.
type Registry struct {
	mu      sync.Mutex // serializes writers
	current atomic.Pointer[Snapshot]
}

// Snapshot is the Registry at one generation.
type Snapshot struct {
	generation uint64
	changed    chan struct{} // closed when a newer snapshot has been published
	resources  map[api.Resource]*Definition
	paths      map[path]entry
	kinds      map[path]entry
	all        func() []*Definition // sorted on first use
}

// path is a group, a version and a plural name, or a kind.
type path struct{ group, version, name string }

type entry struct {
	definition *Definition
	version    *Version
}

// NewRegistry returns a Registry of the given Definitions, at generation 1.
func NewRegistry(ds ...*Definition) *Registry {
	r := new(Registry)
	s := &Snapshot{generation: 1, resources: map[api.Resource]*Definition{}, paths: map[path]entry{}, kinds: map[path]entry{}}
	for _, d := range ds {
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
	if s.resources[res] == nil {
		return false
	}
	s = s.clone()
	s.remove(res)
	r.publish(s)
	return true
}

func (r *Registry) publish(s *Snapshot) {
	s.changed = make(chan struct{})
	s.all = sync.OnceValue(func() []*Definition {
		all := slices.Collect(maps.Values(s.resources))
		slices.SortFunc(all, func(a, b *Definition) int { return a.Resource.Compare(b.Resource) })
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
	e := s.paths[path{group, version, name}]
	return e.definition, e.version
}

// ByResource finds a Definition by its identity; nil when there is none.
func (s *Snapshot) ByResource(res api.Resource) *Definition { return s.resources[res] }

// ByKind finds what serves a kind; nil, nil when nothing does.
func (s *Snapshot) ByKind(group, version, kind string) (*Definition, *Version) {
	e := s.kinds[path{group, version, kind}]
	return e.definition, e.version
}

// All lists the Definitions by group, then name. The caller must not change the slice.
func (s *Snapshot) All() []*Definition { return s.all() }

// clone copies s at the next generation. Copying three maps of a thousand Definitions takes 0.2 ms, which a change of a
// CRD can afford and readers need not know about; many Definitions are put at once.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{
		generation: s.generation + 1,
		resources:  maps.Clone(s.resources), paths: maps.Clone(s.paths), kinds: maps.Clone(s.kinds),
	}
}

// remove and add change a clone that is not published yet.
func (s *Snapshot) remove(res api.Resource) {
	old := s.resources[res]
	if old == nil {
		return
	}
	delete(s.resources, res)
	for i := range old.Versions {
		v := &old.Versions[i]
		if p := (path{v.Group, v.Name, res.Name}); s.paths[p].definition == old {
			delete(s.paths, p)
		}
		if p := (path{v.Group, v.Name, old.KindOf(v)}); s.kinds[p].definition == old {
			delete(s.kinds, p)
		}
	}
}

func (s *Snapshot) add(d *Definition) {
	s.remove(d.Resource)
	s.resources[d.Resource] = d
	for i := range d.Versions {
		v := &d.Versions[i]
		if !v.Served {
			continue
		}
		s.paths[path{v.Group, v.Name, d.Resource.Name}] = entry{d, v}
		s.kinds[path{v.Group, v.Name, d.KindOf(v)}] = entry{d, v}
	}
}
