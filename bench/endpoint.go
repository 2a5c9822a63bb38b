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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// endpoint is a server under load.
type endpoint struct {
	config *rest.Config
	base   string
	tls    *tls.Config
	client *http.Client
	pids   []int
	disks  []string // the kernel's statistics of those the processes write to
	stop   func()
}

func dialKubeconfig(path string, pids []int) (*endpoint, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	e, err := newEndpoint(config, pids)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return e, nil
}

func newEndpoint(config *rest.Config, pids []int) (*endpoint, error) {
	t, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	e := &endpoint{config: config, base: strings.TrimSuffix(config.Host, "/"), tls: t, pids: pids, disks: disksOf(pids), stop: func() {}}
	e.client = e.connection()
	return e, nil
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

// data is memory without the pages of the programs themselves, in bytes. Those come and go with the code that runs, and
// the page cache has them anyway; files that a server maps for its data count.
func (e *endpoint) data() int64 {
	total := e.memory()
	for _, pid := range e.pids {
		program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			continue
		}
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
		if err != nil {
			continue
		}
		total -= mapped(string(maps), program) << 10
	}
	return total
}

// mapped adds up what a /proc/PID/smaps says is resident of the pages of a file, in KiB. Pages that were written to are no
// longer the file's.
func mapped(smaps, file string) int64 {
	var total, resident int64
	in := false
	for line := range strings.Lines(smaps) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && !strings.HasSuffix(f[0], ":"):
			in = strings.HasSuffix(strings.TrimSpace(line), " "+file)
		case !in || len(f) < 2:
		case f[0] == "Rss:":
			resident, _ = strconv.ParseInt(f[1], 10, 64)
		case f[0] == "Anonymous:":
			private, _ := strconv.ParseInt(f[1], 10, 64)
			total += resident - private
		}
	}
	return total
}

// written is how much has been written to disks, in bytes: by the server's processes, as the kernel counts, and to the
// disks they have files open on, by whomever. Neither is the truth. For a process the kernel counts whole folios of its
// page cache, up to 1 MiB for a sync of 2 KB in a log file that is used again; a disk has other users. The lesser is an
// upper bound.
type written struct {
	processes, disks int64
	known            bool // disks is
}

func (e *endpoint) written() written {
	w := written{processes: e.proc("io", "write_bytes:"), known: len(e.disks) > 0}
	for _, stat := range e.disks {
		data, err := os.ReadFile(stat)
		f := strings.Fields(string(data))
		if err != nil || len(f) < 7 {
			w.known = false
			continue
		}
		sectors, _ := strconv.ParseInt(f[6], 10, 64) // of 512 bytes, whatever the disk's are
		w.disks += sectors * 512
	}
	return w
}

// since is what was written after an earlier count, at most.
func (w written) since(before written) int64 {
	if !w.known || !before.known {
		return w.processes - before.processes
	}
	return min(w.processes-before.processes, w.disks-before.disks)
}

// settled is written once the server has stopped to write behind what it was asked, or after five seconds.
func (e *endpoint) settled() written {
	last := e.written()
	for range 10 {
		time.Sleep(500 * time.Millisecond)
		now := e.written()
		if now.since(last) < 64<<10 {
			return now
		}
		last = now
	}
	return last
}

// disksOf names the kernel's statistics of the disks that processes have regular files open on. File systems without a
// disk of their own have none.
func disksOf(pids []int) []string {
	var stats []string
	for _, pid := range pids {
		open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, name := range open {
			var st unix.Stat_t
			if err := unix.Stat(name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
				continue
			}
			stat := fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(st.Dev), unix.Minor(st.Dev))
			if _, err := os.Stat(stat); err == nil && !slices.Contains(stats, stat) {
				stats = append(stats, stat)
			}
		}
	}
	return stats
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

// metric is the value of a metric without labels. ok is false where the server has none of that name.
func (e *endpoint) metric(ctx context.Context, name string) (v float64, ok bool) {
	text, err := e.read(ctx, "/metrics")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return v, err == nil
		}
	}
	return 0, false
}
