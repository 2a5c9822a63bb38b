package server

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"weak"

	"pintle.dev/api"
)

// TestForgottenKind: what is kept of objects, as watchers and readers of another version saw them, does not keep a kind in
// memory that is served no longer, nor its schema.
func TestForgottenKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const path = "/namespaces/default/widgets"
		s := open(t)
		// What is stored as v1 is not what v2 would store, so it is made anew for v2.
		v1 := `{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}`
		v2 := `{"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","properties":{"n":{"type":"integer","default":1}}}}}`
		begin, _, _ := strings.Cut(benchDefinition, `"versions":`)
		_, end, _ := strings.Cut(benchDefinition, "]},\n")
		declare(t, s, begin+`"versions":[`+v1+","+v2+"]},"+end)
		from := s.Store.Revision().String()
		if a := ask(t, s, "POST /apis/bench.dev/v1"+path, `{"apiVersion":"bench.dev/v1","kind":"Widget","metadata":{"name":"w"}}`); a.code != 201 {
			t.Fatal(a.body)
		}
		if a := ask(t, s, "GET /apis/bench.dev/v2"+path+"/w", ""); a.code != 200 || len(s.converted.entries) != 1 {
			t.Errorf("%s, %d converted documents are kept", a.body, len(s.converted.entries))
		}
		a := ask(t, s, "GET /apis/bench.dev/v1"+path+"?watch=1&timeoutSeconds=1&resourceVersion="+from, "")
		if got := told(t, a); got != "ADDED w" || len(s.frames.byKey) != 1 {
			t.Errorf("%s, %d frames are kept", got, len(s.frames.byKey))
		}
		widgets := api.Resource{Group: "bench.dev", Name: "widgets"}
		versions := weak.Make(&s.Registry.ByResource(widgets).Versions[0])
		s.Registry.Remove(widgets)
		for n := 0; n < 20 && versions.Value() != nil; n++ { // what pools hold goes with the second
			runtime.GC()
		}
		if versions.Value() != nil {
			t.Error("the kind is still in memory")
		}
		runtime.KeepAlive(s)
	})
}
