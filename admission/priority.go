package admission

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/utils/ptr"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/scheduling"
)

// priority turns a pod's priorityClassName into its priority and preemption policy, keeps at most one PriorityClass
// the global default, and the system's classes from being deleted by name.
type priority struct {
	snapshot Snapshot
}

// Completes implements Plugin.
func (priority) Completes(w *resource.Write) bool {
	return w.Definition.Resource == api.Pods && w.Subresource == ""
}

// Admit implements Plugin.
func (p priority) Admit(ctx context.Context, w *resource.Write) error {
	if !p.Completes(w) || w.New == nil {
		return nil
	}
	pod := w.New.Value.(*corev1.Pod)
	if !w.Creating() {
		// Admission of an update only keeps what creation computed when an old client leaves it out.
		old := w.Old.Value.(*corev1.Pod)
		if pod.Spec.Priority == nil {
			pod.Spec.Priority = old.Spec.Priority
		}
		if pod.Spec.PreemptionPolicy == nil {
			pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
		}
		return nil
	}
	value, policy := int32(0), corev1.PreemptLowerPriority
	class, err := p.class(ctx, pod.Spec.PriorityClassName)
	switch {
	case err != nil:
		return err
	case class != nil:
		value, policy = class.Value, ptr.Deref(class.PreemptionPolicy, policy)
		pod.Spec.PriorityClassName = class.Name
	case pod.Spec.PriorityClassName != "":
		return forbidden(w, fmt.Errorf("no PriorityClass with name %v was found", pod.Spec.PriorityClassName))
	}
	const computed = "must not be provided in pod spec; priority admission controller computed %v from the given PriorityClass name"
	if given := pod.Spec.Priority; given != nil && *given != value {
		return forbidden(w, fmt.Errorf("the integer value of priority (%d) "+computed, *given, value))
	}
	if given := pod.Spec.PreemptionPolicy; given != nil && *given != policy {
		return forbidden(w, fmt.Errorf("the string value of PreemptionPolicy (%s) "+computed, *given, policy))
	}
	pod.Spec.Priority, pod.Spec.PreemptionPolicy = &value, &policy
	return nil
}

// class returns the named class, or for no name the global default; nil when there is none.
func (p priority) class(ctx context.Context, name string) (*schedulingv1.PriorityClass, error) {
	v, err := p.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if name != "" {
		rec := v.Get(api.PriorityClasses, api.Key{Name: name})
		if rec == nil {
			return nil, nil
		}
		return decodeClass(rec)
	}
	// Few classes exist. Of several global defaults, which only a race can leave behind, the lowest counts.
	var lowest *schedulingv1.PriorityClass
	for rec := range v.All(api.PriorityClasses, "") {
		if !globalDefault(rec) {
			continue
		}
		c, err := decodeClass(rec)
		if err != nil {
			return nil, err
		}
		if lowest == nil || c.Value < lowest.Value {
			lowest = c
		}
	}
	return lowest, nil
}

// globalDefault picks out of a class whether it is for pods that name none, which every new pod asks.
func globalDefault(rec *api.Record) bool {
	for name, value := range object.Members(rec.JSON()) {
		if string(name) == "globalDefault" {
			return string(value) == "true"
		}
	}
	return false
}

func decodeClass(rec *api.Record) (*schedulingv1.PriorityClass, error) {
	c := new(schedulingv1.PriorityClass)
	if err := json.Unmarshal(rec.JSON(), c, jsonv1.DefaultOptionsV1()); err != nil {
		return nil, fmt.Errorf("decoding priority class %s: %w", rec.Name(), err)
	}
	return c, nil
}

// Validate implements Plugin.
func (p priority) Validate(ctx context.Context, w *resource.Write) error {
	if w.Definition.Resource != api.PriorityClasses {
		return nil
	}
	if w.New == nil {
		// As upstream: deletions of collections take them along.
		if name := w.Request.Key.Name; w.Request.Verb == api.Delete && (name == scheduling.ClusterCritical || name == scheduling.NodeCritical) {
			return forbidden(w, errors.New("this is a system priority class and cannot be deleted"))
		}
		return nil
	}
	class := w.New.Value.(*schedulingv1.PriorityClass)
	if !class.GlobalDefault {
		return nil
	}
	v, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	for rec := range v.All(api.PriorityClasses, "") {
		if rec.Name() != class.Name && globalDefault(rec) {
			return forbidden(w, fmt.Errorf("PriorityClass %v is already marked as default. Only one default can exist", rec.Name()))
		}
	}
	return nil
}
