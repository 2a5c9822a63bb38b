package endpointslice

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/dump"
	"k8s.io/utils/ptr"
)

// identity is what makes an endpoint the same one as before, whatever else of it has changed.
type identity struct{ addresses, hostname, namespace, name string }

func identify(e *discoveryv1.Endpoint) identity {
	id := identity{hostname: ptr.Deref(e.Hostname, "")}
	if len(e.Addresses) == 1 {
		id.addresses = e.Addresses[0]
	} else {
		id.addresses = strings.Join(slices.Sorted(slices.Values(e.Addresses)), ",")
	}
	if e.TargetRef != nil {
		id.namespace, id.name = e.TargetRef.Namespace, e.TargetRef.Name
	}
	return id
}

// same reports whether two endpoints of one identity differ in nothing.
func same(a, b *discoveryv1.Endpoint) bool {
	return ptr.Equal(a.NodeName, b.NodeName) && ptr.Equal(a.Zone, b.Zone) && ptr.Equal(a.TargetRef, b.TargetRef) &&
		ptr.Equal(a.Conditions.Ready, b.Conditions.Ready) && ptr.Equal(a.Conditions.Serving, b.Conditions.Serving) &&
		ptr.Equal(a.Conditions.Terminating, b.Conditions.Terminating) && sameHints(a.Hints, b.Hints)
}

func sameHints(a, b *discoveryv1.EndpointHints) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.ForZones, b.ForZones) && slices.Equal(a.ForNodes, b.ForNodes)
}

// unplaced are endpoints that are wanted and in no slice yet.
type unplaced struct {
	endpoints []discoveryv1.Endpoint // those placed have no addresses
	index     map[identity]int
	next      int // no endpoint before it is unplaced
}

func newUnplaced(endpoints []discoveryv1.Endpoint) *unplaced {
	u := &unplaced{endpoints: slices.Clone(endpoints), index: make(map[identity]int, len(endpoints))}
	for i := range endpoints {
		u.index[identify(&endpoints[i])] = i
	}
	return u
}

func (u *unplaced) len() int { return len(u.index) }

// keep returns what a slice with these endpoints is to keep, as it is wanted, and whether that is something else.
func (u *unplaced) keep(have []discoveryv1.Endpoint) (kept []discoveryv1.Endpoint, altered bool) {
	kept = make([]discoveryv1.Endpoint, 0, len(have))
	for i := range have {
		id := identify(&have[i])
		at, wanted := u.index[id]
		if !wanted {
			continue
		}
		delete(u.index, id)
		altered = altered || !same(&have[i], &u.endpoints[at])
		kept = append(kept, u.endpoints[at])
		u.endpoints[at].Addresses = nil
	}
	return kept, altered || len(kept) < len(have)
}

// fill places endpoints in s until it holds limit, or none is left.
func (u *unplaced) fill(s *discoveryv1.EndpointSlice, limit int) {
	for ; u.next < len(u.endpoints) && len(u.index) > 0 && len(s.Endpoints) < limit; u.next++ {
		e := &u.endpoints[u.next]
		if len(e.Addresses) == 0 {
			continue
		}
		id := identify(e)
		if at, ok := u.index[id]; !ok || at != u.next {
			continue // another that is the same has been placed, or will be
		}
		delete(u.index, id)
		s.Endpoints = append(s.Endpoints, *e)
	}
}

// portsKey is equal for equal sets of ports.
func portsKey(ports []discoveryv1.EndpointPort) string {
	list := make([]string, len(ports))
	for i := range ports {
		p := &ports[i]
		list[i] = fmt.Sprintf("/%s,%s,%d,%q", ptr.Deref(p.Name, ""), ptr.Deref(p.Protocol, ""), ptr.Deref(p.Port, -1), ptr.Deref(p.AppProtocol, ""))
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// sortPorts orders ports as upstream does, by a digest of each.
func sortPorts(ports []discoveryv1.EndpointPort) {
	if len(ports) < 2 {
		return
	}
	sum := func(p *discoveryv1.EndpointPort) []byte {
		h := fnv.New128a()
		h.Write([]byte(dump.ForHash(*p)))
		return h.Sum(nil)
	}
	slices.SortFunc(ports, func(a, b discoveryv1.EndpointPort) int { return bytes.Compare(sum(&a), sum(&b)) })
}
