package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/server/http2"
)

// The benchmarks compare the server with the floor: a bare net/http handler that answers with constant bytes of the
// same size over the same TLS and HTTP/2. Both include the client, which costs the same for each; ns/op is wall time
// of one connection, so what matters is the ratio of a benchmark to its Floor.

func overTLS(b *testing.B, h http.Handler) (*http.Client, string) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	if _, floor := h.(http.HandlerFunc); !floor {
		http2.Configure(s.Config)
	}
	s.StartTLS()
	b.Cleanup(s.Close)
	return s.Client(), s.URL
}

func floor(b *testing.B, code int, body []byte) (*http.Client, string) {
	return overTLS(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			b.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		if _, err := w.Write(body); err != nil {
			b.Error(err)
		}
	}))
}

// cpu reports the process's CPU time per operation of b, which other work on the machine disturbs less than wall time.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

// do sends a request and returns the size of the answer.
func do(b *testing.B, c *http.Client, method, url, contentType, body string) int64 {
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "identity")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	p, err := c.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Body.Close()
	n, err := io.Copy(io.Discard, p.Body)
	if err != nil {
		b.Fatal(err)
	}
	if p.StatusCode >= 300 {
		b.Fatalf("%s %s: %d", method, url, p.StatusCode)
	}
	return n
}

// benchConfigMap is the ConfigMap of the project's benchmark: 1.3 KB.
func benchConfigMap(name string) string {
	data := make([]string, 8)
	for i := range data {
		data[i] = fmt.Sprintf(`"key-%d":%q`, i, strings.Repeat("x", 128))
	}
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name +
		`","labels":{"app":"bench","tier":"a"}},"data":{` + strings.Join(data, ",") + `}}`
}

const benchPath = "/api/v1/namespaces/default/configmaps"

func BenchmarkGet(b *testing.B) {
	s := open(b)
	ask(b, s, "POST "+benchPath, benchConfigMap("c"))
	want := ask(b, s, "GET "+benchPath+"/c", "").body
	get := func(c *http.Client, url string) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				do(b, c, "GET", url+benchPath+"/c", "", "")
			}
		}
	}
	c, url := floor(b, 200, []byte(want))
	b.Run("Floor", get(c, url))
	c, url = overTLS(b, s)
	b.Run("Server", get(c, url))
}

func BenchmarkList(b *testing.B) {
	s := open(b)
	for i := range 10000 {
		ask(b, s, "POST "+benchPath, benchConfigMap(fmt.Sprintf("c%05d", i)))
	}
	want := ask(b, s, "GET "+benchPath, "").body
	list := func(c *http.Client, url string) func(b *testing.B) {
		return func(b *testing.B) {
			b.SetBytes(int64(len(want)))
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				do(b, c, "GET", url+benchPath, "", "")
			}
		}
	}
	c, url := floor(b, 200, []byte(want))
	b.Run("Floor", list(c, url))
	c, url = overTLS(b, s)
	b.Run("Server", list(c, url))
}

func BenchmarkCreate(b *testing.B) {
	var n atomic.Int64
	create := func(c *http.Client, url string) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				do(b, c, "POST", url+benchPath, "application/json", benchConfigMap(fmt.Sprintf("c%08d", n.Add(1))))
			}
		}
	}
	c, url := floor(b, 201, bytes.Repeat([]byte("x"), 1600))
	b.Run("Floor", create(c, url))
	c, url = overTLS(b, open(b))
	b.Run("Server", create(c, url))
}

func BenchmarkMergePatch(b *testing.B) {
	s := open(b)
	ask(b, s, "POST "+benchPath, benchConfigMap("c"))
	var n atomic.Int64
	patch := func(c *http.Client, url string) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			defer cpu(b)()
			for b.Loop() {
				do(b, c, "PATCH", url+benchPath+"/c", "application/merge-patch+json", fmt.Sprintf(`{"data":{"key-0":"%d"}}`, n.Add(1)))
			}
		}
	}
	c, url := floor(b, 200, bytes.Repeat([]byte("x"), 1600))
	b.Run("Floor", patch(c, url))
	c, url = overTLS(b, s)
	b.Run("Server", patch(c, url))
}

// discard is a ResponseWriter that keeps nothing.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}

// serve measures a request whose body is another each time: $N is its number.
func serve(s *Server, method, path, contentType, body string) func(b *testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for i := 0; b.Loop(); i++ {
			text := strings.ReplaceAll(body, "$N", fmt.Sprintf("%08d", i)+fmt.Sprint(b.N))
			r := httptest.NewRequest(method, path, strings.NewReader(text))
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("User-Agent", "bench/1.0")
			s.ServeHTTP(&discard{http.Header{}}, r)
		}
	}
}

// BenchmarkHandler measures the server's own work, without a network.
func BenchmarkHandler(b *testing.B) {
	s := open(b)
	for i := range 10000 {
		ask(b, s, "POST "+benchPath, benchConfigMap(fmt.Sprintf("c%05d", i)))
	}
	b.Run("Get", serve(s, "GET", benchPath+"/c00001", "", ""))
	b.Run("List", serve(s, "GET", benchPath, "", ""))
	b.Run("Create", serve(s, "POST", benchPath, "application/json", benchConfigMap("c$N")))
	b.Run("MergePatch", serve(s, "PATCH", benchPath+"/c00001", "application/merge-patch+json", `{"data":{"key-0":"$N"}}`))
	b.Run("Apply", serve(s, "PATCH", benchPath+"/c00001?fieldManager=bench&force=true", "application/apply-patch+yaml",
		strings.Replace(benchConfigMap("c00001"), `"data":{`, `"data":{"sent":"$N",`, 1)))
	b.Run("Update", serve(s, "PUT", benchPath+"/c00001", "application/json", strings.Replace(benchConfigMap("c00001"), "xxx", "$N", 1)))
}

// fanOut opens watchers streams, each on a connection of its own, makes b.N changes and waits until every stream has
// told of each.
func fanOut(b *testing.B, h http.Handler, path string, change func(i int)) {
	const watchers = 100
	var got atomic.Int64
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	if _, floor := h.(http.HandlerFunc); !floor {
		http2.Configure(s.Config)
	}
	s.StartTLS()
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range watchers {
		t := s.Client().Transport.(*http.Transport).Clone()
		r, err := http.NewRequestWithContext(ctx, "GET", s.URL+path, nil)
		if err != nil {
			b.Fatal(err)
		}
		p, err := (&http.Client{Transport: t}).Do(r)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			defer p.Body.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := p.Body.Read(buf)
				got.Add(int64(bytes.Count(buf[:n], []byte("\n"))))
				if err != nil {
					return
				}
			}
		}()
	}
	time.Sleep(100 * time.Millisecond) // the floor's handlers register without an answer to wait for
	done := cpu(b)
	start := got.Load()
	n := 0
	for b.Loop() {
		change(n)
		for n++; got.Load()-start < int64(n*watchers); {
			time.Sleep(50 * time.Microsecond)
		}
	}
	done()
	b.ReportMetric(float64(n*watchers)/float64(b.N), "events/op")
}

func BenchmarkFanOut(b *testing.B) {
	b.Run("Floor", func(b *testing.B) {
		var mu sync.Mutex
		var chans []chan []byte
		event := append(bytes.Repeat([]byte("x"), 1700), '\n')
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := make(chan []byte, 100)
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			mu.Lock()
			chans = append(chans, c)
			mu.Unlock()
			for {
				select {
				case e := <-c:
					if _, err := w.Write(e); err != nil {
						return
					}
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
		})
		fanOut(b, h, "/", func(int) {
			mu.Lock()
			defer mu.Unlock()
			for _, c := range chans {
				c <- event
			}
		})
	})
	b.Run("Server", func(b *testing.B) {
		s := open(b)
		ask(b, s, "POST "+benchPath, benchConfigMap("c"))
		rev := s.Store.Revision()
		fanOut(b, s, benchPath+"?watch=1&resourceVersion="+rev.String(), func(i int) {
			ask(b, s, "PATCH "+benchPath+"/c", fmt.Sprintf(`{"data":{"key-0":"%d"}}`, i), mergePatch)
		})
	})
}

// benchDefinition is the CRD of the project's benchmark: an integer with a default, and a list of items keyed by name.
const benchDefinition = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.bench.dev"},
"spec":{"group":"bench.dev","scope":"Namespaced","names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},
"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{
"replicas":{"type":"integer","default":1},"note":{"type":"string"},
"items":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],
"properties":{"name":{"type":"string"},"value":{"type":"string"},"weight":{"type":"integer"}}}}}}}}}}]},
"status":{"acceptedNames":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},"storedVersions":["v1"],
"conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}]}}`

func benchWidget(name string) string {
	items := make([]string, 16)
	for i := range items {
		items[i] = fmt.Sprintf(`{"name":"item-%02d","value":"%s","weight":%d}`, i, strings.Repeat("v", 20), i)
	}
	return `{"apiVersion":"bench.dev/v1","kind":"Widget","metadata":{"name":"` + name + `","labels":{"app":"bench"}},"spec":{"note":"n","items":[` +
		strings.Join(items, ",") + `]}}`
}

// declare creates a CustomResourceDefinition and serves the kind that it declares: what is written must find its
// definition in the store.
func declare(b testing.TB, s *Server, source string) {
	a := ask(b, s, "POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions", source)
	if a.code != 201 {
		b.Fatal(a.body)
	}
	v, err := s.Store.View(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	def, err := resource.FromCRD(v.Get(api.CustomResourceDefinitions, api.Key{Name: a.at(b, "metadata", "name")}), nil)
	if err != nil {
		b.Fatal(err)
	}
	s.Registry.Put(def)
}

func BenchmarkCustom(b *testing.B) {
	s := open(b)
	declare(b, s, benchDefinition)
	const path = "/apis/bench.dev/v1/namespaces/default/widgets"
	if a := ask(b, s, "POST "+path, benchWidget("w")); a.code != 201 {
		b.Fatal(a.body)
	}
	b.Run("Get", serve(s, "GET", path+"/w", "", ""))
	b.Run("Create", serve(s, "POST", path, "application/json", benchWidget("c$N")))
	b.Run("MergePatch", serve(s, "PATCH", path+"/w", "application/merge-patch+json", `{"spec":{"note":"$N"}}`))
	apply := strings.Replace(benchWidget("w"), `"note":"n"`, `"note":"$N"`, 1)
	b.Run("FirstApply", serve(s, "PATCH", path+"/w?fieldManager=bench&force=true&dryRun=All", "application/apply-patch+yaml", apply))
	b.Run("Apply", serve(s, "PATCH", path+"/w?fieldManager=bench&force=true", "application/apply-patch+yaml", apply))
}

// BenchmarkTable lists 10,000 objects of a custom and a built-in kind, plain and as Tables.
func BenchmarkTable(b *testing.B) {
	s := open(b)
	declare(b, s, strings.Replace(benchDefinition, `"schema":`, `"additionalPrinterColumns":[
{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"},{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}],"schema":`, 1))
	const widgets = "/apis/bench.dev/v1/namespaces/default/widgets"
	for i := range 10000 {
		name := fmt.Sprintf("c%05d", i)
		ask(b, s, "POST "+benchPath, benchConfigMap(name))
		if a := ask(b, s, "POST "+widgets, benchWidget(name)); a.code != 201 {
			b.Fatal(a.body)
		}
	}
	for _, path := range []string{widgets, benchPath} {
		for _, accept := range []string{"application/json", strings.TrimPrefix(acceptTable, "Accept: ")} {
			form, _, _ := strings.Cut(strings.TrimPrefix(accept, "application/json"), ";v")
			b.Run(path[strings.LastIndexByte(path, '/')+1:]+form, func(b *testing.B) {
				b.ReportAllocs()
				defer cpu(b)()
				for b.Loop() {
					r := httptest.NewRequest("GET", path, nil)
					r.Header.Set("Accept", accept)
					s.ServeHTTP(&discard{http.Header{}}, r)
				}
			})
		}
	}
}
