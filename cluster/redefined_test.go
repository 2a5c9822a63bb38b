package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// watchOf opens a watch and returns a function that gives its next event, or what ended it.
func watchOf(t *testing.T, sys *System, path string) func() (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", sys.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sys.adminClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Body.Close() })
	events := json.NewDecoder(p.Body)
	return func() (string, error) {
		var e json.RawMessage
		err := events.Decode(&e)
		return string(e), err
	}
}

// TestSelectableLater: a field that is made selectable finds the objects that were there before, in lists and watches.
func TestSelectableLater(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const base = "/apis/example.com/v1/namespaces/default/widgets"
	const red = base + "?fieldSelector=spec.color%3Dred"
	widget := func(name, color string) string {
		return `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"` + name + `"},"spec":{"color":"` + color + `"}}`
	}
	version := func(selectable string) string {
		return `[{"name":"v1","served":true,"storage":true,` + selectable + `"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"color":{"type":"string"}}}}}}}]`
	}
	want(t, sys, "POST", definitions, strings.Replace(widgets, widgets[strings.Index(widgets, `[{`):strings.Index(widgets, `}}}]`)+4], version(""), 1), 201)
	want(t, sys, "POST", base, widget("a", "red"), 201)
	want(t, sys, "POST", base, widget("b", "blue"), 201)
	want(t, sys, "GET", red, "", 400, "field label not supported: spec.color")
	plain := watchOf(t, sys, base+"?watch=true&resourceVersion=0")
	for range 2 {
		if e, err := plain(); err != nil {
			t.Fatal(e, err)
		}
	}

	// A change of the status is none of what is defined: the watch goes on.
	want(t, sys, "PATCH", definitions+"/widgets.example.com/status", `{"metadata":{"annotations":{"x":"y"}}}`, 200)
	want(t, sys, "POST", base, widget("c", "red"), 201)
	if e, err := plain(); err != nil || !strings.Contains(e, `"name":"c"`) {
		t.Fatal(e, err)
	}

	want(t, sys, "PATCH", definitions+"/widgets.example.com", `{"spec":{"versions":`+version(`"selectableFields":[{"jsonPath":".spec.color"}],`)+`}}`, 200)
	want(t, sys, "GET", red, "", 200, `"name":"a"`, `"name":"c"`, `!"name":"b"`)
	selected := watchOf(t, sys, red+"&watch=true&resourceVersion=0")
	for range 2 {
		if e, err := selected(); err != nil {
			t.Fatal(e, err)
		}
	}
	want(t, sys, "DELETE", base+"/a", "", 200)
	if e, err := selected(); err != nil || !strings.Contains(e, `"type":"DELETED"`) || !strings.Contains(e, `"name":"a"`) {
		t.Errorf("%s %v", e, err)
	}
	want(t, sys, "PATCH", base+"/b", `{"spec":{"color":"red"}}`, 200)
	if e, err := selected(); err != nil || !strings.Contains(e, `"type":"ADDED"`) || !strings.Contains(e, `"name":"b"`) {
		t.Errorf("%s %v", e, err)
	}
	want(t, sys, "PATCH", base+"/c", `{"metadata":{"labels":{"stored":"anew"}}}`, 200)
	// All are stored under the new definition now, and found by the index.
	for range 2 {
		want(t, sys, "GET", red, "", 200, `!"name":"a"`, `"name":"b"`, `"name":"c"`)
	}
	want(t, sys, "DELETE", red, "", 200)
	want(t, sys, "GET", base, "", 200, `"items":[]`)

	// The watch from before was ended when the kind was defined anew.
	if e, err := plain(); err != io.EOF {
		t.Errorf("%s %v", e, err)
	}
}

// TestRedefinedWatchesEnd: a definition that changes ends the watches of its kind at once, with nothing more to tell, and
// no others.
func TestRedefinedWatchesEnd(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	want(t, sys, "POST", definitions, widgets, 201)
	want(t, sys, "POST", definitions, strings.ReplaceAll(strings.ReplaceAll(widgets, "widget", "gizmo"), "Widget", "Gizmo"), 201)
	changed := watchOf(t, sys, "/apis/example.com/v1/namespaces/default/widgets?watch=true")
	other := watchOf(t, sys, "/apis/example.com/v1/namespaces/default/gizmos?watch=true")
	want(t, sys, "PATCH", definitions+"/widgets.example.com", `{"spec":{"names":{"shortNames":["wi"]}}}`, 200)
	if e, err := changed(); err != io.EOF {
		t.Errorf("%s %v", e, err)
	}
	want(t, sys, "POST", "/apis/example.com/v1/namespaces/default/gizmos", `{"apiVersion":"example.com/v1","kind":"Gizmo","metadata":{"name":"g"}}`, 201)
	if e, err := other(); err != nil || !strings.Contains(e, `"ADDED"`) {
		t.Errorf("%s %v", e, err)
	}
}

// TestDeletedWatchesEnd: when a definition is deleted, the watches of its kind see its objects go and end without an error.
func TestDeletedWatchesEnd(t *testing.T) {
	sys := startTest(t, Config{})
	want(t, sys, "POST", definitions, widgets, 201)
	want(t, sys, "POST", "/apis/example.com/v1/namespaces/default/widgets", `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"}}`, 201)
	next := watchOf(t, sys, "/apis/example.com/v1/namespaces/default/widgets?watch=true")
	if e, err := next(); err != nil || !strings.Contains(e, `"ADDED"`) {
		t.Errorf("%s %v", e, err)
	}
	want(t, sys, "DELETE", definitions+"/widgets.example.com", "", 200)
	e, err := next()
	for ; err == nil; e, err = next() {
		if !strings.Contains(e, `"DELETED"`) {
			t.Errorf("%s", e)
		}
	}
	if err != io.EOF {
		t.Error(err)
	}
}

// TestWriteDuringRedefinition: a write that began before another version came to be stored is stored in that version all
// the same, so that a migration knows what was written after it began.
func TestWriteDuringRedefinition(t *testing.T) {
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
	}{
		{"create", "POST", gadgetsV1, gadget("v1", "g", "color", "blue"), 201},
		{"update", "PATCH", gadgetsV1 + "/old", `{"spec":{"color":"blue"}}`, 200},
		{"status", "PATCH", gadgetsV1 + "/old/status", `{"status":{"ok":true}}`, 200},
		{"apply", "APPLY", gadgetsV1 + "/old?fieldManager=m&force=true", gadget("v1", "old", "color", "blue"), 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newConverter(t)
			sys := startTest(t, Config{NoControllers: true})
			want(t, sys, "POST", definitions, gadgets(fmt.Sprintf(`{"url":%q,"caBundle":%q}`, c.URL, c.bundle()), `["v1"]`), 201)
			if tt.method != "POST" {
				want(t, sys, "POST", gadgetsV2, gadget("v2", "old", "hue", "red"), 201)
			}
			// The write waits for the answer of the webhook while the definition changes.
			asked, redefined := make(chan struct{}), make(chan struct{})
			var first, open sync.Once
			release := func() { open.Do(func() { close(redefined) }) }
			defer release()
			c.lie(func(review map[string]any) any {
				first.Do(func() { close(asked) })
				<-redefined
				return review
			})
			done := make(chan string, 1)
			go func() {
				code, answer := call(t, sys, tt.method, tt.path, tt.body)
				done <- fmt.Sprint(code, " ", answer)
			}()
			<-asked
			want(t, sys, "PATCH", gadgetCRD, storing(t, sys, "v1"), 200, `"storedVersions":["v2","v1"]`)
			release()
			if answer := <-done; !strings.HasPrefix(answer, fmt.Sprint(tt.code)) || !strings.Contains(answer, `"apiVersion":"example.com/v1"`) {
				t.Errorf("the write is answered %s", answer)
			}
			if got := storedAs(t, sys); got["example.com/v1"] != 1 || len(got) != 1 {
				t.Errorf("stored: %v", got)
			}
		})
	}
}
