package cri

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"pintle.dev/node"
)

// Labels and annotations by which pods and containers are found again; upstream's names.
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelPodUID        = "io.kubernetes.pod.uid"
	labelContainer     = "io.kubernetes.container.name"
	annotationHash     = "io.kubernetes.container.hash"
	annotationRestarts = "io.kubernetes.container.restartCount"
	annotationGrace    = "io.kubernetes.pod.terminationGracePeriod"
)

// The time one call may take. Pulls and stops take what they need.
const (
	callTimeout    = 2 * time.Minute
	observeTimeout = 10 * time.Second
)

var reconnect = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// Config is what a Runtime is made from.
type Config struct {
	Socket  string // path of the runtime's socket
	LogRoot string // directory of the containers' logs
	// Seccomp is the directory of Localhost profiles.
	Seccomp string
	// DNS are the cluster's name servers for ClusterFirst pods; none leaves them with the host's.
	DNS []string
}

// Runtime speaks CRI. It implements node.Sandboxes, node.Containers and node.Images.
type Runtime struct {
	cfg    Config
	conn   *grpc.ClientConn
	rt     runtimeapi.RuntimeServiceClient
	images runtimeapi.ImageServiceClient
	// lowest is the oom_score_adj below which no container may ask: without CAP_SYS_RESOURCE the kernel refuses.
	lowest int64

	groups   hierarchy
	dividing sync.Mutex // held while the CPU is shared out

	mu         sync.Mutex
	name       string                   // "containerd"
	containers map[string]node.Instance // that will not change before their state does, by ID
	sandboxes  map[string][]string      // addresses by sandbox ID
}

// New connects to a runtime. It does not wait for the runtime to answer.
func New(cfg Config) (*Runtime, error) {
	conn, err := grpc.NewClient("unix://"+cfg.Socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A runtime that comes back is wanted back soon.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return nil, fmt.Errorf("connecting to the container runtime at %s: %w", cfg.Socket, err)
	}
	return &Runtime{
		cfg: cfg, conn: conn, rt: runtimeapi.NewRuntimeServiceClient(conn), images: runtimeapi.NewImageServiceClient(conn),
		lowest: lowestScore(), groups: host(), containers: map[string]node.Instance{}, sandboxes: map[string][]string{},
	}, nil
}

// Node is the runtime as the agent wants it.
func (r *Runtime) Node() node.Runtime {
	return node.Runtime{Sandboxes: r, Containers: r, Images: imageStore{r}}
}

// Close ends the connection; containers go on.
func (r *Runtime) Close() error { return r.conn.Close() }

// capSysResource is the bit of CAP_SYS_RESOURCE in a capability set.
const capSysResource = 24

// lowestScore is the lowest oom_score_adj this process may give to another.
func lowestScore() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1000
	}
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			if err != nil || caps&(1<<capSysResource) != 0 {
				return -1000
			}
		}
	}
	b, err = os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Health is how the runtime is: its name and version, and what is wrong with it or its network, if anything.
type Health struct {
	Name, Version    string
	Runtime, Network string // "" when in order
}

// Health asks the runtime how it is; an error means that it does not answer.
func (r *Runtime) Health(ctx context.Context) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	v, err := r.rt.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return Health{}, fmt.Errorf("asking the container runtime for its version: %w", err)
	}
	r.mu.Lock()
	r.name = v.RuntimeName
	r.mu.Unlock()
	h := Health{Name: v.RuntimeName, Version: v.RuntimeVersion}
	s, err := r.rt.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return h, fmt.Errorf("asking the container runtime for its status: %w", err)
	}
	for _, c := range s.GetStatus().GetConditions() {
		if c.Status {
			continue
		}
		switch msg := fmt.Sprintf("container runtime status check may not have completed yet: %s: %s", c.Reason, c.Message); c.Type {
		case runtimeapi.RuntimeReady:
			h.Runtime = msg
		case runtimeapi.NetworkReady:
			h.Network = fmt.Sprintf("container runtime network not ready: NetworkReady=false reason:%s message:%s", c.Reason, c.Message)
		}
	}
	return h, nil
}

// SandboxImage is the image the runtime makes sandboxes from; "" when it does not say.
func (r *Runtime) SandboxImage(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	s, err := r.rt.Status(ctx, &runtimeapi.StatusRequest{Verbose: true})
	if err != nil {
		return "", fmt.Errorf("asking the container runtime for its configuration: %w", err)
	}
	var c struct {
		SandboxImage string `json:"sandboxImage"`
	}
	if err := json.Unmarshal([]byte(s.Info["config"]), &c); err != nil {
		return "", nil // not every runtime tells
	}
	return c.SandboxImage, nil
}

// prefix is what IDs in the API start with: "containerd://".
func (r *Runtime) prefix(ctx context.Context) (string, error) {
	r.mu.Lock()
	name := r.name
	r.mu.Unlock()
	if name == "" {
		h, err := r.Health(ctx)
		if err != nil {
			return "", err
		}
		name = h.Name
	}
	return name + "://", nil
}

// bare is an ID as CRI has it.
func bare(id string) string {
	if _, after, ok := strings.Cut(id, "://"); ok {
		return after
	}
	return id
}

// Observe implements node.Sandboxes.
func (r *Runtime) Observe(ctx context.Context, uid types.UID) ([]node.PodState, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	var labels map[string]string
	if uid != "" {
		labels = map[string]string{labelPodUID: string(uid)}
	}
	ss, err := r.rt.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: labels}})
	if err != nil {
		return nil, fmt.Errorf("listing sandboxes: %w", err)
	}
	cs, err := r.rt.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: labels}})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	o := observation{r: r, pods: map[types.UID]*node.PodState{}}
	for _, s := range ss.Items {
		if err := o.sandbox(ctx, s); err != nil {
			return nil, err
		}
	}
	for _, c := range cs.Containers {
		if err := o.container(ctx, c); err != nil {
			return nil, err
		}
	}
	if uid == "" {
		r.prune(ss.Items, cs.Containers)
	}
	return o.result(), nil
}

// prune forgets what the runtime no longer has.
func (r *Runtime) prune(ss []*runtimeapi.PodSandbox, cs []*runtimeapi.Container) {
	present := make(map[string]bool, len(ss)+len(cs))
	for _, s := range ss {
		present[s.Id] = true
	}
	for _, c := range cs {
		present[c.Id] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.containers {
		if !present[id] {
			delete(r.containers, id)
		}
	}
	for id := range r.sandboxes {
		if !present[id] {
			delete(r.sandboxes, id)
		}
	}
}

// StopSandbox implements node.Sandboxes.
func (r *Runtime) StopSandbox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := r.rt.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: bare(id)}); err != nil && !absent(err) {
		return fmt.Errorf("stopping sandbox %s: %w", id, err)
	}
	return nil
}

// RemoveSandbox implements node.Sandboxes.
func (r *Runtime) RemoveSandbox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := r.rt.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: bare(id)}); err != nil && !absent(err) {
		return fmt.Errorf("removing sandbox %s: %w", id, err)
	}
	return nil
}

func absent(err error) bool { return status.Code(err) == codes.NotFound }

// Start implements node.Containers.
func (r *Runtime) Start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := r.rt.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: bare(id)}); err != nil {
		return plain(err)
	}
	return nil
}

// plain is a runtime's message without what gRPC puts in front of it, as events show it.
func plain(err error) error {
	if s, ok := status.FromError(err); ok && s.Code() == codes.Unknown {
		return fmt.Errorf("%s", s.Message())
	}
	return err
}

// Stop implements node.Containers.
func (r *Runtime) Stop(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+callTimeout)
	defer cancel()
	seconds := int64((grace + time.Second - 1) / time.Second)
	_, err := r.rt.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: bare(id), Timeout: seconds})
	if err != nil && !absent(err) {
		return fmt.Errorf("stopping container %s: %w", id, err)
	}
	return nil
}

// Remove implements node.Containers.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := r.rt.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: bare(id)})
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing container %s: %w", id, err)
	}
	if _, err := r.rt.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: bare(id)}); err != nil && !absent(err) {
		return fmt.Errorf("removing container %s: %w", id, err)
	}
	if p := s.GetStatus().GetLogPath(); p != "" {
		return removeLogs(p)
	}
	return nil
}

// execOutput is how much of a command's output is kept, in bytes.
const execOutput = 10 << 10

// Exec implements node.Containers.
func (r *Runtime) Exec(ctx context.Context, id string, command []string, timeout time.Duration) (string, int32, error) {
	seconds := int64((timeout + time.Second - 1) / time.Second)
	// It is the runtime that ends a command in time. One that has hung for a moment must not look like a command that has.
	ctx, cancel := context.WithTimeout(ctx, timeout+callTimeout)
	defer cancel()
	a, err := r.rt.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: bare(id), Cmd: command, Timeout: seconds})
	if err != nil {
		if status.Code(err) == codes.DeadlineExceeded {
			return fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(command, " "), timeout), 124, nil
		}
		return "", 0, err // as it is: the API shows it in upstream's words
	}
	out := append(a.Stdout, a.Stderr...)
	if len(out) > execOutput {
		out = out[:execOutput]
	}
	return string(out), a.ExitCode, nil
}
