package core

import (
	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// Bindings defines core Binding: how pods were bound before there was pods/binding, which does it now.
func Bindings() *resource.Definition {
	return resource.Typed[corev1.Binding]{
		Definition: resource.Definition{
			Resource: api.Bindings, Kind: "Binding", Singular: "binding", Namespaced: true, Transient: true,
			Verbs:    []api.Verb{api.Create},
			Versions: []resource.Version{{Name: "v1", Storage: true, Served: true}},
		},
	}.Define()
}
