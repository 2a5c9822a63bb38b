package scheduler

import (
	"iter"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/client"
)

// The indexes that pods declare, which tell from the record's header what would else need its JSON.
const (
	indexNode  = "spec.nodeName"
	indexPhase = "status.phase"
)

// clusterState is what the scheduler knows of the cluster: nodes, and the pods that count on them. Its lock is held for a
// decision, so that an assumed pod is seen by the next one.
type clusterState struct {
	mu       sync.Mutex
	snapshot Snapshot
	nodes    map[string]*Node
	pods     map[string]*placed // by UID
}

func newClusterState(draw func(int) int) *clusterState {
	return &clusterState{snapshot: Snapshot{Draw: draw}, nodes: map[string]*Node{}, pods: map[string]*placed{}}
}

// replaceNodes makes the known nodes those of a listing.
func (c *clusterState) replaceNodes(recs iter.Seq[*api.Record]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	for r := range recs {
		if err := c.setNode(r); err != nil {
			return err
		}
		seen[r.Name()] = true
	}
	for name := range c.nodes {
		if !seen[name] {
			c.removeNode(name)
		}
	}
	return nil
}

func (c *clusterState) applyNode(e api.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.New == nil {
		c.removeNode(e.Old.Name())
		return nil
	}
	return c.setNode(e.New)
}

func (c *clusterState) setNode(r *api.Record) error {
	o, err := client.Decode[corev1.Node](r)
	if err != nil {
		return err
	}
	n := c.node(o.Name)
	if n.Node == nil {
		c.snapshot.Nodes = append(c.snapshot.Nodes, n)
	}
	n.set(o)
	return nil
}

// removeNode takes a node out of the snapshot. What its pods take is remembered while they exist: the node may return.
func (c *clusterState) removeNode(name string) {
	n := c.nodes[name]
	if n == nil {
		return
	}
	c.snapshot.Nodes = slices.DeleteFunc(c.snapshot.Nodes, func(m *Node) bool { return m == n })
	if n.Node = nil; n.Pods == 0 {
		delete(c.nodes, name)
	}
}

func (c *clusterState) node(name string) *Node {
	n := c.nodes[name]
	if n == nil {
		n = &Node{}
		c.nodes[name] = n
	}
	return n
}

// counts reports whether a pod takes up room on a node: it is bound and has not finished.
func counts(r *api.Record) bool {
	phase := corev1.PodPhase(r.IndexValue(indexPhase))
	return r.IndexValue(indexNode) != "" && phase != corev1.PodSucceeded && phase != corev1.PodFailed
}

// applyPod keeps the count of a pod current (D2). It reports whether room became free.
func (c *clusterState) applyPod(e api.Event) (freed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := e.Record()
	known := c.pods[r.UID()]
	switch {
	case e.New == nil || !counts(r):
		// A pod that is assumed looks unbound until its binding is seen; only its end takes it back here.
		if known == nil || known.assumed && e.New != nil && r.IndexValue(indexNode) == "" {
			return false, nil
		}
		c.remove(r.UID(), known)
		return true, nil
	case known != nil && known.node == r.IndexValue(indexNode):
		known.assumed = false // requests of a bound pod do not change
		return false, nil
	case known != nil:
		c.remove(r.UID(), known)
	}
	return known != nil, c.count(r)
}

// replacePods makes the counted pods those of a listing and the assumed ones.
func (c *clusterState) replacePods(recs iter.Seq[*api.Record]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[string]bool{}
	for r := range recs {
		if !counts(r) {
			continue
		}
		seen[r.UID()] = true
		if known := c.pods[r.UID()]; known != nil && known.node == r.IndexValue(indexNode) {
			known.assumed = false
			continue
		} else if known != nil {
			c.remove(r.UID(), known)
		}
		if err := c.count(r); err != nil {
			return err
		}
	}
	for uid, p := range c.pods {
		if !seen[uid] && !p.assumed {
			c.remove(uid, p)
		}
	}
	return nil
}

// bound is the part of a pod that counting needs.
type bound struct {
	Spec struct {
		Containers     []boundContainer    `json:"containers"`
		InitContainers []boundContainer    `json:"initContainers"`
		Overhead       corev1.ResourceList `json:"overhead"`
	} `json:"spec"`
}

type boundContainer struct {
	Name          string                         `json:"name"`
	Resources     corev1.ResourceRequirements    `json:"resources"`
	RestartPolicy *corev1.ContainerRestartPolicy `json:"restartPolicy"`
	Ports         []corev1.ContainerPort         `json:"ports"`
}

func (c *clusterState) count(r *api.Record) error {
	var b bound
	if err := json.Unmarshal(r.JSON(), &b, jsonv1.DefaultOptionsV1()); err != nil {
		return err
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Overhead: b.Spec.Overhead, Containers: containers(b.Spec.Containers), InitContainers: containers(b.Spec.InitContainers)}}
	exact, nonZero := requests(pod)
	c.add(r.UID(), &placed{key: r.Key(), node: r.IndexValue(indexNode), requests: exact, nonZero: nonZero, ports: hostPorts(pod)})
	return nil
}

func containers(bs []boundContainer) []corev1.Container {
	cs := make([]corev1.Container, len(bs))
	for i, b := range bs {
		cs[i] = corev1.Container{Name: b.Name, Resources: b.Resources, RestartPolicy: b.RestartPolicy, Ports: b.Ports}
	}
	return cs
}

func (c *clusterState) add(uid string, p *placed) {
	c.pods[uid] = p
	c.node(p.node).place(p, 1)
}

func (c *clusterState) remove(uid string, p *placed) {
	n := c.nodes[p.node]
	n.place(p, -1)
	if n.Node == nil && n.Pods == 0 {
		delete(c.nodes, p.node)
	}
	delete(c.pods, uid)
}

// decide chooses a node and counts the pod there (D1).
func (c *clusterState) decide(p *Pod, ps []Plugin) (Decision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := Decide(&c.snapshot, p, ps)
	if n := len(c.snapshot.Nodes); n > 0 {
		c.snapshot.Start = (c.snapshot.Start + d.Evaluated) % n
	}
	if err == nil && d.Node != "" {
		c.add(string(p.UID), &placed{
			key: client.KeyOf(p.Pod), node: d.Node, requests: p.Requests.clone(), nonZero: p.NonZero.clone(), ports: p.Ports, assumed: true,
		})
	}
	return d, err
}

// knows reports whether the pod counts on a node already.
func (c *clusterState) knows(uid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pods[uid] != nil
}

// forget takes an assumed pod back whose binding failed.
func (c *clusterState) forget(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pods[uid]; p != nil && p.assumed {
		c.remove(uid, p)
	}
}
