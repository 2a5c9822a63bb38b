package cri

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Written is what the containers of a pod have changed of their images, by name, in bytes on the disk.
func (r *Runtime) Written(ctx context.Context, uid types.UID) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	a, err := r.rt.ListContainerStats(ctx, &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{
		LabelSelector: map[string]string{labelPodUID: string(uid)},
	}})
	if err != nil {
		return nil, fmt.Errorf("asking what the containers of pod %s have written: %w", uid, err)
	}
	used := map[string]int64{}
	for _, s := range a.Stats {
		used[s.GetAttributes().GetLabels()[labelContainer]] += int64(s.GetWritableLayer().GetUsedBytes().GetValue())
	}
	return used, nil
}
