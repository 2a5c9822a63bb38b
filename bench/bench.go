// Package bench is the load generator behind `pintle bench`: it does the same work against any Kubernetes API server and
// against the floor, a bare net/http server that answers the same requests with constant bytes of the same size, and
// reports each figure also as a multiple of the floor's of the same run. Absolute times drift from machine to machine;
// the multiples hardly do.
//
// The load generator and the servers share the machine. CPU is the user and system time of all of a server's processes,
// read from /proc by pid. The package measures; it judges nothing.
package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// Config says what to measure.
type Config struct {
	// Kubeconfig names the server. Its user must be allowed to do everything.
	Kubeconfig string
	// PIDs are the server's processes, for CPU and memory. Without them those figures are missing.
	PIDs []int
	// Command is the command that runs the load generator's own processes: with "floor" it is to call ServeFloor, with
	// "lister" List.
	Command []string
	// Objects is how many objects of each kind are made. Default 10,000.
	Objects int
	// Writers is how many requests are in flight. Default 32.
	Writers int
	// Watchers and Rate (updates a second) and Duration are the fan-out's. Default 100, 100, 10 s.
	Watchers, Rate int
	Duration       time.Duration
	// IdleWatches is how many watches to measure the memory of, before anything else: the server should have done
	// nothing yet. 0 leaves it out.
	IdleWatches int
	// Pods is how many pods the deployment scenario asks for; it needs nodes. 0 leaves it out.
	Pods int
	// Definitions is how many CustomResourceDefinitions to make, each with a schema of 20 KB. 0 leaves it out.
	Definitions int
	// Curve lists numbers of custom resources, ascending, at which CPU and memory are measured. Empty: none.
	Curve []int
	// Kinds are what the basic work is done with; "pods" stands for writes of pods whose nodes are watched, "none" leaves it
	// out. Default: all.
	Kinds []string
	// Progress is told what is being done.
	Progress func(format string, args ...any)
}

func (c *Config) complete() {
	for _, d := range []struct {
		v   *int
		def int
	}{{&c.Objects, 10_000}, {&c.Writers, 32}, {&c.Watchers, 100}, {&c.Rate, 100}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.Duration == 0 {
		c.Duration = 10 * time.Second
	}
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
}

// check refuses what cannot be measured.
func (c *Config) check() error {
	for _, n := range []struct {
		of    string
		value int
	}{
		{"objects", c.Objects}, {"writers", c.Writers}, {"watchers", c.Watchers}, {"rate", c.Rate}, {"duration", int(c.Duration)},
		{"idle watches", c.IdleWatches}, {"pods", c.Pods}, {"CRDs", c.Definitions}, {"curve", slices.Min(append([]int{0}, c.Curve...))},
	} {
		if n.value < 0 {
			return fmt.Errorf("measuring with %s at %d: it must not be negative", n.of, n.value)
		}
	}
	if !slices.IsSorted(c.Curve) {
		return fmt.Errorf("measuring a curve at %d: the numbers must ascend", c.Curve)
	}
	known := []string{"pods", "none"}
	for _, k := range kinds() {
		known = append(known, k.name)
	}
	for _, k := range c.Kinds {
		if !slices.Contains(known, k) {
			return fmt.Errorf("measuring kind %q: want of %q", k, known)
		}
	}
	return nil
}

// Run does the work and returns the figures.
func Run(ctx context.Context, c Config) (*Report, error) {
	c.complete()
	if err := c.check(); err != nil {
		return nil, err
	}
	target, err := dialKubeconfig(c.Kubeconfig, c.PIDs)
	if err != nil {
		return nil, err
	}
	r := newReport(c)
	if len(c.PIDs) > 0 {
		if err := idle(ctx, &c, target, r); err != nil {
			return r, fmt.Errorf("idle memory: %w", err)
		}
	}
	if c.IdleWatches > 0 {
		if err := idleWatches(ctx, &c, target, r); err != nil {
			return r, fmt.Errorf("idle watches: %w", err)
		}
	}
	for _, k := range kinds() {
		if len(c.Kinds) > 0 && !slices.Contains(c.Kinds, k.name) {
			continue
		}
		if err := basic(ctx, &c, target, k, r); err != nil {
			return r, fmt.Errorf("%s: %w", k.name, err)
		}
	}
	if len(c.Kinds) == 0 || slices.Contains(c.Kinds, "pods") {
		if err := nodeWatchers(ctx, &c, target, r); err != nil {
			return r, fmt.Errorf("watchers of nodes: %w", err)
		}
	}
	if c.Pods > 0 {
		if err := deployment(ctx, &c, target, r); err != nil {
			return r, fmt.Errorf("deployment: %w", err)
		}
	}
	if c.Definitions > 0 {
		if err := definitions(ctx, &c, target, r); err != nil {
			return r, fmt.Errorf("custom resource definitions: %w", err)
		}
	}
	if len(c.Curve) > 0 {
		if err := curve(ctx, &c, target, r); err != nil {
			return r, fmt.Errorf("curve: %w", err)
		}
	}
	return r, nil
}

// WriteTo writes the report as a table.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.table())
	return int64(n), err
}
