package apps

import (
	"fmt"
	"maps"
	"math"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	appsv1beta2 "k8s.io/api/apps/v1beta2"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"pintle.dev/resource"
)

// The versions of workloads that Kubernetes served until 1.16. They are stored as apps/v1, whose fields they share but for
// the Deployment's rollbackTo, and default the selector and the labels from the template's labels: all but v1beta2, which
// is v1 under another name.
const (
	group      = "apps"
	extensions = "extensions"
)

// olderDeployments are the earlier versions of Deployment. scale is its subresource.
func olderDeployments(scale resource.Subresource) []resource.Version {
	beta2 := resource.Older[appsv1beta2.Deployment](group, "v1beta2")
	beta2.Orphans = true
	beta2.Codec = noteCodec("v1beta2")
	beta2.Subresources = map[string]resource.Subresource{"scale": olderScale[appsv1beta2.Scale](&beta2, scale)}

	beta1 := resource.Older[appsv1beta1.Deployment](group, "v1beta1")
	beta1.Orphans = true
	beta1.Codec = newRollbackCodec[appsv1beta1.Deployment](&beta1)
	beta1.Except = appsv1.DeprecatedRollbackTo
	beta1.Default = func(o *resource.Object) {
		d := o.Value.(*appsv1.Deployment)
		selectTemplate(&d.ObjectMeta, &d.Spec.Selector, d.Spec.Template.Labels)
		unset(&d.Spec.RevisionHistoryLimit, 2)
	}
	beta1.Subresources = map[string]resource.Subresource{
		"scale":    olderScale[appsv1beta1.Scale](&beta1, scale),
		"rollback": rollback[appsv1beta1.DeploymentRollback](&beta1),
	}

	first := resource.Older[extensionsv1beta1.Deployment](extensions, "v1beta1")
	first.Orphans = true
	first.Codec = newRollbackCodec[extensionsv1beta1.Deployment](&first)
	first.Except = appsv1.DeprecatedRollbackTo
	first.Default = func(o *resource.Object) { defaultFirstDeployment(o.Value.(*appsv1.Deployment)) }
	first.Subresources = map[string]resource.Subresource{
		"scale":    olderScale[extensionsv1beta1.Scale](&first, scale),
		"rollback": rollback[extensionsv1beta1.DeploymentRollback](&first),
	}
	return []resource.Version{beta2, beta1, first}
}

// olderReplicaSets are the earlier versions of ReplicaSet.
func olderReplicaSets(scale resource.Subresource) []resource.Version {
	beta2 := resource.Older[appsv1beta2.ReplicaSet](group, "v1beta2")
	beta2.Orphans = true
	beta2.Subresources = map[string]resource.Subresource{"scale": olderScale[appsv1beta2.Scale](&beta2, scale)}

	first := resource.Older[extensionsv1beta1.ReplicaSet](extensions, "v1beta1")
	first.Orphans = true
	first.Default = func(o *resource.Object) {
		r := o.Value.(*appsv1.ReplicaSet)
		selectTemplate(&r.ObjectMeta, &r.Spec.Selector, r.Spec.Template.Labels)
	}
	first.Subresources = map[string]resource.Subresource{"scale": olderScale[extensionsv1beta1.Scale](&first, scale)}
	return []resource.Version{beta2, first}
}

// olderScale is scale with the kind Scale of a version of its own.
func olderScale[O any](v *resource.Version, scale resource.Subresource) resource.Subresource {
	scale.Group, scale.Version, scale.Warning = v.Group, v.Name, resource.Deprecation[O](v.Group, v.Name)
	return scale
}

// defaultFirstDeployment defaults a Deployment as extensions/v1beta1 did: one pod at a time, all history kept, and no
// deadline.
func defaultFirstDeployment(d *appsv1.Deployment) {
	s := &d.Spec
	selectTemplate(&d.ObjectMeta, &s.Selector, s.Template.Labels)
	if s.Strategy.Type == "" {
		s.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType || s.Strategy.RollingUpdate != nil {
		unset(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		unset(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		unset(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromInt32(1))
	}
	unset(&s.RevisionHistoryLimit, math.MaxInt32)
	unset(&s.ProgressDeadlineSeconds, math.MaxInt32)
}

// selectTemplate lets a workload select what its template makes, and carry the same labels, unless it says otherwise.
func selectTemplate(m *metav1.ObjectMeta, selector **metav1.LabelSelector, labels map[string]string) {
	if labels == nil {
		return
	}
	unset(selector, metav1.LabelSelector{MatchLabels: maps.Clone(labels)})
	if len(m.Labels) == 0 {
		m.Labels = maps.Clone(labels)
	}
}

// selectorMutable reports whether workloads may change their selectors in a version, as they could in the first ones.
func selectorMutable(v *resource.Version) bool {
	return v != nil && (v.Group == extensions || v.Name == "v1beta1")
}

// noteCodec is the codec of the versions of Deployment that say in an annotation which revision to roll back to. Upstream
// makes a number of it when it reads a Deployment, and refuses one that has none there.
func noteCodec(version string) resource.Codec {
	return notedCodec{resource.TypedCodec[appsv1.Deployment]{APIVersion: group + "/" + version, Kind: "Deployment"}}
}

type notedCodec struct {
	resource.TypedCodec[appsv1.Deployment]
}

// Decode implements resource.Codec.
func (c notedCodec) Decode(data []byte, stored bool) (*resource.Object, []string, error) {
	o, problems, err := c.TypedCodec.Decode(data, stored)
	if err != nil || stored {
		return o, problems, err
	}
	const name = appsv1.DeprecatedRollbackTo
	notes := o.Value.(*appsv1.Deployment).Annotations
	note := notes[name]
	if note == "" {
		delete(notes, name)
		return o, problems, nil
	}
	n, err := strconv.ParseInt(note, 10, 64)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to parse annotation[%s]=%s as int64: %w", name, note, err)
	}
	notes[name] = strconv.FormatInt(n, 10)
	return o, problems, nil
}

// rollbackCodec is the codec of the versions of Deployment that have spec.rollbackTo. What is stored has the annotation
// deprecated.deployment.rollback.to instead, as upstream's conversion has it. O is the version's own type.
type rollbackCodec[O any] struct {
	json resource.TypedCodec[Deployment]
}

func newRollbackCodec[O any](v *resource.Version) rollbackCodec[O] {
	return rollbackCodec[O]{resource.TypedCodec[Deployment]{APIVersion: v.APIVersion(), Kind: "Deployment"}}
}

// Deployment and DeploymentSpec are those types of the versions that have rollbackTo. They are exported, and named as
// they are, for decoders' messages.
type Deployment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              DeploymentSpec          `json:"spec,omitempty"`
	Status            appsv1.DeploymentStatus `json:"status,omitempty"`
}

// DeploymentSpec is that of apps/v1 and the revision to roll back to.
type DeploymentSpec struct {
	appsv1.DeploymentSpec `json:",inline"`
	RollbackTo            *extensionsv1beta1.RollbackConfig `json:"rollbackTo,omitempty"`
}

// Decode implements resource.Codec.
func (c rollbackCodec[O]) Decode(data []byte, stored bool) (*resource.Object, []string, error) {
	o, problems, err := c.json.Decode(data, stored)
	if err != nil {
		// Upstream's words for it name the fields of the version's own type.
		if _, _, own := (resource.TypedCodec[O]{}).Decode(data, stored); own != nil {
			err = own
		}
		return nil, nil, err
	}
	old := o.Value.(*Deployment)
	d := &appsv1.Deployment{TypeMeta: old.TypeMeta, ObjectMeta: old.ObjectMeta, Spec: old.Spec.DeploymentSpec, Status: old.Status}
	delete(d.Annotations, appsv1.DeprecatedRollbackTo) // which the field says instead
	if r := old.Spec.RollbackTo; r != nil {
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, appsv1.DeprecatedRollbackTo, strconv.FormatInt(r.Revision, 10))
	}
	o, err = resource.TypedObject(d)
	return o, problems, err
}

// Encode implements resource.Codec. An annotation that is no revision stays what it is.
func (c rollbackCodec[O]) Encode(dst []byte, o *resource.Object) ([]byte, error) {
	d := o.Value.(*appsv1.Deployment)
	old := &Deployment{ObjectMeta: d.ObjectMeta, Spec: DeploymentSpec{DeploymentSpec: d.Spec}, Status: d.Status}
	if text, ok := d.Annotations[appsv1.DeprecatedRollbackTo]; ok {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			old.Spec.RollbackTo = &extensionsv1beta1.RollbackConfig{Revision: n}
			old.Annotations = maps.Clone(d.Annotations)
			delete(old.Annotations, appsv1.DeprecatedRollbackTo)
		}
	}
	t, err := resource.TypedObject(old)
	if err != nil {
		return nil, err
	}
	return c.json.Encode(dst, t)
}

// NewMessage implements resource.MessageCodec.
func (rollbackCodec[O]) NewMessage() any { return new(O) }
