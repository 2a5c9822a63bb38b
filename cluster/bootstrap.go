package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/resource/builtin/core"
)

// The two priority classes every cluster has (KEP: pod priority and preemption).
const (
	systemNodeCritical    = 2000001000
	systemClusterCritical = 2000000000
)

// bootstrap makes the objects every cluster has, where they are missing, and points the kubernetes Service at this
// server.
func bootstrap(ctx context.Context, c client.Client, addr *net.TCPAddr) error {
	type initial struct {
		res    api.Resource
		object metav1.Object
	}
	var objects []initial
	for _, name := range []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease} {
		objects = append(objects, initial{api.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}})
	}
	for _, p := range []struct {
		name  string
		value int32
		about string
	}{
		{"system-node-critical", systemNodeCritical, "Used for system critical pods that must not be moved from their current node."},
		{"system-cluster-critical", systemClusterCritical, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."},
	} {
		objects = append(objects, initial{api.PriorityClasses, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: p.name}, Value: p.value, Description: p.about}})
	}
	labels := map[string]string{"component": "apiserver", "provider": "kubernetes"}
	objects = append(objects, initial{api.Services, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: metav1.NamespaceDefault, Labels: labels},
		Spec: corev1.ServiceSpec{
			ClusterIP: core.KubernetesService,
			Ports:     []corev1.ServicePort{{Name: "https", Port: 443, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(int32(addr.Port))}},
		},
	}})
	for _, o := range objects {
		key := api.Key{Namespace: o.object.GetNamespace(), Name: o.object.GetName()}
		// Looked for first: to create the kubernetes Service again would be refused for its address, which is taken.
		_, err := c.Get(ctx, o.res, key)
		if api.IsNotFound(err) {
			_, err = c.Commit(ctx, client.Change{Verb: api.Create, Resource: o.res, Key: key, Object: o.object})
		}
		if err != nil && !api.IsAlreadyExists(err) {
			return fmt.Errorf("making %s %s: %w", o.res, key, err)
		}
	}
	return publishEndpoints(ctx, c, addr)
}

// publishEndpoints keeps the Endpoints of the kubernetes Service at the address this server listens on.
func publishEndpoints(ctx context.Context, c client.Client, addr *net.TCPAddr) error {
	ip := advertised(addr)
	if !ip.IsValid() {
		return nil
	}
	e := &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Namespace: metav1.NamespaceDefault, Labels: map[string]string{"endpointslice.kubernetes.io/skip-mirror": "true"}},
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: ip.String()}},
			Ports:     []corev1.EndpointPort{{Name: "https", Port: int32(addr.Port), Protocol: corev1.ProtocolTCP}},
		}},
	}
	_, err := c.Commit(ctx, client.Change{Verb: api.Update, Resource: api.Endpoints, Key: api.Key{Namespace: e.Namespace, Name: e.Name}, Object: e})
	if err != nil {
		return fmt.Errorf("publishing the endpoints of the kubernetes service: %w", err)
	}
	return nil
}

// advertised is the address others reach a listener by: its own, or for one that listens on all or on loopback, which
// Endpoints may not hold, the machine's first global one, as upstream has it.
func advertised(addr *net.TCPAddr) netip.Addr {
	ip, _ := netip.AddrFromSlice(addr.IP)
	ip = ip.Unmap()
	if !ip.IsUnspecified() && !ip.IsLoopback() {
		return ip
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && p.Addr().IsGlobalUnicast() {
			return p.Addr()
		}
	}
	return netip.Addr{}
}
