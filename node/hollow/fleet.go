package hollow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/node"
)

// heartbeat is how often every node shows that it is there.
const heartbeat = 10 * time.Second

// together is the least time between heartbeats: what falls due within it is written at once, in one sync of the disk.
const together = 100 * time.Millisecond

// talkative is how many nodes may tell all that a node has to tell when it starts: each event is kept for an hour.
const talkative = 100

// registering is how many nodes register at a time.
const registering = 16

// Config is what a Fleet is made from.
type Config struct {
	// Client reads the pods of all the nodes.
	Client client.Client
	// ClientOf is the client with a node's own identity.
	ClientOf func(node string) client.Client
	// Nodes is how many there are; they are called Prefix-0 and so on ("hollow-" when Prefix is "").
	Nodes  int
	Prefix string
	// Names are the nodes' names, in place of Nodes and Prefix.
	Names []string
	// Labels are given to every node.
	Labels map[string]string
	// CPU, Memory and Pods are each node's capacity; "" and 0 stand for 32, 256Gi and 110.
	CPU, Memory string
	Pods        int
}

// Fleet is hollow nodes that share one stream of pods and one clock of heartbeats.
type Fleet struct {
	cfg    Config
	agents []*node.Agent
	byName map[string]*node.Agent
	ready  chan struct{}
}

// New makes a Fleet; Run brings it to life.
func New(cfg Config) (*Fleet, error) {
	if cfg.Client == nil || cfg.ClientOf == nil {
		return nil, errors.New("hollow nodes: a client is needed")
	}
	names := cfg.Names
	if len(names) == 0 {
		if cfg.Prefix == "" {
			cfg.Prefix = "hollow"
		}
		for i := range cfg.Nodes {
			names = append(names, fmt.Sprintf("%s-%d", cfg.Prefix, i))
		}
	}
	capacity, err := capacityOf(cfg)
	if err != nil {
		return nil, err
	}
	f := &Fleet{cfg: cfg, byName: make(map[string]*node.Agent, len(names)), ready: make(chan struct{})}
	for i, name := range names {
		cidr := podCIDR(i)
		rt := newFake(cidr)
		a, err := node.New(node.Config{
			Name: name, Client: cfg.ClientOf(name), Labels: cfg.Labels, PodCIDR: cidr.String(), Instant: true, Quiet: len(names) > talkative,
			Runtime:  node.Runtime{Sandboxes: rt, Containers: rt, Images: images{}},
			Describe: describe(name, hostIP(i), capacity),
		})
		if err != nil {
			return nil, err
		}
		rt.changed = a.Changed
		f.agents = append(f.agents, a)
		f.byName[name] = a
	}
	return f, nil
}

// podCIDR and hostIP give each node addresses of its own: 10.128.0.0/9 in blocks of 256, and 172.16.0.0/12.
func podCIDR(i int) netip.Prefix {
	return netip.PrefixFrom(add(netip.AddrFrom4([4]byte{10, 128, 0, 0}), uint32(i)*256), 24)
}

func hostIP(i int) string { return add(netip.AddrFrom4([4]byte{172, 16, 0, 1}), uint32(i)).String() }

func capacityOf(cfg Config) (corev1.ResourceList, error) {
	if cfg.CPU == "" {
		cfg.CPU = "32"
	}
	if cfg.Memory == "" {
		cfg.Memory = "256Gi"
	}
	if cfg.Pods == 0 {
		cfg.Pods = 110
	}
	cpu, err := resource.ParseQuantity(cfg.CPU)
	if err != nil {
		return nil, fmt.Errorf("hollow nodes: cpu %q: %w", cfg.CPU, err)
	}
	memory, err := resource.ParseQuantity(cfg.Memory)
	if err != nil {
		return nil, fmt.Errorf("hollow nodes: memory %q: %w", cfg.Memory, err)
	}
	return corev1.ResourceList{
		corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory,
		corev1.ResourcePods:             *resource.NewQuantity(int64(cfg.Pods), resource.DecimalSI),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}, nil
}

// describe fills a node's status with what a machine would have.
func describe(name, ip string, capacity corev1.ResourceList) func(context.Context, *corev1.Node) {
	return func(_ context.Context, n *corev1.Node) {
		n.Status.Capacity, n.Status.Allocatable = capacity.DeepCopy(), capacity.DeepCopy()
		n.Status.Conditions = node.Healthy()
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}, {Type: corev1.NodeHostName, Address: name}}
		n.Status.NodeInfo.ContainerRuntimeVersion = "hollow://1"
		n.Status.NodeInfo.OSImage = "hollow"
		n.Status.NodeInfo.KernelVersion = "hollow"
	}
}

// Ready is closed when all nodes have registered.
func (f *Fleet) Ready() <-chan struct{} { return f.ready }

// Run registers the nodes and runs them until ctx ends. It returns an error only when it cannot begin.
func (f *Fleet) Run(ctx context.Context) error {
	if err := f.register(ctx); err != nil {
		return err
	}
	close(f.ready)
	var loops sync.WaitGroup
	loops.Go(func() { node.Follow(ctx, f.cfg.Client, client.Options{}, f) })
	loops.Go(func() { f.beat(ctx) })
	loops.Wait()
	for _, a := range f.agents {
		loops.Go(a.Wait)
	}
	loops.Wait()
	return nil
}

func (f *Fleet) register(ctx context.Context) error {
	var all sync.WaitGroup
	errs := make([]error, len(f.agents))
	turn := make(chan struct{}, registering)
	for i, a := range f.agents {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			if errs[i] = a.Begin(ctx); errs[i] == nil {
				if err := a.Beat(ctx); err != nil && ctx.Err() == nil {
					slog.Warn("node heartbeat failed", "node", a.Name(), "err", err)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Observe implements node.Watcher: it hands an event to the node the pod is bound to.
func (f *Fleet) Observe(ev api.Event) {
	for k, v := range ev.Record().Indexes() {
		if k == "spec.nodeName" {
			if a := f.byName[v]; a != nil {
				a.Observe(ev)
			}
			return
		}
	}
}

// Settle implements node.Watcher.
func (f *Fleet) Settle(present map[types.UID]bool) {
	for _, a := range f.agents {
		a.Settle(present)
	}
}

// beat gives every node a heartbeat every 10 s, spread evenly over the time.
func (f *Fleet) beat(ctx context.Context) {
	n := len(f.agents)
	if n == 0 {
		return
	}
	tick := time.NewTicker(max(heartbeat/time.Duration(n), together))
	defer tick.Stop()
	begun, done := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := int(time.Since(begun).Seconds() * float64(n) / heartbeat.Seconds())
		if due-done > n {
			done = due - n // the machine slept: one heartbeat each is enough
		}
		var beats sync.WaitGroup
		for ; done < due; done++ {
			a := f.agents[done%n]
			beats.Go(func() {
				if err := a.Beat(ctx); err != nil && ctx.Err() == nil {
					slog.Warn("node heartbeat failed", "node", a.Name(), "err", err)
				}
			})
		}
		beats.Wait()
	}
}
