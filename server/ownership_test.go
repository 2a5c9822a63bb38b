package server

import (
	"fmt"
	"slices"
	"testing"

	"pintle.dev/api"
	"pintle.dev/object"
)

// TestCreators makes objects like ones made before and compares who owns them with what the comparison says.
func TestCreators(t *testing.T) {
	s := open(t)
	pod := func(name, spec string) string {
		return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `","labels":{"app":"` + name + `"}},"spec":` + spec + `}`
	}
	event := func(more string) string {
		return `{"apiVersion":"v1","kind":"Event","metadata":{"name":"e","namespace":"default"},"involvedObject":{"kind":"Pod","name":"some"},"reason":"Reason"` + more + `}`
	}
	for _, c := range []struct {
		resource api.Resource
		bodies   []string
		known    int // of the bodies, how many are like one before
	}{
		{api.Pods, []string{
			pod("alice", `{"containers":[{"name":"c","image":"i"}]}`),
			pod("robert", `{"containers":[{"name":"c","image":"i"}],"priority":0}`),
			pod("robert", `{"containers":[{"name":"c","image":"i"}],"priority":7}`),
			pod("claire", `{"containers":[{"name":"c","image":"i"}]}`),
			pod("david", `{"containers":[{"name":"d","image":"i"}]}`),
			pod("eve", `{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"abc"}]}]}`),
			pod("frank", `{"containers":[{"name":"c","image":"i","env":[{"name":"B","value":"abc"}]}]}`),
		}, 1},
		{api.Events, []string{
			event(`,"message":"first","count":1`), event(`,"message":"second","count":27`), event(`,"message":"","count":0`),
			event(`,"message":"third"`), event(`,"message":"third","source":{"component":"kubelet"}`), event(`,"message":"fourth","count":3`),
		}, 2},
	} {
		d := s.Registry.ByResource(c.resource)
		v := d.Storage()
		e, err := emptyOf(v)
		if err != nil || !e.regular {
			t.Fatalf("%s: regular %v, %v", c.resource, e.regular, err)
		}
		for _, body := range c.bodies {
			before := len(e.created.owners)
			o, problems, err := v.Codec.Decode([]byte(body), false)
			if err != nil || len(problems) > 0 {
				t.Fatal(err, problems)
			}
			q := &request{s: s, Request: &api.Request{Verb: api.Create, Resource: c.resource}, d: d, v: v}
			q.options.manager = "tester"
			got, err := q.own(nil, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := got.parse(); err != nil {
				t.Fatal(err)
			}
			want, err := object.Own(nil, e.value, got.after, v.Shape, q.owner("tester", ""))
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i].Time = got.owners[i].Time
			}
			if !slices.Equal(got.owners, want) {
				t.Errorf("%s\nis owned by %v,\nwant %v", body, got.owners, want)
			}
			if len(e.created.owners) == before {
				c.known--
			}
			got.free()
		}
		if c.known != 0 {
			t.Errorf("%s: %d more than expected were not like one before", c.resource, c.known)
		}
	}
}

// TestCreatorsBound sees old keys go.
func TestCreatorsBound(t *testing.T) {
	var c creators
	for i := range 10_000 {
		c.put(fmt.Appendf(nil, "key-%d", i), api.Owner{Manager: "m", Fields: `{"f:a":{}}`})
	}
	if c.size > creatorsSize || len(c.owners) == 0 {
		t.Errorf("%d keys of %d bytes are kept", len(c.owners), c.size)
	}
	if o, ok := c.get([]byte("key-9999")); !ok || o.Manager != "m" {
		t.Errorf("the newest is %v, %v", o, ok)
	}
	c.put(make([]byte, creatorsSize), api.Owner{})
	if _, ok := c.get([]byte("key-9999")); !ok {
		t.Error("a key that is too large displaced the others")
	}
}
