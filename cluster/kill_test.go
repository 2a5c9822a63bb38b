package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// How often TestKill kills, and for how long there is load before it does.
const (
	kills     = 30
	soakKills = 1000
	loadMax   = 600 * time.Millisecond
	workers   = 6
	names     = 24 // per table: few, so that writers meet

	// crashPatience is how long the server may take for a start or an answer. It is far above what it needs, because
	// machines that run tests are busy.
	crashPatience = 2 * time.Minute
)

// tables are the collections that are written to and watched.
var tables = map[string]string{
	"configmaps": "/api/v1/namespaces/kill/configmaps",
	"widgets":    "/apis/kill.test/v1/namespaces/kill/widgets",
	"services":   "/api/v1/namespaces/kill/services",
}

const widgetCRD = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.kill.test"},
"spec":{"group":"kill.test","scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},"versions":[{"name":"v1","served":true,"storage":true,
"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"integer","default":3}}}}}}}]}}`

// TestKill kills the server with SIGKILL at random moments under load and holds what clients were told before each
// crash against what the server shows after it.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills servers")
	}
	rounds := kills
	if part := soakPart(t); part > 0 {
		rounds = int(soakKills * part)
	}
	k := newKilling(t)
	k.start()
	k.prepare()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	for table := range tables {
		for i := range 3 {
			w := &watcher{k: k, table: table, restless: i == 1, http: k.clients[i%2], position: k.history.floor}
			k.watchers = append(k.watchers, w)
			watching.Go(func() { w.run(ctx) })
		}
	}
	defer watching.Wait()
	defer cancel()

	for round := range rounds {
		k.round = round
		k.load(rand.N(loadMax))
		for rand.N(4) == 0 { // now and then the next start is killed too
			k.launch()
			time.Sleep(rand.N(40 * time.Millisecond))
			k.kill()
		}
		k.start()
		k.audit()
		if t.Failed() {
			t.Fatalf("after crash %d", round+1)
		}
	}
	k.catchUp()
	t.Logf("%d crashes, %d writes acknowledged, %d refused, %d without an answer; %d reconnects of %d watchers",
		rounds, k.count[acked].Load(), k.count[refused].Load(), k.count[unknown].Load(), k.reconnects.Load(), len(k.watchers))
	for _, o := range []outcome{acked, refused, unknown} {
		if k.count[o].Load() == 0 {
			t.Errorf("no write of outcome %d: the load does not test what it is for", o)
		}
	}
}

// killing is the server under test, its clients and what they know.
type killing struct {
	t           *testing.T
	binary, dir string
	clients     [2]*http.Client // HTTP/2, HTTP/1.1
	base        atomic.Pointer[string]
	process     *exec.Cmd
	stdout      io.ReadCloser
	history     *history
	watchers    []*watcher
	round       int
	tokens      atomic.Uint64
	count       [3]atomic.Int64
	reconnects  atomic.Int64
}

func newKilling(t *testing.T) *killing {
	k := &killing{t: t, dir: t.TempDir()}
	k.binary = filepath.Join(t.TempDir(), "pintle")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", k.binary, "pintle.dev/cmd/pintle")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the server: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if k.process != nil {
			k.kill()
		}
		if log, err := os.ReadFile(k.log()); err != nil {
			t.Error(err)
		} else if bytes.Contains(log, []byte("panic")) || bytes.Contains(log, []byte("goroutine ")) {
			t.Errorf("the server panicked:\n%s", log)
		} else if t.Failed() {
			t.Logf("the server's log ends:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return k
}

func (k *killing) log() string        { return filepath.Join(k.dir, "log") }
func (k *killing) kubeconfig() string { return filepath.Join(k.dir, "kubeconfig") }

// launch starts a server and does not wait for it.
func (k *killing) launch() {
	log, err := os.OpenFile(k.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	k.process = exec.Command(k.binary, "server", "--data", filepath.Join(k.dir, "data"), "--listen", "127.0.0.1:0", "--kubeconfig", k.kubeconfig())
	k.process.Stderr = log
	if k.stdout, err = k.process.StdoutPipe(); err != nil {
		k.t.Fatal(err)
	}
	if err := k.process.Start(); err != nil {
		k.t.Fatal(err)
	}
}

// start starts a server and waits until it is ready.
func (k *killing) start() {
	k.launch()
	defer time.AfterFunc(crashPatience, func() { k.process.Process.Kill() }).Stop()
	for lines := bufio.NewScanner(k.stdout); lines.Scan(); {
		if _, url, ok := strings.Cut(lines.Text(), " at https://"); ok {
			url = "https://" + url
			k.base.Store(&url)
			if k.clients[0] == nil {
				k.connect()
			}
			return
		}
	}
	k.t.Fatalf("round %d: the server did not become ready", k.round)
}

// kill ends the server as a power cut would and waits for it to be gone.
func (k *killing) kill() {
	if err := k.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		k.t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := k.process.Wait(); err != nil && !errors.As(err, &killed) {
		k.t.Fatal(err)
	} else if killed == nil || killed.Exited() {
		k.t.Errorf("round %d: the server ended by itself: %v", k.round, err)
	}
	k.process = nil
}

// connect makes the clients. The authority and the administrator's certificate outlive the server.
func (k *killing) connect() {
	text, err := os.ReadFile(k.kubeconfig())
	if err != nil {
		k.t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	if err != nil {
		k.t.Fatal(err)
	}
	for i := range k.clients {
		c, err := rest.TLSConfigFor(config)
		if err != nil {
			k.t.Fatal(err)
		}
		tr := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: i == 0}
		if i == 1 {
			tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		}
		k.clients[i] = &http.Client{Transport: tr}
		k.t.Cleanup(tr.CloseIdleConnections)
	}
}

// call makes one request. The status is 0 when there was no answer; the body is nil when it did not arrive whole.
func (k *killing) call(method, path, contentType, body string) (status int, answer []byte) {
	ctx, cancel := context.WithTimeout(k.t.Context(), crashPatience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, *k.base.Load()+path, strings.NewReader(body))
	if err != nil {
		k.t.Error(err)
		return 0, nil
	}
	if contentType != "" {
		q.Header.Set("Content-Type", contentType)
	}
	resp, err := k.clients[rand.N(2)].Do(q)
	if err != nil {
		if ctx.Err() != nil && k.t.Context().Err() == nil {
			k.t.Errorf("%s %s: no answer in %s", method, path, crashPatience)
		}
		return 0, nil
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, answer
}

// mustCall is a call that nothing disturbs.
func (k *killing) mustCall(want int, method, path, contentType, body string) []byte {
	k.t.Helper()
	status, answer := k.call(method, path, contentType, body)
	if status != want {
		k.t.Fatalf("round %d: %s %s: %d, want %d: %.500s", k.round, method, path, status, want, answer)
	}
	return answer
}

const jsonType, mergeType = "application/json", "application/merge-patch+json"

func (k *killing) prepare() {
	k.mustCall(201, "POST", "/api/v1/namespaces", jsonType, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kill"}}`)
	k.mustCall(201, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", jsonType, widgetCRD)
	k.history = newHistory(number(k.list("configmaps").Metadata.ResourceVersion))
}

// foreign is the only object in the tables that is not the test's: a controller keeps it in every namespace.
const foreign = "kube-root-ca.crt"

// object is what the test reads of any object.
type object struct {
	Metadata struct {
		Name, UID, ResourceVersion string
		Annotations                map[string]string
	}
	Spec struct {
		ClusterIP string
		Ports     []struct{ NodePort int }
	}
	Details struct{ UID string } // of a Status
}

type objects struct {
	Metadata struct{ ResourceVersion string }
	Items    []object
}

func (o *object) version() version {
	return version{number(o.Metadata.ResourceVersion), o.Metadata.UID, o.Metadata.Annotations["token"]}
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("revision %q: %v", s, err))
	}
	return n
}

func (k *killing) list(table string) (l objects) {
	k.t.Helper()
	if err := json.Unmarshal(k.mustCall(200, "GET", tables[table], "", ""), &l); err != nil {
		k.t.Fatalf("listing %s: %v", table, err)
	}
	l.Items = slices.DeleteFunc(l.Items, func(o object) bool { return o.Metadata.Name == foreign })
	return l
}

// load writes for a while and kills the server in the midst of it.
func (k *killing) load(d time.Duration) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			last := map[string]version{} // this worker's knowledge, often stale
			for {
				select {
				case <-stop:
					return
				default:
					k.write(last)
				}
			}
		})
	}
	time.Sleep(d)
	k.kill()
	close(stop)
	running.Wait()
}

// write makes one random write and records what came of it.
func (k *killing) write(last map[string]version) {
	w := &write{table: "configmaps", name: fmt.Sprintf("o-%d", rand.N(names)), after: k.history.newest.Load()}
	switch rand.N(8) {
	case 0:
		w.table = "services"
	case 1, 2, 3:
		w.table = "widgets"
	}
	path, id := tables[w.table], w.table+"/"+w.name
	known, ok := last[id]
	if kind := rand.N(10); kind < 2 {
		options := "{}"
		if ok && kind == 0 {
			options = fmt.Sprintf(`{"preconditions":{"uid":%q}}`, known.uid)
		}
		k.finish(w, last, "DELETE", path+"/"+w.name, jsonType, options)
		return
	} else if w.token = fmt.Sprintf("t%d", k.tokens.Add(1)); kind < 6 {
		k.finish(w, last, "POST", path, jsonType, newObject(w))
		return
	}
	pin, extra := "", ""
	if ok && rand.N(2) == 0 {
		w.pinned = known.revision
		pin = fmt.Sprintf(`,"resourceVersion":"%d"`, known.revision)
	}
	if rand.N(20) == 0 {
		extra = `,"not a name!":"x"` // to be refused
	}
	k.finish(w, last, "PATCH", path+"/"+w.name, mergeType, fmt.Sprintf(`{"metadata":{"annotations":{"token":%q%s}%s}}`, w.token, extra, pin))
}

func newObject(w *write) string {
	meta := fmt.Sprintf(`"metadata":{"name":%q,"annotations":{"token":%q}}`, w.name, w.token)
	switch w.table {
	case "widgets":
		return `{"apiVersion":"kill.test/v1","kind":"Widget",` + meta + `,"spec":{}}`
	case "services":
		return `{"apiVersion":"v1","kind":"Service",` + meta + `,"spec":{"type":"NodePort","ports":[{"port":80}]}}`
	}
	return `{"apiVersion":"v1","kind":"ConfigMap",` + meta + `,"data":{"payload":"` + strings.Repeat(w.token+" ", rand.N(200)) + `"}}`
}

// finish sends a write and records its outcome.
func (k *killing) finish(w *write, last map[string]version, method, path, contentType, body string) {
	status, answer := k.call(method, path, contentType, body)
	switch status {
	case 0:
	case 200, 201:
		w.outcome = acked
		if answer == nil {
			if w.token == "" {
				w.outcome = unknown // of which object, the answer would have told
			}
			break
		}
		var o object
		if err := json.Unmarshal(answer, &o); err != nil {
			k.t.Errorf("%s %s: %v in %.300s", method, path, err, answer)
			return
		}
		if w.token == "" {
			w.uid = o.Details.UID + o.Metadata.UID // a Status or the object
			break
		}
		w.uid, w.revision, w.body = o.Metadata.UID, number(o.Metadata.ResourceVersion), string(answer)
		last[w.table+"/"+w.name] = o.version()
	case 404, 409, 422:
		w.outcome = refused
	default:
		k.t.Errorf("round %d: %s %s: %d: %.500s", k.round, method, path, status, answer)
	}
	k.count[w.outcome].Add(1)
	k.history.record(w)
}

// audit reads everything back while nobody writes and holds it against the history.
func (k *killing) audit() {
	bodies := map[string]string{} // acknowledged, by token
	for token, w := range k.history.open {
		bodies[token] = w.body
	}
	// A write of the auditor's own ends what happened in each table.
	since, fences := map[string][]change{}, map[string]string{}
	from := k.history.floor
	for table, path := range tables {
		w := &write{table: table, name: fmt.Sprintf("fence-%d", k.round), token: fmt.Sprintf("t%d", k.tokens.Add(1)), after: k.history.newest.Load()}
		k.finish(w, map[string]version{}, "POST", path, jsonType, newObject(w))
		fences[table] = w.token
	}
	for table := range tables {
		since[table] = k.events(table, from, fences[table])
	}
	for _, wrong := range k.history.audit(since) {
		k.t.Error(wrong)
	}
	addresses := map[string]string{}
	for table, path := range tables {
		list := map[string]version{}
		for _, o := range k.list(table).Items {
			name, v := o.Metadata.Name, o.version()
			list[name] = v
			text := k.mustCall(200, "GET", path+"/"+name, "", "")
			var got object
			if err := json.Unmarshal(text, &got); err != nil || got.version() != v {
				k.t.Errorf("%s/%s: the list shows %v, a get %v (%v)", table, name, v, got.version(), err)
			}
			if told := bodies[v.token]; told != "" && told != string(text) {
				k.t.Errorf("%s/%s: acknowledged was %s\nthere is %s", table, name, told, text)
			}
			if table != "services" {
				continue
			}
			for _, a := range []string{"address " + o.Spec.ClusterIP, fmt.Sprintf("port %d", o.Spec.Ports[0].NodePort)} {
				if other, taken := addresses[a]; taken || strings.HasSuffix(a, " ") || strings.HasSuffix(a, " 0") {
					k.t.Errorf("services %s and %q both have %s", name, other, a)
				}
				addresses[a] = name
			}
		}
		for _, wrong := range k.history.compare(table, list) {
			k.t.Error(wrong)
		}
	}
	for _, w := range k.watchers {
		if wrong := k.history.follows(w.table, w.events()); wrong != "" {
			k.t.Error(wrong)
		}
	}
	for table := range tables {
		k.forget(table)
	}
}

// forget deletes the round's fence, so that they do not pile up.
func (k *killing) forget(table string) {
	w := &write{table: table, name: fmt.Sprintf("fence-%d", k.round), after: k.history.newest.Load()}
	k.finish(w, nil, "DELETE", tables[table]+"/"+w.name, "", "")
}
