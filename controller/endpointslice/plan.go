package endpointslice

import (
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// source is what EndpointSlices are made from: a Service, or Endpoints.
type source struct {
	namespace, name string // of the Service
	owner           metav1.OwnerReference
	labels          map[string]string
	annotations     map[string]string // nil: those of slices are left as they are
	limit           int               // how many endpoints a slice holds
}

// group is endpoints that share slices: of one address type, with the same ports. One without endpoints stands for a
// single slice without any.
type group struct {
	addressType discoveryv1.AddressType
	ports       []discoveryv1.EndpointPort
	endpoints   []discoveryv1.Endpoint
}

// changes are what makes the slices there are those there should be.
type changes struct {
	create, update, remove []*discoveryv1.EndpointSlice
}

// plan distributes the endpoints of the groups over slices, so that few slices change: endpoints that are still wanted
// stay where they are; those that are new fill up slices that change anyway, the fullest first, then one other slice that
// has room for all that is left, then new ones. What is no longer wanted is made into what is new where that is possible.
// The slices given are not changed.
func plan(src *source, groups []group, existing []*discoveryv1.EndpointSlice) changes {
	var c changes
	have := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range existing {
		if !ownedBy(s, &src.owner) {
			c.remove = append(c.remove, s)
			continue
		}
		key := string(s.AddressType) + portsKey(s.Ports)
		have[key] = append(have[key], s)
	}
	for i := range groups {
		g := &groups[i]
		key := string(g.addressType) + portsKey(g.ports)
		c.place(src, g, have[key])
		delete(have, key)
	}
	for _, s := range existing {
		if _, unwanted := have[string(s.AddressType)+portsKey(s.Ports)]; unwanted && ownedBy(s, &src.owner) {
			c.remove = append(c.remove, s)
		}
	}
	c.recycle(src)
	return c
}

// place plans the slices of one group.
func (c *changes) place(src *source, g *group, have []*discoveryv1.EndpointSlice) {
	if len(g.endpoints) == 0 {
		c.placeEmpty(src, g, have)
		return
	}
	left := newUnplaced(g.endpoints)
	var changed, same []*discoveryv1.EndpointSlice
	for _, s := range have {
		switch kept, altered := left.keep(s.Endpoints); {
		case altered && len(kept) == 0:
			c.remove = append(c.remove, s)
		case altered || !src.describes(s):
			changed = append(changed, src.revised(s, kept))
		default:
			same = append(same, s)
		}
	}
	slices.SortStableFunc(changed, func(a, b *discoveryv1.EndpointSlice) int { return len(b.Endpoints) - len(a.Endpoints) })
	for _, s := range changed {
		left.fill(s, src.limit)
	}
	if n := left.len(); n > 0 {
		if s := roomiest(same, n, src.limit); s != nil {
			s = src.revised(s, slices.Clone(s.Endpoints))
			left.fill(s, src.limit)
			changed = append(changed, s)
		}
	}
	c.update = append(c.update, changed...)
	for left.len() > 0 {
		s := src.slice(g)
		left.fill(s, src.limit)
		c.create = append(c.create, s)
	}
}

// placeEmpty plans the one slice of a group without endpoints.
func (c *changes) placeEmpty(src *source, g *group, have []*discoveryv1.EndpointSlice) {
	if len(have) == 0 {
		c.create = append(c.create, src.slice(g))
		return
	}
	if s := have[0]; len(s.Endpoints) > 0 || !src.describes(s) {
		c.update = append(c.update, src.revised(s, []discoveryv1.Endpoint{}))
	}
	c.remove = append(c.remove, have[1:]...)
}

// roomiest is the slice that n more endpoints leave fullest; nil when none has room for them.
func roomiest(list []*discoveryv1.EndpointSlice, n, limit int) (best *discoveryv1.EndpointSlice) {
	for _, s := range list {
		if len(s.Endpoints)+n <= limit && (best == nil || len(s.Endpoints) > len(best.Endpoints)) {
			best = s
		}
	}
	return best
}

// recycle turns slices that are to be removed into slices that are to be created, where owner and address type, which is
// immutable, are the same.
func (c *changes) recycle(src *source) {
	c.remove = slices.DeleteFunc(c.remove, func(old *discoveryv1.EndpointSlice) bool {
		i := slices.IndexFunc(c.create, func(s *discoveryv1.EndpointSlice) bool { return s.AddressType == old.AddressType })
		if i < 0 || !ownedBy(old, &src.owner) {
			return false
		}
		s := src.revised(old, c.create[i].Endpoints)
		s.Ports = c.create[i].Ports
		c.create = slices.Delete(c.create, i, i+1)
		c.update = append(c.update, s)
		return true
	})
}

// slice is a new one for a group, still without endpoints.
func (src *source) slice(g *group) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: src.namespace, GenerateName: src.name + "-", Labels: src.labels, Annotations: maps.Clone(src.annotations),
			OwnerReferences: []metav1.OwnerReference{src.owner},
		},
		AddressType: g.addressType, Ports: g.ports, Endpoints: []discoveryv1.Endpoint{},
	}
}

// describes reports whether the slice's labels and annotations are as they should be.
func (src *source) describes(s *discoveryv1.EndpointSlice) bool {
	return maps.Equal(s.Labels, src.labels) && (src.annotations == nil || maps.Equal(s.Annotations, src.annotations))
}

// revised is a copy of a slice with other endpoints, and with labels and annotations as they should be.
func (src *source) revised(s *discoveryv1.EndpointSlice, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	n := *s
	n.Endpoints, n.Labels = endpoints, src.labels
	n.Annotations = maps.Clone(s.Annotations)
	if src.annotations != nil {
		n.Annotations = maps.Clone(src.annotations)
	}
	return &n
}

func ownedBy(s *discoveryv1.EndpointSlice, owner *metav1.OwnerReference) bool {
	return slices.ContainsFunc(s.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.UID == owner.UID && o.Kind == owner.Kind && o.APIVersion == owner.APIVersion
	})
}
