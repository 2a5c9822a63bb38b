package cluster

import (
	"context"
	"fmt"
	"net"

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
