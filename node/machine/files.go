package machine

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/node/cri"
	"pintle.dev/node/volume"
)

// files is what pods have of the host: volumes, and control groups, which the kernel shows as directories.
type files struct {
	*volume.Manager
	runtime *cri.Runtime
}

// Remove implements node.Files. A pod's directory goes after its control groups: as long as there is one, the next agent
// knows that something of the pod is left.
func (f files) Remove(ctx context.Context, uid types.UID, all bool) error {
	if err := f.runtime.RemoveGroups(uid); err != nil {
		return err
	}
	return f.Manager.Remove(ctx, uid, all)
}
