package hollow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/node"
)

// fake is the runtime of one hollow node.
type fake struct {
	changed func(types.UID)

	mu   sync.Mutex
	pods map[types.UID]*pod
	base netip.Addr // of the node's pod addresses
	free []uint32   // offsets given back
	next uint32
}

// pod is what the fake runtime holds of one pod.
type pod struct {
	sandbox    node.Sandbox
	offset     uint32 // of its address
	namespace  string
	name       string
	containers []node.Container
	fates      map[string]fate // of created containers, by ID
}

// fate is how a container ends by itself.
type fate struct {
	ends  bool
	after time.Duration
	code  int32
}

func newFake(cidr netip.Prefix) *fake {
	return &fake{pods: map[types.UID]*pod{}, base: cidr.Addr(), next: 2, changed: func(types.UID) {}}
}

// Observe implements node.Sandboxes.
func (f *fake) Observe(_ context.Context, uid types.UID) ([]node.PodState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if uid != "" {
		p := f.pods[uid]
		if p == nil {
			return nil, nil
		}
		return []node.PodState{p.state(uid)}, nil
	}
	all := make([]node.PodState, 0, len(f.pods))
	for uid, p := range f.pods {
		all = append(all, p.state(uid))
	}
	return all, nil
}

// state is a copy of what there is of a pod.
func (p *pod) state(uid types.UID) node.PodState {
	s := p.sandbox
	st := node.PodState{UID: uid, Namespace: p.namespace, Name: p.name, Sandbox: &s}
	st.Containers = make([]node.Container, len(p.containers))
	for i, c := range p.containers {
		st.Containers[i] = node.Container{Name: c.Name, Instances: slices.Clone(c.Instances)}
	}
	return st
}

// RunSandbox implements node.Sandboxes.
func (f *fake) RunSandbox(_ context.Context, want *corev1.Pod, attempt uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pods[want.UID]
	if p == nil {
		p = &pod{namespace: want.Namespace, name: want.Name}
		f.pods[want.UID] = p
	}
	p.sandbox = node.Sandbox{ID: "hollow://" + string(want.UID), Ready: true, Attempt: attempt, Created: time.Now()}
	if !want.Spec.HostNetwork {
		p.offset = f.take()
		p.sandbox.IPs = []string{add(f.base, p.offset).String()}
	}
	return nil
}

// take finds a free address offset: one that has been given back, oldest first, or a new one.
func (f *fake) take() uint32 {
	if n := len(f.free); n > 64 {
		o := f.free[0]
		f.free = f.free[1:]
		return o
	}
	f.next++
	return f.next - 1
}

func add(a netip.Addr, n uint32) netip.Addr {
	b := a.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(b)
}

// StopSandbox implements node.Sandboxes. A stopped sandbox without a pod is all forgotten by RemoveSandbox.
func (f *fake) StopSandbox(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pods[uidOf(id)]
	if p == nil || !p.sandbox.Ready {
		return nil
	}
	p.sandbox.Ready, p.sandbox.IPs = false, nil
	if p.offset != 0 {
		f.free, p.offset = append(f.free, p.offset), 0
	}
	now := time.Now()
	for i := range p.containers {
		for j := range p.containers[i].Instances {
			if in := &p.containers[i].Instances[j]; in.Phase == node.Running {
				end(in, now, 137, "Error")
			}
		}
	}
	return nil
}

// RemoveSandbox implements node.Sandboxes.
func (f *fake) RemoveSandbox(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods, uidOf(id))
	return nil
}

// uidOf is the pod of a sandbox or container ID: "hollow://UID" or "hollow://UID/NAME/ATTEMPT".
func uidOf(id string) types.UID {
	id = strings.TrimPrefix(id, "hollow://")
	uid, _, _ := strings.Cut(id, "/")
	return types.UID(uid)
}

// Create implements node.Containers.
func (f *fake) Create(_ context.Context, l *node.Launch) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pods[l.Pod.UID]
	if p == nil || !p.sandbox.Ready {
		return "", fmt.Errorf("creating container %s: pod %s/%s has no sandbox", l.Spec.Name, l.Pod.Namespace, l.Pod.Name)
	}
	id := "hollow://" + string(l.Pod.UID) + "/" + l.Spec.Name + "/" + strconv.FormatUint(uint64(l.Attempt), 10)
	in := node.Instance{ID: id, Image: l.Spec.Image, ImageID: l.Image.ID, Phase: node.Created, Attempt: l.Attempt,
		Hash: node.Hash(l.Spec), Created: time.Now()}
	if ft := destiny(l.Pod, l.Spec); ft.ends {
		if p.fates == nil {
			p.fates = map[string]fate{}
		}
		p.fates[id] = ft
	}
	c := p.container(l.Spec.Name)
	c.Instances = slices.Insert(c.Instances, 0, in)
	return id, nil
}

func (p *pod) container(name string) *node.Container {
	for i := range p.containers {
		if p.containers[i].Name == name {
			return &p.containers[i]
		}
	}
	p.containers = append(p.containers, node.Container{Name: name})
	return &p.containers[len(p.containers)-1]
}

// instance finds a container by ID; nil when there is none. The caller holds mu.
func (f *fake) instance(id string) (*pod, *node.Instance) {
	p := f.pods[uidOf(id)]
	if p == nil {
		return nil, nil
	}
	for i := range p.containers {
		for j := range p.containers[i].Instances {
			if in := &p.containers[i].Instances[j]; in.ID == id {
				return p, in
			}
		}
	}
	return p, nil
}

// Start implements node.Containers.
func (f *fake) Start(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, in := f.instance(id)
	if in == nil {
		return fmt.Errorf("starting container %s: there is none", id)
	}
	in.Phase, in.Started = node.Running, time.Now()
	if ft, ok := p.fates[id]; ok {
		delete(p.fates, id)
		time.AfterFunc(ft.after, func() { f.exit(id, ft.code) })
	}
	return nil
}

// exit ends a container by itself.
func (f *fake) exit(id string, code int32) {
	f.mu.Lock()
	_, in := f.instance(id)
	if in == nil || in.Phase != node.Running {
		f.mu.Unlock()
		return
	}
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	end(in, time.Now(), code, reason)
	f.mu.Unlock()
	f.changed(uidOf(id))
}

func end(in *node.Instance, at time.Time, code int32, reason string) {
	in.Phase, in.Finished, in.ExitCode, in.Reason = node.Exited, at, code, reason
}

// Stop implements node.Containers. A fake container ends at once, and well.
func (f *fake) Stop(_ context.Context, id string, _ time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, in := f.instance(id); in != nil && in.Phase == node.Running {
		end(in, time.Now(), 0, "Completed")
	}
	return nil
}

// Remove implements node.Containers.
func (f *fake) Remove(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pods[uidOf(id)]; p != nil {
		for i := range p.containers {
			c := &p.containers[i]
			c.Instances = slices.DeleteFunc(c.Instances, func(in node.Instance) bool { return in.ID == id })
		}
	}
	return nil
}

// ErrHollow is what can only be had from a real container.
var ErrHollow = errors.New("this is a hollow node: its containers do not really run")

// Exec implements node.Containers.
func (f *fake) Exec(context.Context, string, []string, time.Duration) (string, int32, error) {
	return "", 0, ErrHollow
}

// destiny reads from a pod how a container ends.
func destiny(p *corev1.Pod, c *corev1.Container) fate {
	if s, ok := p.Annotations["hollow.pintle.dev/run-for"]; ok {
		if d, err := time.ParseDuration(s); err == nil {
			code, _ := strconv.ParseInt(p.Annotations["hollow.pintle.dev/exit-code"], 10, 32) // absent or malformed: 0
			return fate{true, d, int32(code)}
		}
	}
	words := append(slices.Clone(c.Command), c.Args...)
	if len(words) >= 3 && (words[0] == "sh" || words[0] == "/bin/sh") && words[1] == "-c" {
		words = strings.Fields(words[2])
	}
	if len(words) == 0 || len(words) > 2 {
		return fate{}
	}
	var n int64
	if len(words) == 2 {
		var err error
		if n, err = strconv.ParseInt(words[1], 10, 32); err != nil {
			return fate{}
		}
	}
	switch strings.TrimPrefix(words[0], "/bin/") {
	case "true":
		return fate{ends: true}
	case "false":
		return fate{ends: true, code: 1}
	case "exit":
		return fate{ends: true, code: int32(n)}
	case "sleep":
		return fate{ends: true, after: time.Duration(n) * time.Second}
	}
	return fate{}
}

// images is every image there is: each is already present.
type images struct{}

func (images) Image(_ context.Context, name string) (*node.Image, error) {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &node.Image{ID: "hollow@" + strconv.FormatUint(h.Sum64(), 16), Names: []string{name}}, nil
}

func (i images) Pull(ctx context.Context, name string, _ []node.Credential) (*node.Image, error) {
	return i.Image(ctx, name)
}

func (images) List(context.Context) ([]node.Image, error)   { return nil, nil }
func (images) Remove(_ context.Context, image string) error { return nil }
