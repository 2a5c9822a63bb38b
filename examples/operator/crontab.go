package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// groupVersion is what ../crontab-crd.yaml defines.
var groupVersion = schema.GroupVersion{Group: "stable.example.com", Version: "v1"}

// register adds the kinds of this operator to a scheme.
func register(s *runtime.Scheme) error {
	s.AddKnownTypes(groupVersion, &CronTab{}, &CronTabList{})
	metav1.AddToGroupVersion(s, groupVersion)
	return nil
}

// CronTab runs an image at given times.
type CronTab struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CronTabSpec   `json:"spec"`
	Status CronTabStatus `json:"status,omitempty"`
}

// CronTabSpec is what the user wants.
type CronTabSpec struct {
	CronSpec string `json:"cronSpec"`
	Image    string `json:"image"`
	Replicas *int32 `json:"replicas,omitempty"` // defaulted to 1 by the definition
	Suspend  bool   `json:"suspend,omitempty"`
}

// CronTabStatus is what the operator observed.
type CronTabStatus struct {
	Replicas           int32              `json:"replicas"`
	Selector           string             `json:"selector,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// CronTabList is a list of CronTabs.
type CronTabList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []CronTab `json:"items"`
}

// DeepCopyInto copies c to out. A larger operator has controller-gen write these.
func (c *CronTab) DeepCopyInto(out *CronTab) {
	*out = *c
	c.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	if c.Spec.Replicas != nil {
		n := *c.Spec.Replicas
		out.Spec.Replicas = &n
	}
	out.Status.Conditions = nil
	for i := range c.Status.Conditions {
		out.Status.Conditions = append(out.Status.Conditions, *c.Status.Conditions[i].DeepCopy())
	}
}

// DeepCopyObject implements runtime.Object.
func (c *CronTab) DeepCopyObject() runtime.Object {
	out := new(CronTab)
	c.DeepCopyInto(out)
	return out
}

// DeepCopyObject implements runtime.Object.
func (l *CronTabList) DeepCopyObject() runtime.Object {
	out := &CronTabList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	out.Items = make([]CronTab, len(l.Items))
	for i := range l.Items {
		l.Items[i].DeepCopyInto(&out.Items[i])
	}
	return out
}
