// Package nodeipam gives each node that has none a range of pod addresses of its own, in spec.podCIDR: the lowest block
// of the cluster's range that no node holds. A range is free again when its node is deleted.
//
// There is no table of ranges beside the nodes: what they say is all there is, and a single worker that sees its own
// writes gives none out twice.
package nodeipam

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

// ClusterCIDR is the range of all pods, and nodeBits the length of each node's prefix; upstream's usual ones.
const (
	ClusterCIDR = "10.244.0.0/16"
	nodeBits    = 24
)

// Config says which ranges there are.
type Config struct {
	Cluster netip.Prefix // of all pods
	// Taken lists ranges that no node must be given although none holds them; nil for none.
	Taken func() []netip.Prefix
}

type allocator struct {
	client client.Client
	events *client.Recorder
	cfg    Config
}

// New returns the controller for nodes of the cluster's range. Its events are written to rec.
func New(c client.Client, cfg Config, rec *client.Recorder) *controller.Controller {
	a := &allocator{client: controller.Fresh(c), events: rec, cfg: cfg}
	return controller.New("node-ipam", a).For(api.Nodes, func(e api.Event) bool { return e.Old == nil || e.New == nil }).
		Watches(api.Nodes, a.waiting, controller.Deleted)
}

// held is what counts of a node.
type held struct {
	Spec struct {
		PodCIDR  string   `json:"podCIDR"`
		PodCIDRs []string `json:"podCIDRs"`
	} `json:"spec"`
}

// waiting are the nodes without a range when one may have become free.
func (a *allocator) waiting(api.Event) []controller.Request {
	v, err := a.client.View(context.Background(), 0)
	if err != nil {
		return nil // the stream of events has ended, too: a new one looks at all nodes
	}
	var reqs []controller.Request
	for rec := range v.All(api.Nodes, "") {
		if h, err := client.Decode[held](rec); err == nil && h.Spec.PodCIDR == "" {
			reqs = append(reqs, controller.Request{Key: rec.Key()})
		}
	}
	return reqs
}

// Reconcile implements controller.Reconciler.
func (a *allocator) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := a.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	n, err := client.Nodes.In(v, req.Key)
	if n == nil || err != nil || n.DeletionTimestamp != nil || n.Spec.PodCIDR != "" {
		return controller.Result{}, err
	}
	var taken []netip.Prefix
	if a.cfg.Taken != nil {
		taken = a.cfg.Taken()
	}
	for rec := range v.All(api.Nodes, "") {
		h, err := client.Decode[held](rec)
		if err != nil {
			return controller.Result{}, fmt.Errorf("reading the pod CIDR of node %s: %w", rec.Name(), err)
		}
		for _, s := range h.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(s); err == nil { // validation admits no other
				taken = append(taken, p)
			}
		}
	}
	free, ok := lowest(a.cfg.Cluster, taken)
	if !ok {
		a.events.Normal(client.Reference(n), "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", n.Name)
		return controller.Result{}, nil // the deletion of a node brings it here again
	}
	n.Spec.PodCIDR, n.Spec.PodCIDRs = free.String(), []string{free.String()}
	if _, err := client.Nodes.Update(ctx, a.client, n); err != nil && !api.IsNotFound(err) {
		return controller.Result{}, fmt.Errorf("giving node %s the pod CIDR %s: %w", n.Name, free, err)
	}
	return controller.Result{}, nil
}

// lowest is the first block of the cluster's range that overlaps none of those taken.
func lowest(cluster netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	base := binary.BigEndian.Uint32(cluster.Masked().Addr().AsSlice())
	used := make(map[uint32]bool, len(taken)) // blocks of which at least a part is
	var wide []netip.Prefix
	for _, p := range taken {
		switch {
		case !p.Addr().Is4():
		case p.Bits() >= nodeBits:
			used[binary.BigEndian.Uint32(p.Addr().AsSlice())>>(32-nodeBits)] = true
		default:
			wide = append(wide, p)
		}
	}
blocks:
	for i := range uint32(1) << (nodeBits - cluster.Bits()) {
		first := base + i<<(32-nodeBits)
		if used[first>>(32-nodeBits)] {
			continue
		}
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first))), nodeBits)
		for _, w := range wide {
			if w.Overlaps(p) {
				continue blocks
			}
		}
		return p, true
	}
	return netip.Prefix{}, false
}
