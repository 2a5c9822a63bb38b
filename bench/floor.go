package bench

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/rest"

	"pintle.dev/auth"
)

// floorHello is what the floor server says on its standard output once it listens.
type floorHello struct {
	URL string
	CA  []byte // PEM
}

// ServeFloor runs the floor server until ctx ends: bare net/http over TLS, constant answers of the sizes that it is told
// by a PUT of Sizes to sizesPath. It watches as simply as can be: a channel per watcher, one flush per event. What it says
// first, to out, is how to reach it.
func ServeFloor(ctx context.Context, out io.Writer) error {
	authority, err := auth.NewAuthority()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := &floorServer{watchers: map[chan []byte]bool{}}
	f.answers.Store(&floorAnswers{})
	serving := authority.Serve([]string{"127.0.0.1"})
	srv := &http.Server{Handler: f, TLSConfig: &tls.Config{GetCertificate: serving.GetCertificate, NextProtos: []string{"h2"}}}
	if err := json.NewEncoder(out).Encode(floorHello{"https://" + l.Addr().String(), authority.PEM()}); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.ServeTLS(l, "", ""); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// constant is JSON of exactly n bytes that compresses about as objects do.
func constant(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"items":[`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"metadata":{"name":"object-%07d","uid":"%08x-4d1c-4a9e-9d51-%012x"},"note":"constant bytes"},`, i, i*2654435761, i*40503)
	}
	b.Truncate(max(n-2, 0))
	b.WriteString("]}")
	return b.Bytes()
}

// sizesPath is where the floor is told its sizes.
const sizesPath = "/sizes"

type floorAnswers struct {
	sizes                       Sizes
	one, list, patched, applied []byte
}

type floorServer struct {
	answers atomic.Pointer[floorAnswers]

	mu       sync.Mutex
	watchers map[chan []byte]bool
}

func (f *floorServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, answers := w.Header(), f.answers.Load()
	h.Set("Content-Type", "application/json")
	switch {
	case r.Method != "GET":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		switch {
		case r.URL.Path == sizesPath:
			f.resize(w, body)
		case r.Method == "POST":
			w.WriteHeader(http.StatusCreated)
			w.Write(answers.one)
		case r.Header.Get("Content-Type") == applyType:
			w.Write(answers.applied)
		default:
			f.publish(body)
			w.Write(answers.patched)
		}
	case strings.Contains(r.URL.RawQuery, "watch=true"):
		f.watch(w, r)
	case strings.Contains(r.URL.RawQuery, "labelSelector"):
		w.Write(answers.list[:len(answers.list)/10])
	case strings.Contains(r.URL.Path, "/object-"):
		w.Write(answers.one)
	case r.Header.Get("Accept-Encoding") == "gzip":
		h.Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
		z.Write(answers.list)
		z.Close()
	default:
		w.Write(answers.list)
	}
}

// resize makes answers of other sizes.
func (f *floorServer) resize(w http.ResponseWriter, body []byte) {
	old, a := f.answers.Load(), &floorAnswers{}
	if err := json.Unmarshal(body, &a.sizes); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if a.sizes != old.sizes {
		a.one, a.list, a.patched, a.applied = constant(a.sizes.One), constant(a.sizes.List), constant(a.sizes.Patched), constant(a.sizes.Applied)
		f.answers.Store(a)
	}
}

// publish sends every watcher a frame that carries what the patch carried.
func (f *floorServer) publish(patch []byte) {
	i := bytes.Index(patch, []byte(patchMark))
	f.mu.Lock()
	defer f.mu.Unlock()
	if i < 0 || len(f.watchers) == 0 {
		return
	}
	frame := f.answers.Load().sizes.Frame
	b := make([]byte, 0, frame)
	b = append(append(b, `{"type":"MODIFIED","object":{`...), bytes.TrimRight(patch[i:], "}")...)
	b = append(b, `,"pad":"`...)
	b = append(b, bytes.Repeat([]byte{'x'}, max(frame-len(b)-len("\"}}\n"), 0))...)
	b = append(b, "\"}}\n"...)
	for ch := range f.watchers {
		ch <- b
	}
}

func (f *floorServer) watch(w http.ResponseWriter, r *http.Request) {
	ch := make(chan []byte, 100)
	f.mu.Lock()
	f.watchers[ch] = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.watchers, ch)
		f.mu.Unlock()
	}()
	flush := w.(http.Flusher)
	flush.Flush()
	for {
		select {
		case b := <-ch:
			w.Write(b)
			flush.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// startFloor runs the floor server as a process of its own, so that its CPU can be told from the load generator's.
func startFloor(ctx context.Context, command []string) (*endpoint, error) {
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], "floor")...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the floor server: %w", err)
	}
	stop := func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	var hello floorHello
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&hello); err != nil {
		stop()
		return nil, fmt.Errorf("the floor server did not come up: %w", err)
	}
	e, err := newEndpoint(&rest.Config{Host: hello.URL, TLSClientConfig: rest.TLSClientConfig{CAData: hello.CA}}, []int{cmd.Process.Pid})
	if err != nil {
		stop()
		return nil, err
	}
	e.stop = stop
	return e, nil
}

// resize tells the floor the sizes of its answers.
func (e *endpoint) resize(ctx context.Context, s Sizes) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = e.do(ctx, call{method: "PUT", path: sizesPath, body: body})
	return err
}
