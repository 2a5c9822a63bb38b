package machine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pintle.dev/node/cni"
	"pintle.dev/node/containerd"
)

// TestNewRange has a node's object made anew while the node runs, and another range of addresses given to it: the pod
// network's configuration follows, though the range cannot be learnt at the first try.
func TestNewRange(t *testing.T) { synctest.Test(t, testNewRange) }

func testNewRange(t *testing.T) {
	ranges := make(chan any, 3)
	dir := t.TempDir()
	m := &Machine{containerd: &containerd.Containerd{Own: true}, cni: cni.Config{Dir: dir, Data: leases(dir)}, remade: make(chan struct{}, 1)}
	m.cfg.PodRange = func(ctx context.Context) (string, error) {
		switch r := (<-ranges).(type) {
		case string:
			return r, nil
		case error:
			return "", r
		}
		return "", ctx.Err()
	}
	written := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "10-pintle.conflist"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	ranges <- "10.244.1.0/24"
	if err := m.network(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := written(); !strings.Contains(c, `"10.244.1.0/24"`) {
		t.Errorf("the configuration has not the range given:\n%s", c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.renetwork(ctx)
	}()
	m.remade <- struct{}{}
	ranges <- errors.New("the server is away")
	ranges <- "10.244.7.0/24"
	synctest.Wait()
	if c := written(); strings.Contains(c, "10.244.7.0") {
		t.Errorf("the range was asked for again at once:\n%s", c)
	}
	time.Sleep(renetworkEvery)
	synctest.Wait()
	if c := written(); !strings.Contains(c, `"10.244.7.0/24"`) {
		t.Errorf("the configuration has not the new range:\n%s", c)
	}
	if strings.Contains(written(), "10.244.1.0") {
		t.Errorf("the old range is still there:\n%s", written())
	}
	cancel()
	<-done
}

// TestNewFails has a machine that cannot start: its containerd is not left behind.
func TestNewFails(t *testing.T) {
	cfg := config(t)
	refused := errors.New("no range")
	cfg.PodRange = func(context.Context) (string, error) { return "", refused }
	if _, err := New(t.Context(), cfg); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	socket := containerd.OwnSocket(filepath.Join(cfg.Dir, "containerd"))
	if c, err := net.Dial("unix", socket); err == nil {
		c.Close()
		t.Errorf("a containerd goes on at %s", socket)
	}
}
