package endpointslice

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	mirroredBy         = "endpointslicemirroring-controller.k8s.io"
	mirroredPerSubset  = 1000                                       // addresses; the rest is left out
	leaderElectionNote = "control-plane.alpha.kubernetes.io/leader" // on Endpoints that were a lock once
)

type mirror struct {
	client client.Client
	events *client.Recorder
	slices *controller.Projection[discoveryv1.EndpointSlice]
}

// NewMirroring returns the controller of the EndpointSlices of Services without a selector: they follow the Endpoints that
// somebody made. Its events are written to rec.
func NewMirroring(c client.Client, rec *client.Recorder) *controller.Controller {
	m := &mirror{client: controller.Fresh(c), events: rec, slices: controller.NewProjection[discoveryv1.EndpointSlice]()}
	return controller.New("endpointslicemirroring", m).For(api.Endpoints).
		Watches(api.Services, func(e api.Event) []controller.Request { return []controller.Request{{Key: e.Record().Key()}} }).
		Watches(api.EndpointSlices, services(mirroredBy)).Workers(5).Coalesce(interval)
}

// Reconcile implements controller.Reconciler.
func (m *mirror) Reconcile(ctx context.Context, req controller.Request) (controller.Result, error) {
	v, err := m.client.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	existing, err := slicesOf(v, m.slices, req.Key, mirroredBy)
	if err != nil {
		return controller.Result{}, err
	}
	e, err := mirrored(v, req.Key)
	if err != nil {
		return controller.Result{}, err
	}
	if e == nil {
		m.slices.Forget(req.Key.String())
		w := writer{client: m.client}
		return controller.Result{}, w.write(ctx, changes{remove: existing})
	}
	groups, skipped := mirroredGroups(e)
	if skipped > 0 {
		m.events.Warning(client.Reference(e), "TooManyAddressesToMirror",
			"A max of %d addresses can be mirrored to EndpointSlices per Endpoints subset. %d addresses were skipped", mirroredPerSubset, skipped)
	}
	owner := controller.Owner{APIVersion: "v1", Kind: "Endpoints", Object: e}
	w := writer{client: m.client, ending: e.DeletionTimestamp != nil}
	if err := w.write(ctx, plan(mirrorSource(e, owner.Reference()), groups, existing)); err != nil {
		return controller.Result{}, fmt.Errorf("mirroring Endpoints %s: %w", req.Key, err)
	}
	return controller.Result{}, nil
}

// mirrored are the Endpoints of a Service that are to be mirrored; nil when there are none. Those of Services with a
// selector, which are many and large, are not decoded.
func mirrored(v client.View, key api.Key) (*corev1.Endpoints, error) {
	rec := v.Get(api.Endpoints, key)
	if rec == nil || rec.Get(discoveryv1.LabelSkipMirror) == "true" {
		return nil, nil
	}
	svc, err := client.Services.In(v, key)
	if svc == nil || err != nil || svc.Spec.Selector != nil {
		return nil, err
	}
	e, err := client.Endpoints.Decode(rec)
	if err != nil {
		return nil, err
	}
	if _, lock := e.Annotations[leaderElectionNote]; lock {
		return nil, nil
	}
	return e, nil
}

// mirrorSource is Endpoints as a source: their labels and annotations are those of the slices.
func mirrorSource(e *corev1.Endpoints, owner metav1.OwnerReference) *source {
	s := &source{
		namespace: e.Namespace, name: e.Name, owner: owner, limit: mirroredPerSubset,
		labels: map[string]string{}, annotations: map[string]string{},
	}
	maps.Copy(s.labels, e.Labels)
	s.labels[discoveryv1.LabelServiceName], s.labels[discoveryv1.LabelManagedBy] = e.Name, mirroredBy
	maps.Copy(s.annotations, e.Annotations)
	delete(s.annotations, corev1.EndpointsLastChangeTriggerTime)
	delete(s.annotations, corev1.LastAppliedConfigAnnotation)
	return s
}

// mirroredGroups are the endpoints of Endpoints, and how many of a subset's are too many.
func mirroredGroups(e *corev1.Endpoints) (groups []group, skipped int) {
	for _, s := range repack(e.Subsets) {
		if n := len(s.addresses); n > mirroredPerSubset {
			skipped += n - mirroredPerSubset
			s.addresses = s.addresses[:mirroredPerSubset]
		}
		for _, t := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			g := group{addressType: t, ports: s.ports}
			for _, a := range s.addresses {
				if typeOf(a.IP) == t {
					g.endpoints = append(g.endpoints, a.endpoint())
				}
			}
			if len(g.endpoints) > 0 {
				groups = append(groups, g)
			}
		}
	}
	return groups, skipped
}

// subset is addresses that serve the same ports.
type subset struct {
	ports     []discoveryv1.EndpointPort
	addresses []address // those that are ready first
}

type address struct {
	*corev1.EndpointAddress
	ready bool
}

func (a address) endpoint() discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{
		Addresses:  []string{netutils.ParseIPSloppy(a.IP).String()},
		Conditions: discoveryv1.EndpointConditions{Ready: &a.ready},
		TargetRef:  a.TargetRef, NodeName: a.NodeName,
	}
	if a.Hostname != "" {
		e.Hostname = &a.Hostname
	}
	return e
}

// repack brings subsets into upstream's canonical form: ports with the same addresses are in one subset, and each port is
// in one only. An address that a port has as both ready and not is not.
func repack(subsets []corev1.EndpointSubset) []subset {
	type who struct{ ip, uid string }
	known := map[who]*corev1.EndpointAddress{} // the first of each
	type served struct {
		port      discoveryv1.EndpointPort
		none      bool // stands for the addresses without ports
		addresses map[*corev1.EndpointAddress]bool
	}
	var list []*served
	byPort := map[string]*served{}
	note := func(port []discoveryv1.EndpointPort, addresses []corev1.EndpointAddress, ready bool) {
		key := portsKey(port)
		s := byPort[key]
		if s == nil {
			s = &served{none: len(port) == 0, addresses: map[*corev1.EndpointAddress]bool{}}
			if !s.none {
				s.port = port[0]
			}
			byPort[key] = s
			list = append(list, s)
		}
		for i := range addresses {
			a := &addresses[i]
			id := who{ip: a.IP}
			if a.TargetRef != nil {
				id.uid = string(a.TargetRef.UID)
			}
			if known[id] == nil {
				known[id] = a
			}
			a = known[id]
			if was, found := s.addresses[a]; !found || was {
				s.addresses[a] = ready
			}
		}
	}
	for i := range subsets {
		ss := &subsets[i]
		ports := make([][]discoveryv1.EndpointPort, max(1, len(ss.Ports)))
		for j := range ss.Ports {
			p := &ss.Ports[j]
			ports[j] = []discoveryv1.EndpointPort{{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol}}
		}
		for _, port := range ports {
			note(port, ss.Addresses, true)
			note(port, ss.NotReadyAddresses, false)
		}
	}
	var out []subset
	at := map[string]int{} // in out, by addresses
	for _, s := range list {
		var addresses []address
		for a, ready := range s.addresses {
			addresses = append(addresses, address{a, ready})
		}
		slices.SortFunc(addresses, compareAddresses)
		var key strings.Builder
		for _, a := range addresses {
			fmt.Fprintf(&key, "%p %t,", a.EndpointAddress, a.ready)
		}
		i, ok := at[key.String()]
		if !ok {
			i = len(out)
			at[key.String()] = i
			out = append(out, subset{ports: []discoveryv1.EndpointPort{}, addresses: addresses})
		}
		if !s.none {
			out[i].ports = append(out[i].ports, s.port)
		}
	}
	for _, s := range out {
		sortPorts(s.ports)
	}
	return out
}

// compareAddresses orders those that are ready first, then by address and by what they are of.
func compareAddresses(a, b address) int {
	if a.ready != b.ready {
		if a.ready {
			return -1
		}
		return 1
	}
	uid := func(a address) string { return string(ptr.Deref(a.TargetRef, corev1.ObjectReference{}).UID) }
	if c := strings.Compare(a.IP, b.IP); c != 0 {
		return c
	}
	return strings.Compare(uid(a), uid(b))
}
