package resource

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"pintle.dev/resource/builtin/schemas"
)

// Older is a version kept for clients and manifests of its time. O is its Go type: it names the OpenAPI model and says
// since when the version is deprecated. The JSON and the protobuf of O are those of the stored type, so that objects are
// read as that and shown as they are stored; where that does not hold, the caller sets Codec and Except. What the version
// defaults otherwise goes to Default.
func Older[O any](group, name string) Version {
	v := Version{Group: group, Name: name, Served: true, AsStored: true, Model: schemas.Name(reflect.TypeFor[O]())}
	v.Warning = Deprecation[O](group, name)
	return v
}

// Deprecation is upstream's warning about a kind of a version: since which release it is deprecated, since which it is no
// longer served there, and what to use instead, as its type O in k8s.io/api says. It is "" for what is not deprecated.
func Deprecation[O any](group, version string) string {
	var o any = new(O)
	d, ok := o.(interface {
		APILifecycleDeprecated() (major, minor int)
	})
	if !ok {
		return ""
	}
	major, minor := d.APILifecycleDeprecated()
	if major == 0 && minor == 0 {
		return ""
	}
	v := Version{Group: group, Name: version}
	text := fmt.Sprintf("%s %s is deprecated in v%d.%d+", v.APIVersion(), reflect.TypeFor[O]().Name(), major, minor)
	if r, ok := o.(interface {
		APILifecycleRemoved() (major, minor int)
	}); ok {
		if major, minor := r.APILifecycleRemoved(); major != 0 || minor != 0 {
			text += fmt.Sprintf(", unavailable in v%d.%d+", major, minor)
		}
	}
	if r, ok := o.(interface {
		APILifecycleReplacement() schema.GroupVersionKind
	}); ok {
		if gvk := r.APILifecycleReplacement(); !gvk.Empty() {
			text += fmt.Sprintf("; use %s %s", gvk.GroupVersion(), gvk.Kind)
		}
	}
	return text
}
