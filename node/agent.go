package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
)

// Config is what an Agent is made from.
type Config struct {
	Name    string // of the node
	Client  client.Client
	Runtime Runtime
	// Files keeps the pods' directories and volumes on the host; nil for a runtime that needs none.
	Files Files
	// Describe fills the node's status: capacity, conditions, addresses. It is asked every 10 s.
	Describe func(ctx context.Context, n *corev1.Node)
	Labels   map[string]string
	// PodCIDR is the range of the pods' addresses where it is the node's own to choose: one that nobody else is given.
	// "" leaves it to the cluster.
	PodCIDR string
	// Remade is told when the node's object is another than before: somebody has deleted it, and it was made anew. nil
	// tells nobody.
	Remade func()
	// Probe runs probes; nil takes every probe for a success.
	Probe Prober
	// Written measures what a pod has written to the host's disk; nil where nothing is written.
	Written func(ctx context.Context, pod *corev1.Pod) (Written, error)
	// NoAppArmor says that the host cannot confine containers with AppArmor: pods that ask for it are refused.
	NoAppArmor bool
	// Instant says that the runtime's work takes no time: only its outcome is reported.
	Instant bool
	// Relist is how often the runtime is asked what has changed by itself; 0 when it tells through Agent.Changed.
	Relist time.Duration
	// Recorder writes the agent's events; nil for one of its own.
	Recorder *client.Recorder
	// Quiet leaves events about the node to its start and its readiness: for nodes by the hundred.
	Quiet bool
}

// Files is what a pod needs of the host's file system; package volume implements it.
type Files interface {
	// SetUp makes the pod's directory and volumes. Errors are worded as the pod's FailedMount event.
	SetUp(ctx context.Context, pod *corev1.Pod) error
	// Mounts are the mounts of one container, prepared for its attempt, and the groups its volumes ask for.
	Mounts(ctx context.Context, l *Launch) ([]Mount, []int64, error)
	// Refresh brings volumes whose content follows the API up to date.
	Refresh(ctx context.Context, pod *corev1.Pod) error
	// Message is what an ended container left in its termination message file. spec is nil when it is not known.
	Message(s *PodState, spec *corev1.Container, in *Instance) string
	// Remove removes the pod's volumes, and with all set everything else that is left of it: its directory, its logs.
	Remove(ctx context.Context, uid types.UID, all bool) error
	// Present lists the pods of which anything is left.
	Present() ([]types.UID, error)
}

// Agent runs the pods of one node.
type Agent struct {
	cfg    Config
	events *client.Recorder
	start  time.Time

	mu       sync.Mutex
	ctx      context.Context
	pods     map[types.UID]*entry
	used     usage
	node     *corev1.Node // as the API has it; replaced, never changed
	reported time.Time    // when the node's status was last written
	lease    leaseState

	announced bool // of the goroutine that writes the node's status
	work      sync.WaitGroup
}

// New makes an Agent. It does nothing before Run, or before Begin where a fleet drives it.
func New(cfg Config) (*Agent, error) {
	if cfg.Name == "" || cfg.Client == nil || cfg.Runtime.Sandboxes == nil || cfg.Runtime.Containers == nil || cfg.Runtime.Images == nil {
		return nil, errors.New("node agent: a name, a client and a runtime are needed")
	}
	a := &Agent{cfg: cfg, events: cfg.Recorder, start: time.Now(), pods: map[types.UID]*entry{}}
	if a.events == nil {
		a.events = client.NewRecorder(cfg.Client, "kubelet", cfg.Name)
	}
	return a, nil
}

// Name is the node's name.
func (a *Agent) Name() string { return a.cfg.Name }

// Run registers the node and runs its pods until ctx ends. Containers go on running afterwards. It returns an error
// only when it cannot begin.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.Begin(ctx); err != nil {
		return err
	}
	var loops sync.WaitGroup
	loops.Go(func() { a.heartbeats(ctx) })
	loops.Go(func() {
		Follow(ctx, a.cfg.Client, client.Options{Index: api.Index{Name: "spec.nodeName", Value: a.cfg.Name}}, a)
	})
	if a.cfg.Relist > 0 {
		loops.Go(func() { a.relist(ctx) })
	}
	if a.cfg.Files != nil {
		loops.Go(func() { a.refresh(ctx) })
	}
	if a.cfg.Written != nil {
		loops.Go(func() { a.evict(ctx) })
	}
	loops.Wait()
	a.Wait()
	return nil
}

// Begin registers the node and takes stock of what already runs. Events given to Observe act from then on, until ctx
// ends.
func (a *Agent) Begin(ctx context.Context) error {
	a.mu.Lock()
	a.ctx = ctx
	a.mu.Unlock()
	if err := a.register(ctx); err != nil {
		return fmt.Errorf("registering node %s: %w", a.cfg.Name, err)
	}
	held, err := a.cfg.Runtime.Sandboxes.Observe(ctx, "")
	if err != nil {
		slog.Warn("container runtime does not answer; its pods are adopted when it does", "node", a.cfg.Name, "err", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range held {
		a.pods[s.UID] = a.inherit(s)
	}
	if a.cfg.Files == nil {
		return nil
	}
	dirs, err := a.cfg.Files.Present()
	if err != nil {
		return fmt.Errorf("reading pod directories: %w", err)
	}
	for _, uid := range dirs {
		if a.pods[uid] == nil {
			a.pods[uid] = a.inherit(PodState{UID: uid})
		}
	}
	return nil
}

// inherit makes the entry of a pod that another agent began with. Only where its sandbox still runs is it sure that its
// volumes are whole: that agent may have failed to set them up, and the machine may have started anew since, which leaves
// nothing of what was mounted.
func (a *Agent) inherit(s PodState) *entry {
	s.Adopted, s.Volumes = true, true
	s.Left = a.cfg.Files != nil && (s.Sandbox == nil || !s.Sandbox.Ready)
	return a.newEntry(s)
}

// lastEvents is how long the end of an agent waits for its last events to be written.
const lastEvents = 2 * time.Second

// Wait returns when no pod is being worked on, soon after the context given to Begin has ended, and the last events
// have been written.
func (a *Agent) Wait() {
	a.work.Wait()
	if a.cfg.Recorder != nil {
		return // its owner closes it
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastEvents)
	defer cancel()
	if err := a.events.Close(ctx); err != nil {
		slog.Warn("events of the node are lost", "node", a.cfg.Name, "err", err)
	}
}

// Observe takes one event of a pod that is, or was, bound to this node.
func (a *Agent) Observe(ev api.Event) {
	rec := ev.Record()
	uid := types.UID(rec.UID())
	a.mu.Lock()
	e := a.pods[uid]
	if e == nil {
		if ev.New == nil {
			a.mu.Unlock()
			return
		}
		e = a.newEntry(PodState{UID: uid, Namespace: rec.Namespace(), Name: rec.Name(), Volumes: a.cfg.Files == nil})
		a.pods[uid] = e
	}
	a.mu.Unlock()
	e.seen(ev.New)
}

// Settle ends an initial list: pods known here that present does not name have left the API.
func (a *Agent) Settle(present map[types.UID]bool) {
	a.mu.Lock()
	var gone []*entry
	for uid, e := range a.pods {
		if !present[uid] {
			gone = append(gone, e)
		}
	}
	a.mu.Unlock()
	for _, e := range gone {
		e.seen(nil)
	}
}

// Changed tells that the runtime's state of a pod has changed by itself.
func (a *Agent) Changed(uid types.UID) {
	a.mu.Lock()
	e := a.pods[uid]
	a.mu.Unlock()
	if e != nil {
		e.poke(func(*PodState) {})
	}
}

// relist finds containers that ended, or sandboxes that vanished, without the agent's doing.
func (a *Agent) relist(ctx context.Context) {
	last := map[types.UID]string{}
	tick := time.NewTicker(a.cfg.Relist)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held, err := a.cfg.Runtime.Sandboxes.Observe(ctx, "")
		if err != nil {
			continue // the node's Ready condition reports it
		}
		now := make(map[types.UID]string, len(held))
		for i := range held {
			now[held[i].UID] = held[i].fingerprint()
			a.adopt(&held[i])
		}
		for uid, f := range now {
			if last[uid] != f {
				a.Changed(uid)
			}
		}
		for uid := range last {
			if _, ok := now[uid]; !ok {
				a.Changed(uid)
			}
		}
		last = now
	}
}

// adopt takes over a pod of the runtime that the agent does not know: one that was there when the runtime came back.
func (a *Agent) adopt(s *PodState) {
	a.mu.Lock()
	if a.pods[s.UID] != nil {
		a.mu.Unlock()
		return
	}
	e := a.inherit(*s)
	a.pods[s.UID] = e
	a.mu.Unlock()
	rec, err := a.cfg.Client.Get(a.ctx, api.Pods, api.Key{Namespace: s.Namespace, Name: s.Name})
	switch {
	case err == nil && rec.UID() == string(s.UID):
		e.seen(rec)
	case err == nil || api.IsNotFound(err):
		e.seen(nil)
	}
}

// refreshPeriod is how long a container may see the former content of a ConfigMap, a Secret or its pod's metadata. With
// upstream it is a minute or more.
const refreshPeriod = 10 * time.Second

// refresh brings the contents of volumes up to date.
func (a *Agent) refresh(ctx context.Context) {
	tick := time.NewTicker(refreshPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, e := range a.entries() {
			pod, err := e.pod()
			if err != nil || pod == nil || !e.hasVolumes() {
				continue
			}
			if err := a.cfg.Files.Refresh(ctx, pod); err != nil && ctx.Err() == nil {
				for _, m := range messages(err) {
					a.tell(pod, "", corev1.EventTypeWarning, "FailedMount", m)
				}
			}
		}
	}
}

func (a *Agent) entries() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	es := make([]*entry, 0, len(a.pods))
	for _, e := range a.pods {
		es = append(es, e)
	}
	return es
}

// tell records an event about a pod, or about one of its containers.
func (a *Agent) tell(pod *corev1.Pod, container, kind, reason, message string) {
	ref := corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name,
		UID: pod.UID, ResourceVersion: pod.ResourceVersion}
	if container != "" {
		ref.FieldPath = "spec.containers{" + container + "}"
		for i := range pod.Spec.InitContainers {
			if pod.Spec.InitContainers[i].Name == container {
				ref.FieldPath = "spec.initContainers{" + container + "}"
			}
		}
	}
	if kind == corev1.EventTypeWarning {
		a.events.Warning(ref, reason, "%s", message)
		return
	}
	a.events.Normal(ref, reason, "%s", message)
}
