package cluster

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// BenchmarkRestart starts a system that finds 1,000 CustomResourceDefinitions of 20 KB and 100,000 custom resources on
// disk (a hundredth with -short), and then reads an object and lists other kinds for the first time. Making them takes
// a minute.
func BenchmarkRestart(b *testing.B) {
	definitions, objects := 1000, 100_000
	if testing.Short() {
		definitions, objects = 10, 1000
	}
	config := Config{Data: b.TempDir(), NoNode: true}
	fillRestart(b, config, definitions, objects)
	took := map[string]time.Duration{}
	config.Progress = func(part string, d time.Duration) { took[part] += d }
	var cpu, slowest time.Duration
	for b.Loop() {
		begun := processorTime(b)
		s, err := Start(b.Context(), config)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		cpu += processorTime(b) - begun
		c := s.adminClient()
		for i := range 10 {
			path := "/apis/restart.example.com/v1/namespaces/default/kind0s/" + fmt.Sprintf("object-%d", i*objects/10)
			if i > 0 {
				path = fmt.Sprintf("/apis/restart.example.com/v1/kind%ds", i*definitions/10)
			}
			asked := time.Now()
			if err := request(c, "GET", s.URL()+path, ""); err != nil {
				b.Fatal(err)
			}
			slowest = max(slowest, time.Since(asked))
		}
		if n := s.store.Stats().Objects; n < int64(objects+definitions) {
			b.Fatalf("%d objects are there", n)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(took["store"].Milliseconds())/float64(b.N), "store-ms/op")
	b.ReportMetric(float64(took["API server"].Milliseconds())/float64(b.N), "server-ms/op")
	b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-get-ms")
}

// fillRestart makes what the restarted system is to find: all objects are of the first kind.
func fillRestart(b *testing.B, config Config, definitions, objects int) {
	s, err := Start(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	c := s.adminClient()
	var fields strings.Builder
	for i := range 100 {
		fmt.Fprintf(&fields, `"field%d":{"type":"string","maxLength":%d,"description":"%s"},`, i, 100+i, strings.Repeat("what it is for ", 9))
	}
	each := func(n int, path string, body func(i int) string) {
		var g errgroup.Group
		g.SetLimit(32)
		for i := range n {
			g.Go(func() error { return request(c, "POST", s.URL()+path, body(i)) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	each(definitions, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", func(i int) string {
		return fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"kind%ds.restart.example.com"},
"spec":{"group":"restart.example.com","scope":"Namespaced","names":{"plural":"kind%[1]ds","kind":"Kind%[1]d"},"versions":[{"name":"v1","served":true,"storage":true,
"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{%sname":{"type":"string"}}}}}}}]}}`, i, fields.String()+`"`)
	})
	text := strings.Repeat("some text in a field ", 100)
	each(objects, "/apis/restart.example.com/v1/namespaces/default/kind0s", func(i int) string {
		return fmt.Sprintf(`{"apiVersion":"restart.example.com/v1","kind":"Kind0","metadata":{"name":"object-%d"},"spec":{"field0":"%d","name":"%d %s"}}`, i, i, i*7919, text)
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func request(c *http.Client, method, url, body string) error {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	p, err := c.Do(r)
	if err != nil {
		return err
	}
	defer p.Body.Close()
	answer, err := io.ReadAll(p.Body)
	if err == nil && p.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %.300s", method, url, p.Status, answer)
	}
	return err
}
