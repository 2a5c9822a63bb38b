package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A container's log is rotated when it passes largestLog bytes; keptLogs files of it are kept, the present one
// included. Upstream's defaults.
const (
	largestLog = 10 << 20
	keptLogs   = 5
)

// RotateLogs rotates the logs of running containers that have grown too large. It is to be called every 10 s or so.
func (r *Runtime) RotateLogs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cs, err := r.rt.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil {
		return fmt.Errorf("listing containers to rotate their logs: %w", err)
	}
	var errs []error
	for _, c := range cs.Containers {
		l := c.Labels
		path := filepath.Join(LogDirOf(r.cfg.LogRoot, l[labelPodNamespace], l[labelPodName], l[labelPodUID]),
			l[labelContainer], fmt.Sprint(c.GetMetadata().GetAttempt())+".log")
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && st.Size() >= largestLog {
			err = r.rotate(ctx, c.Id, path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rotating %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Runtime) rotate(ctx context.Context, id, path string) error {
	old, err := filepath.Glob(path + ".*")
	if err != nil {
		return err
	}
	slices.Sort(old) // by time
	for len(old) > keptLogs-2 {
		if err := os.Remove(old[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		old = old[1:]
	}
	to := path + "." + time.Now().UTC().Format("20060102-150405")
	if err := os.Rename(path, to); err != nil {
		return err
	}
	if _, err := r.rt.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id}); err != nil {
		// The container still writes to the renamed file: give it its name back.
		return errors.Join(err, os.Rename(to, path))
	}
	return nil
}
