// Package cluster wires the parts into a running system: one Config, one System that starts them in order, says what it
// did, and ends them in reverse. It is the only package that sees the server's side (store, server) and the workers'
// side (controllers, scheduler, nodes) at once.
//
// The order of a start is: authority -> store -> registry -> server (answers, not ready) -> objects every cluster has ->
// controllers, scheduler -> nodes -> kubeconfig (written when ready). A System is a value to embed: a test starts one
// with Ephemeral set and a free port, in a fraction of a second.
package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"pintle.dev/store"
)

// Config says what to run. The zero value with Ephemeral set is a control plane in memory on a free port of loopback.
type Config struct {
	// Data is the directory that keeps everything: the store, certificates, the node's pods. Required unless Ephemeral.
	Data string
	// Ephemeral keeps objects in memory; nothing survives the process. Data may still be given for what a node needs.
	Ephemeral bool
	// Listen is the HOST:PORT to serve on; port 0 takes a free one. Default 127.0.0.1:0.
	Listen string
	// Hosts are further names and addresses that clients reach the server by, for its certificate.
	Hosts []string
	// Kubeconfig is a file that is written, with mode 0600, once the system is ready. "" writes none.
	Kubeconfig string

	// NoControllers leaves controllers and the scheduler out: an API server alone.
	NoControllers bool
	// NoNode leaves out the node agent of this machine.
	NoNode bool
	// NodeName is the name of this machine's node. Default: the host's name.
	NodeName string
	// Containerd is the socket of the host's containerd; "" looks at the usual place, "none" always starts an own one.
	Containerd string
	// HollowNodes is the number of simulated nodes to run.
	HollowNodes int

	// EventTTL is how long Events are kept. Default 1 hour.
	EventTTL time.Duration
	// Store bounds memory and history; see store.Config. Its Backend is set by the cluster.
	Store store.Config

	// Progress is told of each part that has come up and how long that took; nil ignores it.
	Progress func(part string, took time.Duration)
	Log      *slog.Logger

	now func() time.Time // of certificates; nil for the real time
}

// complete checks c and fills what was left out.
func (c *Config) complete() error {
	if c.Data == "" && !c.Ephemeral {
		return errors.New("no data directory: give --data DIR, or --ephemeral to keep everything in memory")
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("--listen %q: want HOST:PORT: %w", c.Listen, err)
	}
	if c.HollowNodes < 0 {
		return fmt.Errorf("--hollow-nodes %d: must not be negative", c.HollowNodes)
	}
	if c.NodeName != "" {
		if err := checkNodeName(c.NodeName); err != nil {
			return fmt.Errorf("--node-name %w", err)
		}
	}
	for _, h := range c.Hosts {
		if name := strings.ToLower(strings.TrimPrefix(h, "*.")); net.ParseIP(h) == nil && len(validation.IsDNS1123Subdomain(name)) > 0 {
			return fmt.Errorf("--host %q: neither a name nor an address", h)
		}
	}
	if c.EventTTL == 0 {
		c.EventTTL = time.Hour
	}
	if c.Progress == nil {
		c.Progress = func(string, time.Duration) {}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}

// checkNodeName refuses what no Node can be called.
func checkNodeName(name string) error {
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return fmt.Errorf("%q: %s", name, strings.Join(errs, "; "))
	}
	return nil
}
