// Package podgc removes pods that nobody else will: those of nodes that are gone, those that were never scheduled and
// are being deleted, those stuck on a node that is declared out of service, and the oldest of too many that have ended.
package podgc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	period = 20 * time.Second
	// quarantine is how long a node must have been missing before its pods are removed, so that a node that is
	// replaced under its name keeps them.
	quarantine = 40 * time.Second
	// TerminatedThreshold is how many ended pods are kept (--terminated-pod-gc-threshold).
	TerminatedThreshold = 12500

	outOfService = "node.kubernetes.io/out-of-service"
	byNode       = "spec.nodeName"
)

type collector struct {
	client    client.Client
	threshold int
	missing   map[string]time.Time // nodes that pods name and that are gone: since when
}

// New returns the controller. It keeps at most threshold pods that have ended; 0 or less keeps all.
func New(c client.Client, threshold int) *controller.Controller {
	g := &collector{controller.Fresh(c), threshold, map[string]time.Time{}}
	return controller.New("pod-garbage-collector", nil).Also(g.run)
}

func (g *collector) run(ctx context.Context) error {
	for {
		if err := g.collect(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Warn("pod garbage collection failed, trying again", "in", period, "err", err)
		}
		select {
		case <-time.After(period):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pod is what is read of the few pods that may be removed.
type pod struct {
	rec      *api.Record
	Metadata struct {
		UID               types.UID    `json:"uid"`
		CreationTimestamp metav1.Time  `json:"creationTimestamp"`
		DeletionTimestamp *metav1.Time `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Phase      corev1.PodPhase       `json:"phase"`
		Reason     string                `json:"reason"`
		Conditions []corev1.PodCondition `json:"conditions"`
	} `json:"status"`
}

// collect looks at all pods once. Most are passed by without being decoded.
func (g *collector) collect(ctx context.Context, now time.Time) error {
	v, err := g.client.View(ctx, 0)
	if err != nil {
		return err
	}
	var ended []*pod
	var failures []error
	seen := map[string]bool{}
	remove := func(rec *api.Record, why string) {
		p, err := client.Decode[pod](rec)
		if err == nil {
			p.rec = rec
			err = g.remove(ctx, p, why)
		}
		if err != nil {
			failures = append(failures, err)
		}
	}
	for rec := range v.All(api.Pods, "") {
		node, phase := rec.IndexValue(byNode), corev1.PodPhase(rec.IndexValue("status.phase"))
		switch {
		case phase == corev1.PodSucceeded || phase == corev1.PodFailed:
			if g.threshold > 0 {
				p, err := client.Decode[pod](rec)
				if err != nil {
					return err
				}
				p.rec = rec
				ended = append(ended, p)
			}
		case node == "":
			if rec.Is(api.Deleting) {
				remove(rec, "")
			}
			continue
		}
		if node == "" {
			continue
		}
		there := v.Get(api.Nodes, api.Key{Name: node})
		switch {
		case there == nil:
			seen[node] = true
			gone, err := g.gone(ctx, node, now)
			if err != nil {
				failures = append(failures, err)
			} else if gone {
				remove(rec, "PodGC: node no longer exists")
			}
		case rec.Is(api.Deleting) && lost(there):
			remove(rec, "PodGC: node is out of service")
		}
	}
	for node := range g.missing {
		if !seen[node] {
			delete(g.missing, node)
		}
	}
	slices.SortFunc(ended, func(a, b *pod) int {
		evicted := func(p *pod) int {
			if p.Status.Reason == "Evicted" {
				return 0
			}
			return 1
		}
		return cmp.Or(evicted(a)-evicted(b), a.Metadata.CreationTimestamp.Compare(b.Metadata.CreationTimestamp.Time), a.rec.Key().Compare(b.rec.Key()))
	})
	for _, p := range ended[:max(0, len(ended)-g.threshold)] {
		if err := g.remove(ctx, p, ""); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// gone reports whether a node has been missing for the quarantine, and still is when the API is asked.
func (g *collector) gone(ctx context.Context, node string, now time.Time) (bool, error) {
	since, ok := g.missing[node]
	if !ok {
		g.missing[node] = now
		return false, nil
	}
	if now.Sub(since) < quarantine {
		return false, nil
	}
	_, err := g.client.Get(ctx, api.Nodes, api.Key{Name: node})
	if err == nil {
		delete(g.missing, node)
		return false, nil
	}
	if !api.IsNotFound(err) {
		return false, fmt.Errorf("looking for node %s: %w", node, err)
	}
	return true, nil
}

// lost reports whether a node is not ready and declared out of service, which is a promise that its pods do not run.
func lost(rec *api.Record) bool {
	n, err := client.Nodes.Decode(rec)
	if err != nil {
		return false
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == outOfService })
}

// remove deletes a pod at once. One that had not ended is marked as failed before, with why as the disruption's
// message.
func (g *collector) remove(ctx context.Context, p *pod, why string) error {
	k := p.rec.Key()
	if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed && why != "" {
		conditions := slices.DeleteFunc(slices.Clone(p.Status.Conditions), func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
		conditions = append(conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByPodGC", Message: why, LastTransitionTime: metav1.Now(),
		})
		patch, err := client.MergePatch(map[string]any{
			"metadata": map[string]any{"uid": p.Metadata.UID},
			"status":   map[string]any{"phase": corev1.PodFailed, "conditions": conditions},
		})
		if err != nil {
			return err
		}
		patch.Subresource = "status"
		if _, err := client.Pods.Patch(ctx, g.client, k, patch); err != nil && !api.IsNotFound(err) {
			return fmt.Errorf("marking pod %s as failed: %w", k, err)
		}
	}
	options := client.IfUID(p.Metadata.UID)
	options.GracePeriodSeconds = new(int64)
	if _, err := client.Pods.Delete(ctx, g.client, k, options); err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("deleting pod %s: %w", k, err)
	}
	return nil
}
