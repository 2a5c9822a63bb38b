package stream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"pintle.dev/api"
	"pintle.dev/node"
)

// Options select what of a log is shown.
type Options struct {
	Follow     bool
	Previous   bool
	Timestamps bool
	Since      time.Time
	Tail       int64  // lines; -1 for all
	Limit      int64  // bytes; -1 for no limit
	Stream     string // "stdout" or "stderr"; "" for both
}

// parse reads the options of pods/log.
func parse(q url.Values, now time.Time) (Options, error) {
	o := Options{Tail: -1, Limit: -1}
	o.Follow, o.Previous, o.Timestamps = flag(q, "follow"), flag(q, "previous"), flag(q, "timestamps")
	number := func(name string, to *int64) error {
		v := q.Get(name)
		if v == "" {
			return nil
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return api.BadRequest("%s: %q is not a whole number", name, v)
		}
		*to = n
		return nil
	}
	seconds := int64(-1)
	if err := errors.Join(number("tailLines", &o.Tail), number("limitBytes", &o.Limit), number("sinceSeconds", &seconds)); err != nil {
		return o, err
	}
	if seconds >= 0 {
		o.Since = now.Add(-time.Duration(seconds) * time.Second)
	}
	if v := q.Get("sinceTime"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return o, api.BadRequest("sinceTime: %q is no RFC 3339 time", v)
		}
		o.Since = t
	}
	switch v := q.Get("stream"); v {
	case "", "All":
	case "Stdout":
		o.Stream = "stdout"
	case "Stderr":
		o.Stream = "stderr"
	default:
		return o, api.BadRequest("stream: %q is none of All, Stdout, Stderr", v)
	}
	return o, nil
}

func (h *handler) logs(w http.ResponseWriter, r *http.Request, t *target) error {
	o, err := parse(r.URL.Query(), time.Now())
	if err != nil {
		return err
	}
	in := t.logged(o.Previous)
	switch {
	case in == nil && o.Previous:
		return api.BadRequest("previous terminated container %q in pod %q not found", t.name, t.pod.Name)
	case in == nil || in.Phase == node.Created:
		return api.BadRequest("container %q in pod %q is %s", t.name, t.pod.Name, t.waits())
	}
	path := filepath.Join(h.cfg.LogDir(t.pod.Namespace, t.pod.Name, string(t.pod.UID)), t.name, fmt.Sprint(in.Attempt)+".log")
	if _, err := os.Stat(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("opening the log of container %s: %w", t.name, err)
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	ended := func() bool {
		_, have, err := h.cfg.Find(r.Context(), api.Key{Namespace: t.pod.Namespace, Name: t.pod.Name})
		if err != nil {
			return api.IsNotFound(err)
		}
		now := (&target{have: have, name: t.name}).newest()
		return now == nil || now.ID != in.ID || now.Phase != node.Running
	}
	if err := Copy(r.Context(), flusher{w}, path, o, ended); err != nil && r.Context().Err() == nil {
		fmt.Fprintf(w, "failed to read the log: %v\n", err) // the status has been sent
	}
	return nil
}

// logged is the instance whose log is meant: the newest, or the last that has ended while that has not started yet. For
// previous it is the one that the status calls the last to have ended, which is the newest itself while a restart is
// being waited for; this is upstream's rule.
func (t *target) logged(previous bool) *node.Instance {
	all := t.instances()
	if previous {
		s := t.status()
		if s == nil || s.LastTerminationState.Terminated == nil {
			return nil
		}
		for i := range all {
			if all[i].ID == s.LastTerminationState.Terminated.ContainerID {
				return &all[i]
			}
		}
		return nil
	}
	for i := range all {
		if all[i].Phase != node.Created {
			return &all[i]
		}
	}
	return t.newest()
}

// waits is why a container has no log, after what the API says of it. A pod that the node refused has no containers at all.
func (t *target) waits() string {
	s := t.status()
	switch {
	case s == nil:
		return "not available"
	case s.State.Waiting == nil:
		return "waiting to start - no logs yet"
	}
	switch reason := s.State.Waiting.Reason; reason {
	case "ErrImagePull":
		return "waiting to start: image can't be pulled"
	case "ImagePullBackOff":
		return "waiting to start: trying and failing to pull image"
	default:
		return "waiting to start: " + reason
	}
}

// flusher sends every write on its way.
type flusher struct{ w http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
		if errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	return n, err
}

// How often a followed log is looked at, and how often it is asked whether its container has ended.
const (
	lookEvery = 100 * time.Millisecond
	askEvery  = time.Second
)

// errLimit says that the byte limit has been reached.
var errLimit = errors.New("limit")

// Copy writes a container's log, in CRI's format, as the API shows it. Following, it goes on through rotation until
// ended reports that the container has; a log that does not exist is empty.
func Copy(ctx context.Context, w io.Writer, path string, o Options, ended func() bool) error {
	f, err := open(ctx, path, o.Follow, ended)
	if err != nil || f == nil {
		return err
	}
	defer func() { f.Close() }()
	at, err := tailStart(f, o.Tail)
	if err != nil {
		return fmt.Errorf("finding the last lines of the log: %w", err)
	}
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return fmt.Errorf("finding the last lines of the log: %w", err)
	}
	out := &printer{w: w, o: o}
	var last bool
	asked := time.Now()
	rest := []byte(nil) // a line not yet whole
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			rest = append(rest, buf[:n]...)
			if rest, err = out.lines(rest); errors.Is(err, errLimit) {
				return nil
			} else if err != nil {
				return err
			}
			continue
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("reading the log: %w", err)
		}
		if err := out.flush(); err != nil {
			return err
		}
		if !o.Follow || last {
			return nil
		}
		if next := rotated(f, path); next != nil {
			f.Close()
			f, rest = next, nil
			continue
		}
		if time.Since(asked) >= askEvery {
			asked, last = time.Now(), ended()
			continue // what it wrote last is still to be read
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// open opens a log; nil when there is none. Following, it waits for one.
func open(ctx context.Context, path string, follow bool, ended func() bool) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if !follow || ended() {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// rotated opens the new file at path when f is no longer it.
func rotated(f *os.File, path string) *os.File {
	is, err := os.Stat(path)
	if err != nil {
		return nil
	}
	was, err := f.Stat()
	if err != nil || os.SameFile(is, was) {
		return nil
	}
	next, err := os.Open(path)
	if err != nil {
		return nil
	}
	return next
}

// tailStart is where the last n lines of a file begin.
func tailStart(f *os.File, n int64) (int64, error) {
	if n < 0 {
		return 0, nil
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || n == 0 {
		return size, err
	}
	buf := make([]byte, 16<<10)
	for at := size; at > 0; {
		k := min(int64(len(buf)), at)
		at -= k
		if _, err := f.ReadAt(buf[:k], at); err != nil {
			return 0, err
		}
		for i := k - 1; i >= 0; i-- {
			if buf[i] != '\n' || at+i == size-1 {
				continue
			}
			if n--; n == 0 {
				return at + i + 1, nil
			}
		}
	}
	return 0, nil
}

// printer turns CRI's lines into what clients see.
type printer struct {
	w       io.Writer
	o       Options
	written int64
	partial bool // the line before goes on
	b       bytes.Buffer
}

// stamp is how times stand before lines: with all nine digits, so that the texts are one above the other.
const stamp = "2006-01-02T15:04:05.000000000Z07:00"

// lines prints the whole lines of b and returns the rest.
func (p *printer) lines(b []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return b, p.flush()
		}
		if err := p.line(b[:i]); err != nil {
			return nil, errors.Join(err, p.flush())
		}
		b = b[i+1:]
	}
}

// line prints "TIME STREAM TAG TEXT": with tag P the text goes on in the next line. What has no such form is shown as
// it is.
func (p *printer) line(l []byte) error {
	at, rest, ok1 := bytes.Cut(l, []byte{' '})
	stream, rest, ok2 := bytes.Cut(rest, []byte{' '})
	tag, text, ok3 := bytes.Cut(rest, []byte{' '})
	when, err := time.Parse(time.RFC3339Nano, string(at))
	if !ok1 || !ok2 || !ok3 || err != nil {
		return p.print(l, []byte{'\n'})
	}
	if when.Before(p.o.Since) || p.o.Stream != "" && p.o.Stream != string(stream) {
		return nil
	}
	begun := p.partial
	p.partial = len(tag) > 0 && tag[0] == 'P'
	end := []byte{'\n'}
	if p.partial {
		end = nil
	}
	if p.o.Timestamps && !begun {
		return p.print(when.AppendFormat(nil, stamp), []byte{' '}, text, end)
	}
	return p.print(text, end)
}

func (p *printer) print(parts ...[]byte) error {
	for _, b := range parts {
		if p.o.Limit >= 0 && p.written+int64(len(b)) > p.o.Limit {
			p.b.Write(b[:p.o.Limit-p.written])
			p.written = p.o.Limit
			return errLimit
		}
		p.b.Write(b)
		p.written += int64(len(b))
	}
	if p.b.Len() >= bufio.MaxScanTokenSize {
		return p.flush()
	}
	return nil
}

func (p *printer) flush() error {
	if p.b.Len() == 0 {
		return nil
	}
	_, err := p.w.Write(p.b.Bytes())
	p.b.Reset()
	return err
}
