package node

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Runtime is what keeps sandboxes, containers and images on a host: package cri over the Container Runtime Interface,
// or package hollow, which only pretends. All methods may be called concurrently and give up when ctx ends.
type Runtime struct {
	Sandboxes  Sandboxes
	Containers Containers
	Images     Images
}

// Sandboxes keeps pod sandboxes and says what there is.
type Sandboxes interface {
	// Observe returns what the runtime holds of one pod, or of all pods when uid is "". Only what the runtime knows
	// is set in a PodState: identity, sandboxes, instances.
	Observe(ctx context.Context, uid types.UID) ([]PodState, error)
	// RunSandbox makes a sandbox and starts it.
	RunSandbox(ctx context.Context, pod *corev1.Pod, attempt uint32) error
	// StopSandbox ends all in the sandbox and gives its addresses back. It may be called again.
	StopSandbox(ctx context.Context, id string) error
	// RemoveSandbox removes a stopped sandbox with its containers; nothing when there is none.
	RemoveSandbox(ctx context.Context, id string) error
}

// Containers keeps containers. IDs are those of Instance.
type Containers interface {
	// Create makes a container that does not run yet.
	Create(ctx context.Context, l *Launch) (id string, err error)
	// Start lets a created container run.
	Start(ctx context.Context, id string) error
	// Stop asks a container to end and kills it after the grace period; it returns when the container has ended.
	Stop(ctx context.Context, id string, grace time.Duration) error
	// Remove removes an ended container and its logs; nothing when there is none.
	Remove(ctx context.Context, id string) error
	// Exec runs a command in a container and returns what it printed, cut to 10 KiB, and its exit code.
	Exec(ctx context.Context, id string, command []string, timeout time.Duration) (output string, code int32, err error)
}

// Images keeps images.
type Images interface {
	// Image finds an image by name or ID; nil when the host does not have it.
	Image(ctx context.Context, name string) (*Image, error)
	// Pull fetches an image, trying the credentials in turn.
	Pull(ctx context.Context, name string, credentials []Credential) (*Image, error)
	// List returns all images.
	List(ctx context.Context) ([]Image, error)
	// Remove removes an image from the host.
	Remove(ctx context.Context, id string) error
}

// Image is an image on a host.
type Image struct {
	ID    string
	Names []string // tags and digests
	Size  int64    // bytes
	// UID and User are whom the image runs as: a number, or a name that only the image's own files can resolve.
	UID  *int64
	User string
}

// Credential is a login at a registry.
type Credential struct {
	Username, Password, Auth, IdentityToken string
}

// Launch is a container about to be made.
type Launch struct {
	Pod     *corev1.Pod
	Spec    *corev1.Container
	Sandbox *Sandbox
	Attempt uint32
	Image   *Image
	Env     []Variable
	Mounts  []Mount
	Memory  int64 // of the node in bytes, to weigh requests by; 0 when not known
	// Groups are the supplemental groups that volumes ask for.
	Groups []int64
}

// Variable is an environment variable.
type Variable struct{ Name, Value string }

// Mount is a host path in a container.
type Mount struct {
	Host, Container string
	ReadOnly        bool
	Propagation     corev1.MountPropagationMode // "" for none
	Relabel         bool
}
