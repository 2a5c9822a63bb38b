package core

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// enforceMountableSecrets is an annotation that upstream deprecated in 1.32.
const enforceMountableSecrets = "kubernetes.io/enforce-mountable-secrets"

// ServiceAccounts defines core/v1 ServiceAccount. Its token subresource is answered by package auth.
func ServiceAccounts() *resource.Definition {
	return resource.Typed[corev1.ServiceAccount]{
		Definition: resource.Definition{
			Resource: api.ServiceAccounts, Kind: "ServiceAccount", Singular: "serviceaccount", ShortNames: []string{"sa"}, Namespaced: true,
			MetadataRules: []resource.MetadataRule{resource.ChangedMetadata, resource.WholeMetadata},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true, Columns: []metav1.TableColumnDefinition{
				resource.NameColumn,
				{Name: "Secrets", Type: "string", Description: corev1.ServiceAccount{}.SwaggerDoc()["secrets"]},
				resource.AgeColumn,
			}}},
			Subresources: map[string]resource.Subresource{
				"token": {
					Verbs: []api.Verb{api.Create}, Group: "authentication.k8s.io", Version: "v1", Kind: "TokenRequest",
					Body: func() any { return new(authenticationv1.TokenRequest) },
					Default: func(body any) {
						if s := &body.(*authenticationv1.TokenRequest).Spec; s.ExpirationSeconds == nil {
							s.ExpirationSeconds = ptr.To[int64](60 * 60)
						}
					},
				},
			},
			ReturnDeleted: true,
		},
		Prepare: func(_ context.Context, _ *resource.Write, o, _ *corev1.ServiceAccount) {
			if o == nil {
				return
			}
			for i, s := range o.Secrets { // they can only be of the account's own namespace
				o.Secrets[i] = corev1.ObjectReference{Name: s.Name}
			}
		},
		Warn: func(_ context.Context, w *resource.Write, o, old *corev1.ServiceAccount) []string {
			if o == nil {
				return nil
			}
			if _, ok := o.Annotations[enforceMountableSecrets]; !ok {
				return nil
			}
			if old != nil {
				if _, ok := old.Annotations[enforceMountableSecrets]; ok {
					return nil
				}
			}
			return []string{"metadata.annotations[" + enforceMountableSecrets + "]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"}
		},
		Cells: func(o *corev1.ServiceAccount) []any {
			return []any{o.Name, int64(len(o.Secrets)), resource.Age(o.CreationTimestamp)}
		},
	}.Define()
}
