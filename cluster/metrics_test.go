package cluster

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestMetrics looks for the figures of what is wired together here: the server's own and the controllers'.
func TestMetrics(t *testing.T) {
	s := startTest(t, Config{})
	resp, err := s.adminClient().Get(s.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pintle_store_revision ", "pintle_store_commits_total ", `pintle_store_sync_duration_seconds_bucket{le="0.001"}`, `apiserver_storage_objects{resource="namespaces"} 4`, `workqueue_depth{name="deployment"}`, `workqueue_adds_total{name="replicaset"}`} {
		if !strings.Contains(string(text), "\n"+want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
}

// TestMetricsOfDroppedKind: of a kind that is gone nothing is counted any more, and others' figures stay.
func TestMetricsOfDroppedKind(t *testing.T) {
	s := startTest(t, Config{NoControllers: true})
	const crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	for _, step := range []string{"POST " + crds, "GET /apis/example.com/v1/widgets", "DELETE " + crds + "/widgets.example.com"} {
		method, path, _ := strings.Cut(step, " ")
		if method == "DELETE" {
			if _, text := call(t, s, "GET", "/metrics", ""); !strings.Contains(text, `resource="widgets"`) {
				t.Error("the kind is not counted while it is served")
			}
		}
		if code, body := call(t, s, method, path, map[string]string{"POST": widgets}[method]); code >= 300 {
			t.Fatalf("%s: %d %s", step, code, body)
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		_, text := call(t, s, "GET", "/metrics", "")
		if !strings.Contains(text, `resource="customresourcedefinitions"`) {
			t.Fatal("other kinds are not counted")
		}
		if !strings.Contains(text, `resource="widgets"`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the kind is counted still")
		}
	}
}
