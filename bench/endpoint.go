package bench

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// endpoint is a server under load.
type endpoint struct {
	base   string
	tls    *tls.Config
	client *http.Client
	pids   []int
	stop   func()
}

func dialKubeconfig(path string, pids []int) (*endpoint, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	t, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return newEndpoint(config.Host, t, pids), nil
}

func newEndpoint(base string, t *tls.Config, pids []int) *endpoint {
	e := &endpoint{base: strings.TrimSuffix(base, "/"), tls: t, pids: pids, stop: func() {}}
	e.client = e.connection()
	return e
}

// connection returns a client with a connection of its own.
func (e *endpoint) connection() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: e.tls, ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 100,
	}}
}

func (e *endpoint) close() { e.stop() }

// call is one request; header lines are "Key: value".
type call struct {
	method, path string
	body         []byte
	contentType  string
	accept       string // application/json if empty
	gzip         bool
}

// do sends a request, reads the whole answer and returns its size. A status that is no success is an error.
func (e *endpoint) do(ctx context.Context, c call) (int, error) {
	resp, err := e.open(ctx, e.client, c)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	return int(n), err
}

func (e *endpoint) open(ctx context.Context, client *http.Client, c call) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, c.method, e.base+c.path, bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", cmp.Or(c.accept, "application/json"))
	q.Header.Set("User-Agent", "pintle-bench/1.0")
	if c.contentType != "" {
		q.Header.Set("Content-Type", c.contentType)
	} else if c.body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if c.gzip {
		q.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := client.Do(q)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s: %s", c.method, c.path, resp.Status, text)
	}
	return resp, nil
}

// clockTick is the unit of the times in /proc/PID/stat: the kernel reports them in hundredths of a second.
const clockTick = 10 * time.Millisecond

// cpu is the user and system time of the server's processes so far.
func (e *endpoint) cpu() time.Duration {
	var total time.Duration
	for _, pid := range e.pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The command, in parentheses, may hold anything; fields are counted behind it.
		f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		for _, s := range f[11:13] {
			n, _ := strconv.ParseInt(s, 10, 64)
			total += time.Duration(n) * clockTick
		}
	}
	return total
}

// memory is the resident size of the server's processes, in bytes.
func (e *endpoint) memory() int64 { return e.proc("status", "VmRSS:") << 10 }

// anonymous is the part of memory that no file backs, in bytes.
func (e *endpoint) anonymous() int64 { return e.proc("status", "RssAnon:") << 10 }

// written is what the server's processes have had written to disks, in bytes.
func (e *endpoint) written() int64 { return e.proc("io", "write_bytes:") }

// settled is written once the server has stopped to write behind what it was asked, or after five seconds.
func (e *endpoint) settled() int64 {
	last := e.written()
	for range 10 {
		time.Sleep(500 * time.Millisecond)
		now := e.written()
		if now-last < 64<<10 {
			return now
		}
		last = now
	}
	return last
}

// proc adds up a field of a file in the processes' directories below /proc.
func (e *endpoint) proc(file, field string) int64 {
	var total int64
	for _, pid := range e.pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if rest, ok := strings.CutPrefix(line, field); ok {
				n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				total += n
			}
		}
	}
	return total
}

// read returns the whole answer to a GET.
func (e *endpoint) read(ctx context.Context, path string) ([]byte, error) {
	resp, err := e.open(ctx, e.client, call{method: "GET", path: path})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
