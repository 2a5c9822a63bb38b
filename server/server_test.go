package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin"
	"pintle.dev/store"
	"pintle.dev/store/mem"
)

// open returns a Server of the built-in kinds over an empty store in memory.
func open(t testing.TB, change ...func(*Config)) *Server {
	t.Helper()
	st, err := store.Open(context.Background(), store.Config{Backend: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	c := Config{Store: st, Registry: resource.NewRegistry(builtin.All()...), Log: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	for _, f := range change {
		f(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) { l.t.Logf("%s", p); return len(p), nil }

// answer is what came back for one request.
type answer struct {
	code   int
	header http.Header
	body   string
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("answer is not JSON: %v: %s", err, a.body)
	}
	return v
}

// at returns a member of the answer by its path, as text.
func (a answer) at(t testing.TB, path ...string) string {
	t.Helper()
	var v any = a.json(t)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[p]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// ask sends "METHOD PATH" with a body and headers given as "Name: value".
func ask(t testing.TB, s http.Handler, request, body string, headers ...string) answer {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("User-Agent", "golden/1.0")
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func configMap(name string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `","labels":{"app":"` + name + `"}},"data":{"k":"v"}}`
}

func TestCreateGetListWatch(t *testing.T) {
	s := open(t)
	for _, n := range []string{"a", "b"} {
		if a := ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap(n)); a.code != 201 || a.at(t, "metadata", "resourceVersion") == "" {
			t.Fatalf("create: %d %s", a.code, a.body)
		}
	}
	if a := ask(t, s, "POST /api/v1/namespaces/default/configmaps", configMap("a")); a.code != 409 {
		t.Errorf("create twice: %d %s", a.code, a.body)
	}
	if a := ask(t, s, "GET /api/v1/namespaces/default/configmaps/a", ""); a.code != 200 || a.at(t, "data", "k") != "v" || a.at(t, "kind") != "ConfigMap" {
		t.Errorf("get: %d %s", a.code, a.body)
	}
	l := ask(t, s, "GET /api/v1/namespaces/default/configmaps?labelSelector=app%3Db", "")
	if items := l.json(t)["items"].([]any); l.code != 200 || len(items) != 1 {
		t.Errorf("list: %d %s", l.code, l.body)
	}
	w := ask(t, s, "GET /api/v1/configmaps?watch=1&resourceVersion=0&timeoutSeconds=1", "")
	lines := 0
	for sc := bufio.NewScanner(strings.NewReader(w.body)); sc.Scan(); lines++ {
		if !strings.HasPrefix(sc.Text(), `{"type":"ADDED","object":{"kind":"ConfigMap"`) {
			t.Errorf("event: %s", sc.Text())
		}
	}
	if lines != 2 {
		t.Errorf("watch: %d events, want 2: %s", lines, w.body)
	}
}

// TestSelectByMarks selects pods by fields that no index finds them by.
func TestSelectByMarks(t *testing.T) {
	s := open(t)
	for _, name := range []string{"a", "b"} {
		body := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"` + name + `"},"spec":{"containers":[{"name":"c","image":"i"}],"serviceAccountName":"` + name + `"}}`
		if a := ask(t, s, "POST /api/v1/namespaces/default/pods", body); a.code != 201 {
			t.Fatalf("%d %s", a.code, a.body)
		}
	}
	if a := ask(t, s, "PATCH /api/v1/namespaces/default/pods/b/status", `{"status":{"phase":"Running"}}`, mergePatch); a.code != 200 {
		t.Fatalf("%d %s", a.code, a.body)
	}
	for selector, want := range map[string]string{
		"status.phase=Pending": "a", "status.phase=Running": "b", "status.phase!=Pending": "b", "status.phase=Failed": "", "spec.serviceAccountName=a": "a",
		"status.phase=Running,spec.nodeName=": "b", "spec.restartPolicy=Always": "a b", "status.podIP=": "a b", "status.podIP=1.2.3.4": "",
	} {
		a := ask(t, s, "GET /api/v1/namespaces/default/pods?fieldSelector="+url.QueryEscape(selector), "")
		var l struct {
			Items []struct{ Metadata struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(a.body), &l); err != nil || a.code != 200 {
			t.Fatalf("%s: %d %s", selector, a.code, a.body)
		}
		var names []string
		for _, it := range l.Items {
			names = append(names, it.Metadata.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", selector, got, want)
		}
	}
}
