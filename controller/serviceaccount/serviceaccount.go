// Package serviceaccount sees to it that every namespace has a ServiceAccount named default, and that token Secrets go
// with the account they belong to.
package serviceaccount

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/client"
	"pintle.dev/controller"
)

const defaultName = "default"

// New returns the controller that keeps the default ServiceAccounts.
func New(c client.Client) *controller.Controller {
	c = controller.Fresh(c)
	r := controller.Func(func(ctx context.Context, req controller.Request) (controller.Result, error) {
		return controller.Result{}, ensure(ctx, c, req.Name)
	})
	return controller.New("service-account", r).For(api.Namespaces).
		Watches(api.ServiceAccounts, func(e api.Event) []controller.Request {
			if rec := e.Record(); rec.Name() == defaultName {
				return []controller.Request{{Key: api.Key{Name: rec.Namespace()}}}
			}
			return nil
		}, controller.Deleted)
}

func ensure(ctx context.Context, c client.Client, namespace string) error {
	v, err := c.View(ctx, 0)
	if err != nil {
		return err
	}
	ns := v.Get(api.Namespaces, api.Key{Name: namespace})
	if ns == nil || ns.Is(api.Deleting) || v.Get(api.ServiceAccounts, api.Key{Namespace: namespace, Name: defaultName}) != nil {
		return nil
	}
	_, err = client.ServiceAccounts.Create(ctx, c, &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: defaultName},
	})
	if err != nil && !api.IsAlreadyExists(err) && !controller.NamespaceGone(err) {
		return fmt.Errorf("making the default service account of namespace %s: %w", namespace, err)
	}
	return nil
}

// NewTokens returns the controller that deletes the token Secrets of ServiceAccounts that are gone.
func NewTokens(c client.Client) *controller.Controller {
	c = controller.Fresh(c)
	r := controller.Func(func(ctx context.Context, req controller.Request) (controller.Result, error) {
		return controller.Result{}, collect(ctx, c, req.Key)
	})
	return controller.New("service-account-token", r).For(api.Secrets).
		Watches(api.ServiceAccounts, func(e api.Event) []controller.Request {
			return []controller.Request{{Key: api.Key{Namespace: e.Record().Namespace(), Name: accountKey + e.Record().Name()}}}
		}, controller.Deleted)
}

// accountKey begins the name of a Request that stands for an account that is gone, in place of a Secret. No object's
// name begins so.
const accountKey = "\x00"

type secret struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Type     corev1.SecretType `json:"type"`
}

func collect(ctx context.Context, c client.Client, k api.Key) error {
	v, err := c.View(ctx, 0)
	if err != nil {
		return err
	}
	if k.Name[:1] != accountKey {
		rec := v.Get(api.Secrets, k)
		if rec == nil {
			return nil
		}
		return collectOne(ctx, c, v, rec)
	}
	for rec := range v.All(api.Secrets, k.Namespace) {
		if err := collectOne(ctx, c, v, rec); err != nil {
			return err
		}
	}
	return nil
}

func collectOne(ctx context.Context, c client.Client, v client.View, rec *api.Record) error {
	s, err := client.Decode[secret](rec)
	if err != nil {
		return err
	}
	name, uid := s.Metadata.Annotations[corev1.ServiceAccountNameKey], s.Metadata.Annotations[corev1.ServiceAccountUIDKey]
	if s.Type != corev1.SecretTypeServiceAccountToken || name == "" || rec.Is(api.Deleting) {
		return nil
	}
	account := v.Get(api.ServiceAccounts, api.Key{Namespace: rec.Namespace(), Name: name})
	if account != nil && (uid == "" || uid == account.UID()) {
		return nil
	}
	if _, err := client.Secrets.Delete(ctx, c, rec.Key(), client.IfUID(s.Metadata.UID)); err != nil && !api.IsNotFound(err) {
		return fmt.Errorf("deleting token secret %s of service account %s, which is gone: %w", rec.Key(), name, err)
	}
	return nil
}
