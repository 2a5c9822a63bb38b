package endpointslice

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var testSource = source{
	namespace: "ns", name: "s", owner: metav1.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "s", UID: "u"},
	labels: map[string]string{"l": "v"}, limit: 4,
}

func port(n int32) []discoveryv1.EndpointPort {
	if n == 0 {
		return []discoveryv1.EndpointPort{}
	}
	return []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: &n}}
}

// endpoints makes one of each word: an address, not ready when it begins with "!".
func endpoints(words string) (list []discoveryv1.Endpoint) {
	for _, w := range strings.Fields(words) {
		ip, notReady := strings.CutPrefix(w, "!")
		list = append(list, discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(!notReady)}})
	}
	return list
}

// made is a slice of testSource's with these endpoints.
func made(name string, n int32, words string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: testSource.labels, OwnerReferences: []metav1.OwnerReference{testSource.owner}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: port(n), Endpoints: endpoints(words),
	}
}

func four(n int32, words string) group {
	return group{addressType: discoveryv1.AddressTypeIPv4, ports: port(n), endpoints: endpoints(words)}
}

// describe writes changes as "+ :port addresses", "name :port addresses" and "- name", separated by "; ".
func describe(c changes) string {
	var out []string
	add := func(s *discoveryv1.EndpointSlice, name string) {
		words := []string{name}
		for _, p := range s.Ports {
			words = append(words, fmt.Sprintf(":%s%d", ptr.Deref(p.Name, "?"), *p.Port))
		}
		for i := range s.Endpoints {
			ready := ""
			if !ptr.Deref(s.Endpoints[i].Conditions.Ready, true) {
				ready = "!"
			}
			words = append(words, ready+strings.Join(s.Endpoints[i].Addresses, ","))
		}
		out = append(out, strings.Join(words, " "))
	}
	for _, s := range c.create {
		add(s, "+")
	}
	for _, s := range c.update {
		add(s, s.Name)
	}
	for _, s := range c.remove {
		out = append(out, "- "+s.Name)
	}
	return strings.Join(out, "; ")
}

func TestPlan(t *testing.T) {
	change := func(s *discoveryv1.EndpointSlice, f func(*discoveryv1.EndpointSlice)) *discoveryv1.EndpointSlice {
		f(s)
		return s
	}
	relabelled := func(s *discoveryv1.EndpointSlice) { s.Labels = map[string]string{"l": "other"} }
	foreign := func(s *discoveryv1.EndpointSlice) {
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "s", UID: "earlier"}}
	}
	six := func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeIPv6 }
	type all = []*discoveryv1.EndpointSlice
	for _, c := range []struct {
		name   string
		groups []group
		have   all
		want   string
	}{
		{"nothing yet", []group{four(80, "a b c d e")}, nil, "+ :80 a b c d; + :80 e"},
		{"as it should be", []group{four(80, "a !b")}, all{made("x", 80, "a !b")}, ""},
		{"in another order", []group{four(80, "b a")}, all{made("x", 80, "a b")}, ""},
		{"readiness changes in place", []group{four(80, "a b c d e")}, all{made("x", 80, "a b !c d"), made("y", 80, "e")}, "x :80 a b c d"},
		{"one goes", []group{four(80, "a c")}, all{made("x", 80, "a b c")}, "x :80 a c"},
		{"a slice goes", []group{four(80, "a b c d")}, all{made("x", 80, "a b c d"), made("y", 80, "e")}, "- y"},
		{"new ones fill what changes, the fullest first", []group{four(80, "a c d n o")}, all{made("x", 80, "a b"), made("y", 80, "c d !z")}, "y :80 c d n o; x :80 a"},
		{"new ones go where there is room for all", []group{four(80, "a b c d e f n")}, all{made("x", 80, "a"), made("y", 80, "b c d"), made("z", 80, "e f")}, "y :80 b c d n"},
		{"no slice has room for all", []group{four(80, "a b c d e f n o")}, all{made("x", 80, "a b c"), made("y", 80, "d e f")}, "+ :80 n o"},
		{"other ports: recycled", []group{four(81, "a b")}, all{made("x", 80, "a b")}, "x :81 a b"},
		{"ports differ by pod", []group{four(80, "a"), four(81, "b")}, all{made("x", 80, "a b")}, "+ :81 b; x :80 a"},
		{"ports in another order", []group{{addressType: discoveryv1.AddressTypeIPv4, ports: append(port(80), port(81)...), endpoints: endpoints("a")}},
			all{change(made("x", 81, "a"), func(s *discoveryv1.EndpointSlice) { s.Ports = append(s.Ports, port(80)...) })}, ""},
		{"labels", []group{four(80, "a b c d e")}, all{change(made("x", 80, "a b c d"), relabelled), made("y", 80, "e")}, "x :80 a b c d"},
		{"of an earlier Service of the name", []group{four(80, "a")}, all{change(made("x", 80, "a"), foreign)}, "+ :80 a; - x"},
		{"address type is no longer wanted", []group{four(80, "a")}, all{change(made("x", 80, "b"), six), made("y", 80, "a")}, "- x"},
		{"address type changes", []group{four(80, "a")}, all{change(made("x", 80, "b"), six)}, "+ :80 a; - x"},
		{"no endpoints", []group{four(0, "")}, nil, "+"},
		{"no endpoints, as before", []group{four(0, "")}, all{made("x", 0, "")}, ""},
		{"no endpoints, other labels", []group{four(0, "")}, all{change(made("x", 0, ""), relabelled)}, "x"},
		{"no endpoints any more", []group{four(0, "")}, all{made("x", 80, "a"), made("y", 80, "b")}, "x; - y"},
		{"no endpoints any more, and no ports", []group{four(0, "")}, all{made("x", 0, "a"), made("y", 0, "b")}, "x; - y"},
		{"the first endpoint", []group{four(80, "a")}, all{made("x", 0, "")}, "x :80 a"},
		{"the first endpoint, without ports", []group{four(0, "a")}, all{made("x", 0, "")}, "x a"},
		{"nothing is wanted", nil, all{made("x", 80, "a")}, "- x"},
		{"the same endpoint twice", []group{four(80, "a a b")}, nil, "+ :80 a b"},
		{"the same endpoint twice, once in a slice", []group{four(80, "a a b")}, all{made("x", 80, "a")}, "x :80 a b"},
		{"the same endpoint in two slices", []group{four(80, "a b")}, all{made("x", 80, "a"), made("y", 80, "a b")}, "y :80 b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.have)
			for i := range before {
				before[i] = before[i].DeepCopy()
			}
			got := plan(&testSource, c.groups, c.have)
			if text := describe(got); text != c.want {
				t.Errorf("got %q, want %q", text, c.want)
			}
			for _, s := range append(got.create, got.update...) {
				if !ownedBy(s, &testSource.owner) || !testSource.describes(s) || len(s.Endpoints) > testSource.limit || s.Namespace != "ns" {
					t.Errorf("planned %+v", s)
				}
				if s.Name == "" && s.GenerateName != "s-" {
					t.Errorf("generateName %q", s.GenerateName)
				}
			}
			for i := range before {
				if describe(changes{update: all{before[i]}}) != describe(changes{update: all{c.have[i]}}) {
					t.Errorf("%s was changed", before[i].Name)
				}
			}
		})
	}
}

func TestSame(t *testing.T) {
	base := func() *discoveryv1.Endpoint { return &endpoints("a")[0] }
	if !same(base(), base()) {
		t.Error("equal endpoints differ")
	}
	for name, f := range map[string]func(*discoveryv1.Endpoint){
		"ready":       func(e *discoveryv1.Endpoint) { e.Conditions.Ready = nil },
		"serving":     func(e *discoveryv1.Endpoint) { e.Conditions.Serving = ptr.To(true) },
		"terminating": func(e *discoveryv1.Endpoint) { e.Conditions.Terminating = ptr.To(true) },
		"nodeName":    func(e *discoveryv1.Endpoint) { e.NodeName = ptr.To("n") },
		"zone":        func(e *discoveryv1.Endpoint) { e.Zone = ptr.To("z") },
		"hints": func(e *discoveryv1.Endpoint) {
			e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z"}}}
		},
	} {
		e := base()
		if f(e); same(e, base()) || same(base(), e) {
			t.Errorf("a different %s is not seen", name)
		}
	}
}
