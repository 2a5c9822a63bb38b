// Package rootca keeps a ConfigMap with the cluster's certificate authority in every namespace, so that pods can verify
// the API server.
package rootca

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const (
	name                  = "kube-root-ca.crt"
	descriptionAnnotation = "kubernetes.io/description"
	description           = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

// again is when a namespace is looked at although nothing has happened in it: the authority's certificate is renewed years
// before it expires.
const again = 12 * time.Hour

// New returns the controller. It publishes the PEM certificates that ca returns.
func New(c client.Client, ca func() []byte) *controller.Controller {
	c = controller.Fresh(c)
	r := controller.Func(func(ctx context.Context, req controller.Request) (controller.Result, error) {
		return publish(ctx, c, req.Name, string(ca()))
	})
	return controller.New("root-ca-certificate-publisher", r).For(api.Namespaces).
		Watches(api.ConfigMaps, func(e api.Event) []controller.Request {
			if rec := e.Record(); rec.Name() == name {
				return []controller.Request{{Key: api.Key{Name: rec.Namespace()}}}
			}
			return nil
		})
}

func publish(ctx context.Context, c client.Client, namespace, ca string) (controller.Result, error) {
	v, err := c.View(ctx, 0)
	if err != nil {
		return controller.Result{}, err
	}
	if ns := v.Get(api.Namespaces, api.Key{Name: namespace}); ns == nil || ns.Is(api.Deleting) {
		return controller.Result{}, nil
	}
	data := map[string]string{"ca.crt": ca}
	cm, err := client.ConfigMaps.In(v, api.Key{Namespace: namespace, Name: name})
	switch {
	case err != nil:
		return controller.Result{}, err
	case cm == nil:
		_, err = client.ConfigMaps.Create(ctx, c, &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{descriptionAnnotation: description}},
			Data:       data,
		})
	case !maps.Equal(cm.Data, data) || cm.Annotations[descriptionAnnotation] == "":
		cm.Data = data
		if cm.Annotations == nil {
			cm.Annotations = map[string]string{}
		}
		cm.Annotations[descriptionAnnotation] = description
		_, err = client.ConfigMaps.Update(ctx, c, cm)
	}
	if err != nil && !controller.NamespaceGone(err) {
		return controller.Result{}, fmt.Errorf("publishing the root certificates in namespace %s: %w", namespace, err)
	}
	return controller.Result{RequeueAfter: again}, nil
}
