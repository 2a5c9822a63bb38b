package cluster

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The golden transcripts: requests, and the answers that kube-apiserver 1.32.5 gave to them. What Pintle answers
// differently on purpose, or does not serve yet, stands in deviations.txt with the reason.
//
//go:embed testdata/golden
var goldenFiles embed.FS

type goldenCase struct {
	Name    string
	Needs   string
	Cleanup []string
	Steps   []goldenStep
}

type goldenStep struct {
	Method, Path, ContentType, Accept string
	Body                              json.RawMessage
	Headers                           map[string]string
	Stream                            bool
	Until                             *struct {
		Status  int
		Pointer string
		Equals  any
	}
	Capture      map[string]string
	Status       int
	ResponseType string
	Response     any
	Warnings     []string
}

// deviations maps patterns of "area/case name" to the reason why they are not expected to match.
func deviations(t *testing.T) map[string]string {
	f, err := goldenFiles.Open("testdata/golden/deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, reason, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("deviations.txt: %q has no tab before its reason", line)
		}
		m[pattern] = strings.TrimSpace(reason)
	}
	return m
}

func goldenCases(t *testing.T, area string) []goldenCase {
	f, err := goldenFiles.Open("testdata/golden/" + area + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Cases []goldenCase }
	if err := json.Unmarshal(reservedPorts(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Cases
}

// chosenPort is a node port that a request names, of those that services are also given by chance.
var chosenPort = regexp.MustCompile(`[nN]odePort":\s*(32\d{3})\b`)

// reservedPorts has the requests of transcripts name node ports that no service is given by chance, as the cases run beside
// each other in one cluster.
func reservedPorts(text []byte) []byte {
	for _, m := range chosenPort.FindAllSubmatch(text, -1) {
		if n := string(m[1]); n <= "32767" { // those above are out of range on purpose
			text = bytes.ReplaceAll(text, m[1], []byte("300"+n[3:]))
		}
	}
	return text
}

var goldenAreas = []string{"apply", "core", "crds", "custom-resources", "discovery", "groups", "pods", "protocol-read", "protocol-write", "tables", "workloads"}

func TestGolden(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	known := deviations(t)
	var mu sync.Mutex
	used := map[string]bool{}
	cases, ran := 0, 0
	t.Run("replay", func(t *testing.T) {
		for _, area := range goldenAreas {
			for _, c := range goldenCases(t, area) {
				name := area + "/" + c.Name
				if c.Needs != "" {
					continue
				}
				cases++
				t.Run(name, func(t *testing.T) {
					ran++
					t.Parallel()
					mistakes := slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(p string) bool {
						return known[p] == mistake && matchesCase(p, name)
					})
					diff := replay(t, sys, c, mistakes)
					if diff == "" && !mistakes {
						return
					}
					for p, reason := range known {
						if matchesCase(p, name) && (diff == "" || reason != mistake) {
							mu.Lock()
							used[p] = true
							mu.Unlock()
							return
						}
					}
					t.Error(diff)
				})
			}
		}
	})
	if ran < cases {
		return // an area or a case alone does not tell which entries are needed
	}
	for p := range known {
		if !used[p] {
			t.Errorf("deviations.txt: every case of %q matches", p)
		}
	}
}

// matchesCase reports whether name is one of a pattern's cases; "*" stands for any text.
func matchesCase(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(name, parts[0])
	for i, part := range parts[1:] {
		if !ok {
			return false
		}
		if i == len(parts)-2 {
			return strings.HasSuffix(rest, part)
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && rest == ""
}

// mistake is the reason of cases in which upstream answers a client's mistake with a 500. They are to match but for that.
const mistake = "500 is 400"

// replay runs a case and returns what differs, "" when nothing does. With mistakes set, a recorded 500 stands for a 400.
func replay(t *testing.T, sys *System, c goldenCase, mistakes bool) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	ns := "g"
	for range 7 {
		ns += string(letters[rand.IntN(len(letters))])
	}
	r := &replayer{t: t, client: sys.adminClient(), base: sys.URL(), vars: map[string]string{"NS": ns}}
	r.do(goldenStep{Method: "POST", Path: "/api/v1/namespaces", ContentType: "application/json", Body: []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"$NS"}}`)})
	r.do(goldenStep{Method: "POST", Path: "/api/v1/namespaces/$NS/serviceaccounts", ContentType: "application/json", Body: []byte(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}`)})
	defer func() {
		for _, p := range append(c.Cleanup, "/api/v1/namespaces/$NS") {
			r.do(goldenStep{Method: "DELETE", Path: p})
		}
	}()
	for i, s := range c.Steps {
		if body, ok := s.Response.(map[string]any); mistakes && ok && s.Status == http.StatusInternalServerError {
			s.Status, body["code"], body["reason"] = http.StatusBadRequest, float64(http.StatusBadRequest), "BadRequest"
		}
		if diff := r.step(s); diff != "" {
			return fmt.Sprintf("step %d: %s %s\nbody: %.600s\n(-upstream +pintle)\n%s", i, s.Method, s.Path, s.Body, diff)
		}
	}
	return ""
}

type replayer struct {
	t      *testing.T
	client *http.Client
	base   string
	vars   map[string]string
	ips    []string // cluster IPs the case's answers have shown
}

type answer struct {
	status   int
	kind     string
	body     any
	raw      []byte
	warnings []string
}

func (r *replayer) step(s goldenStep) string {
	got := r.do(s)
	if s.Until != nil {
		for deadline := time.Now().Add(15 * time.Second); !satisfied(s, got) && time.Now().Before(deadline); got = r.do(s) {
			time.Sleep(50 * time.Millisecond)
		}
	}
	for name, ptr := range s.Capture {
		v, ok := pointer(got.body, ptr)
		if !ok {
			return fmt.Sprintf("the answer has no %s to capture: %d %.300s", ptr, got.status, got.raw)
		}
		r.vars[name] = fmt.Sprint(v)
	}
	n := newNormalizer(r.vars["NS"], got.body)
	r.ips = append(r.ips, n.ips...)
	n.ips = r.ips
	return cmp.Diff(
		map[string]any{"status": s.Status, "type": s.ResponseType, "body": canonical(withoutEstablishing(s.Response)), "warnings": sorted(s.Warnings)},
		map[string]any{"status": got.status, "type": got.kind, "body": canonical(withoutEstablishing(n.value(got.body, s.Path))), "warnings": sorted(n.strings(got.warnings))},
	)
}

func satisfied(s goldenStep, a answer) bool {
	if s.Until.Status != 0 && a.status != s.Until.Status {
		return false
	}
	if s.Until.Pointer == "" {
		return true
	}
	v, ok := pointer(a.body, s.Until.Pointer)
	return ok && (s.Until.Equals == nil || cmp.Equal(v, s.Until.Equals))
}

var repeatVar = regexp.MustCompile(`\$\{repeat:(.):(\d+)\}`)

func (r *replayer) expand(s string) string {
	s = repeatVar.ReplaceAllStringFunc(s, func(m string) string {
		p := repeatVar.FindStringSubmatch(m)
		n := 0
		fmt.Sscan(p[2], &n)
		return strings.Repeat(p[1], n)
	})
	for name, v := range r.vars {
		s = strings.ReplaceAll(s, "${"+name+"}", v)
	}
	return strings.ReplaceAll(s, "$NS", r.vars["NS"])
}

func (r *replayer) do(s goldenStep) answer {
	var body io.Reader
	if len(s.Body) > 0 {
		var text string
		if s.Body[0] == '"' {
			json.Unmarshal(s.Body, &text)
		} else {
			var b bytes.Buffer
			json.Compact(&b, s.Body)
			text = b.String()
		}
		body = strings.NewReader(r.expand(text))
	}
	q, err := http.NewRequestWithContext(r.t.Context(), s.Method, r.base+r.expand(s.Path), body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", s.Method, s.Path, err)
	}
	q.Header.Set("User-Agent", "golden/1.0")
	if s.ContentType != "" {
		q.Header.Set("Content-Type", s.ContentType)
	}
	if s.Accept != "" {
		q.Header.Set("Accept", s.Accept)
	}
	for k, v := range s.Headers {
		q.Header.Set(k, r.expand(v))
	}
	p, err := r.client.Do(q)
	if err != nil {
		return answer{body: err.Error()}
	}
	defer p.Body.Close()
	raw, err := io.ReadAll(p.Body)
	if err != nil {
		return answer{body: fmt.Sprintf("reading the answer: %v", err)}
	}
	// Bytes that are no UTF-8 became U+FFFD, one each, when the answers were recorded as JSON.
	a := answer{status: p.StatusCode, kind: p.Header.Get("Content-Type"), raw: raw, body: string([]rune(string(raw)))}
	for _, w := range p.Header.Values("Warning") {
		a.warnings = append(a.warnings, warningText(w))
	}
	if s.Stream && p.StatusCode == 200 {
		events := []any{}
		for d := json.NewDecoder(bytes.NewReader(raw)); ; {
			var e any
			if d.Decode(&e) != nil {
				break
			}
			if m, _ := e.(map[string]any); m["type"] == "BOOKMARK" && !bytes.Contains(mustJSON(e), []byte("k8s.io/initial-events-end")) {
				continue
			}
			events = append(events, e)
		}
		a.body = events
	} else if strings.Contains(a.kind, "json") {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			a.body = v
		}
	}
	return a
}

var quoted = regexp.MustCompile(`^299 - "((?:[^"\\]|\\.)*)"`)

func warningText(h string) string {
	m := quoted.FindStringSubmatch(h)
	if m == nil {
		return h
	}
	return regexp.MustCompile(`\\(.)`).ReplaceAllString(m[1], "$1")
}

func pointer(v any, ptr string) (any, bool) {
	for _, part := range strings.Split(ptr, "/")[1:] {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[part]; !ok {
				return nil, false
			}
		case []any:
			i := -1
			if _, err := fmt.Sscan(part, &i); err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}
