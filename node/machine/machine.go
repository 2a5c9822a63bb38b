// Package machine is a real node: it puts the node agent together with the machine's containerd, pod network, volumes
// and probes, and describes the machine to the API.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pintle.dev/client"
	"pintle.dev/node"
	"pintle.dev/node/cni"
	"pintle.dev/node/containerd"
	"pintle.dev/node/cri"
	"pintle.dev/node/imagegc"
	"pintle.dev/node/oci"
	"pintle.dev/node/probe"
	"pintle.dev/node/stream"
	"pintle.dev/node/volume"
)

// relist is how often containers that ended by themselves are looked for.
const relist = time.Second

// Config is what a Machine is made from.
type Config struct {
	Name   string // of the node; "" for the host's name
	Client client.Client
	// Dir keeps what belongs to the node: pods, logs, an own containerd.
	Dir string
	// Socket is the host's containerd: "" looks at the usual place, "none" always starts an own one.
	Socket string
	// IP is the node's address; "" finds the one the default route uses.
	IP string
	// PodRange returns the range of addresses that the API has given to the node's pods. It may wait until there is one,
	// and is asked again when the node's object was deleted and made anew.
	PodRange func(ctx context.Context) (string, error)
	Labels   map[string]string
	DNS      []string // the cluster's name servers, if it has any
	// Port is where the node's streaming handler is reached over TLS; 0 when only the same process reaches it.
	Port int32
}

// Machine is this machine as a node.
type Machine struct {
	cfg        Config
	containerd *containerd.Containerd
	runtime    *cri.Runtime
	agent      *node.Agent
	files      *volume.Manager
	cni        cni.Config
	images     imagegc.Collector
	handler    http.Handler
	ip         string
	remade     chan struct{} // has one when the node's object was made anew
}

// New finds or starts containerd, sees to the sandbox image and the pod network, and makes the agent. The error wraps
// containerd.ErrAbsent where there is no containerd to be had: the caller may go on with a hollow node.
func New(ctx context.Context, cfg Config) (_ *Machine, err error) {
	if cfg.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("finding the host's name: %w", err)
		}
		cfg.Name = strings.ToLower(name)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the node's directory: %w", err)
	}
	cfg.Dir = dir
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("making the node's directory: %w", err)
	}
	m := &Machine{cfg: cfg, ip: cfg.IP, remade: make(chan struct{}, 1)}
	if m.ip == "" {
		m.ip = address()
	}
	cniDir := filepath.Join(dir, "cni")
	if m.containerd, err = containerd.Start(ctx, containerd.Config{Dir: filepath.Join(dir, "containerd"), Socket: cfg.Socket, CNIDir: cniDir}); err != nil {
		return nil, err
	}
	logs := filepath.Join(dir, "log")
	if m.runtime, err = cri.New(cri.Config{Socket: m.containerd.Socket, LogRoot: logs,
		Seccomp: filepath.Join(dir, "seccomp"), DNS: cfg.DNS}); err != nil {
		return nil, errors.Join(err, m.containerd.Stop(ctx))
	}
	defer func() {
		if err != nil {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWithin)
			defer cancel()
			err = errors.Join(err, m.Close(end))
		}
	}()
	m.cni = cni.Config{Dir: cniDir, Data: leases(dir)}
	if err := m.network(ctx); err != nil {
		return nil, err
	}
	if err := m.sandboxImage(ctx); err != nil {
		return nil, err
	}
	return m, m.makeAgent(logs)
}

// leases is where the addresses in use are kept.
func leases(dir string) string { return filepath.Join(dir, "addresses") }

// Foreign are ranges of addresses that this machine uses, but not for the pods of the node whose directory is given. Pods
// with such addresses could not be reached.
func Foreign(dir string) ([]netip.Prefix, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the node's directory: %w", err)
	}
	return cni.Foreign(leases(dir))
}

// hostCNI is where a containerd of the host looks for the pod network's configuration.
const hostCNI = "/etc/cni/net.d"

// network writes the pod network's configuration: for an own containerd always, for the host's when it has none.
func (m *Machine) network(ctx context.Context) error {
	if !m.containerd.Own {
		m.cni.Dir = hostCNI
		es, err := os.ReadDir(hostCNI)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reading the pod network's configuration: %w", err)
		}
		for _, e := range es {
			if x := filepath.Ext(e.Name()); (x == ".conf" || x == ".conflist") && !strings.Contains(e.Name(), "pintle") {
				return nil
			}
		}
	}
	given, err := m.cfg.PodRange(ctx)
	if err != nil {
		return err
	}
	if old := m.cni.CIDR; old != "" && old != given {
		slog.Warn("new pods get addresses of another range; those that run keep theirs", "node", m.cfg.Name, "range", given, "before", old)
	}
	m.cni.CIDR = given
	if _, err = cni.Write(m.cni); err != nil {
		return err
	}
	if err := m.cni.RemoveFormer(); err != nil {
		slog.Warn("what is left of a former range of addresses stays", "node", m.cfg.Name, "err", err)
	}
	return nil
}

// renetworkEvery is how long to wait after a range could not be had or set up.
const renetworkEvery = 10 * time.Second

// renetwork takes the range that the node is given after its object was made anew: the old one may be another's by now.
func (m *Machine) renetwork(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.remade:
		}
		for {
			err := m.network(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			slog.Error("the range of pod addresses of a node that was deleted is not known; its pods keep the old one meanwhile", "node", m.cfg.Name, "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(renetworkEvery):
			}
		}
	}
}

// readyWithin is how long CRI may take to come up behind containerd's socket.
const readyWithin = 20 * time.Second

// sandboxImage imports the sandbox image where the runtime does not have it.
func (m *Machine) sandboxImage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		if _, err := m.runtime.Health(ctx); err == nil {
			break
		} else if ctx.Err() != nil {
			return fmt.Errorf("the container runtime at %s does not speak CRI: %w", m.containerd.Socket, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	name, err := m.runtime.SandboxImage(ctx)
	if err != nil {
		return err
	}
	if name == "" {
		name = oci.PauseName
	}
	m.images.Keep = name
	im, err := m.runtime.Node().Images.Image(ctx, name)
	if err != nil {
		return fmt.Errorf("looking for the sandbox image %s: %w", name, err)
	}
	if im != nil {
		return nil
	}
	if err := containerd.ImportPause(ctx, m.containerd.Socket, name); err != nil {
		return fmt.Errorf("bringing in the sandbox image %s: %w", name, err)
	}
	return nil
}

func (m *Machine) makeAgent(logs string) error {
	var err error
	m.files, err = volume.New(volume.Config{Root: m.cfg.Dir, Client: m.cfg.Client,
		Allocatable: func() resourceList { return m.agent.Allocatable() },
		LogDir:      func(s *node.PodState) string { return cri.LogDirOf(logs, s.Namespace, s.Name, string(s.UID)) },
		Logs:        logs,
	})
	if err != nil {
		return err
	}
	m.agent, err = node.New(node.Config{
		Name: m.cfg.Name, Client: m.cfg.Client, Runtime: m.runtime.Node(), Files: files{m.files, m.runtime}, Probe: probe.New(m.runtime),
		Written:  func(ctx context.Context, pod *corev1.Pod) (node.Written, error) { return m.written(ctx, pod, logs) },
		Describe: m.describe, Labels: m.cfg.Labels, Relist: relist,
		NoAppArmor: line("/sys/module/apparmor/parameters/enabled") != "Y",
		Remade: func() {
			select {
			case m.remade <- struct{}{}:
			default: // it is due anyway
			}
		},
	})
	if err != nil {
		return err
	}
	m.images.Images, m.images.Sandboxes = m.runtime.Node().Images, m.runtime
	m.images.Disk, m.images.Warn = m.runtime.ImageDisk, m.agent.WarnNode
	m.handler = stream.New(stream.Config{Find: m.agent.Find, Sessions: m.runtime.Sessions(),
		LogDir: func(namespace, name, uid string) string { return cri.LogDirOf(logs, namespace, name, uid) }})
	return nil
}

// Socket is the containerd in use, and Own whether Pintle runs it.
func (m *Machine) Socket() (path string, own bool) { return m.containerd.Socket, m.containerd.Own }

// rotateEvery is how often the sizes of logs are looked at.
const rotateEvery = 10 * time.Second

// Run runs the node until ctx ends. Containers go on running.
func (m *Machine) Run(ctx context.Context) error {
	if err := m.runtime.PrepareGroups(); err != nil {
		slog.Warn("the control groups of pods are not as they should be", "node", m.cfg.Name, "err", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	loops.Go(func() { m.containerd.Keep(ctx) })
	loops.Go(func() { m.renetwork(ctx) })
	loops.Go(func() { m.images.Run(ctx) })
	loops.Go(func() {
		tick := time.NewTicker(rotateEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := m.runtime.RotateLogs(ctx); err != nil && ctx.Err() == nil {
				slog.Warn("container logs not rotated", "err", err)
			}
		}
	})
	return m.agent.Run(ctx)
}

// Handler serves the node's logs, exec, attach and port-forward, as package stream describes.
func (m *Machine) Handler() http.Handler { return m.handler }

// Close lets go of the runtime. An own containerd in which nothing runs any more is ended, and what it had outside its
// directory is removed; one with containers goes on, and the next Machine finds it.
func (m *Machine) Close(ctx context.Context) error {
	if err := m.runtime.Close(); err != nil {
		slog.Warn("closing the connection to the container runtime", "err", err)
	}
	if busy, err := m.containerd.Busy(); err != nil || busy {
		return err
	}
	return errors.Join(m.containerd.Stop(ctx), m.containerd.Clean(), m.cni.Remove())
}

// Destroy ends all containers, without much ado, and closes the Machine.
func (m *Machine) Destroy(ctx context.Context) error {
	held, err := m.runtime.Observe(ctx, "")
	errs := []error{err}
	for i := range held {
		if sb := held[i].Sandbox; sb != nil {
			errs = append(errs, m.runtime.StopSandbox(ctx, sb.ID), m.runtime.RemoveSandbox(ctx, sb.ID))
		}
		errs = append(errs, (files{m.files, m.runtime}).Remove(ctx, held[i].UID, true))
	}
	return errors.Join(append(errs, m.Close(ctx))...)
}

// address is the one the default route uses, or the first that is not the host's own; "127.0.0.1" without any.
func address() string {
	// Connecting a UDP socket sends nothing: it only asks the kernel for a route.
	if c, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer c.Close()
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			return a.IP.String()
		}
	}
	as, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range as {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
				return n.IP.String()
			}
		}
	}
	return "127.0.0.1"
}
