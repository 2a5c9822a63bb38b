package cluster

import (
	"context"
	"fmt"
	"net"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/resource/builtin/core"
	"pintle.dev/resource/builtin/scheduling"
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
	for _, class := range scheduling.SystemPriorityClasses() {
		objects = append(objects, initial{api.PriorityClasses, class})
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
