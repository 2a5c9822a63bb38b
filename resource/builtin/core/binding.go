package core

import (
	corev1 "k8s.io/api/core/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// Bindings defines core Binding: how pods were bound before there was pods/binding, which does it now.
func Bindings() *resource.Definition {
	d := resource.Question(api.Bindings, "Binding", "binding")
	d.Namespaced = true
	return resource.Typed[corev1.Binding]{Definition: d}.Define()
}
