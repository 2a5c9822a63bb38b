package auth

import (
	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"

	"pintle.dev/api"
	"pintle.dev/store"
)

// IndexPodNode is the pods' index (and field selector) of the node they are bound to.
const IndexPodNode = "spec.nodeName"

// eventsV1 is how requests name events of the newer group.
var eventsV1 = api.Resource{Group: "events.k8s.io", Name: "events"}

// nodeMay is the node authorizer (and upstream's NodeRestriction, as far as it can be told from the request alone): a
// node reads the pods bound to it and what those refer to, and writes their status, itself, its lease and events.
func nodeMay(v store.View, node string, r *api.Request) bool {
	own := func(res api.Resource) bool {
		return r.Key.Name == node || r.Verb == api.Create && r.Key.Name == "" && res == r.Resource
	}
	switch r.Resource {
	case api.Nodes:
		switch r.Verb {
		case api.Get, api.List, api.Watch:
			return true // node-local services look at their peers; upstream allows get, list and watch as well
		case api.Create:
			return r.Subresource == "" && own(api.Nodes)
		case api.Update, api.Patch:
			return (r.Subresource == "" || r.Subresource == "status") && r.Key.Name == node
		}
	case api.Leases:
		return r.Key.Namespace == corev1.NamespaceNodeLease && own(api.Leases) && r.Verb != api.List && r.Verb != api.DeleteCollection
	case api.Events, eventsV1:
		return r.Verb == api.Create || r.Verb == api.Update || r.Verb == api.Patch
	case api.Services, api.Namespaces:
		return r.Verb == api.Get || r.Verb == api.List || r.Verb == api.Watch
	case api.Pods:
		return nodeMayPod(v, node, r)
	case api.Secrets, api.ConfigMaps, api.ServiceAccounts:
		return nodeMayReferred(v, node, r)
	}
	return false
}

func nodeMayPod(v store.View, node string, r *api.Request) bool {
	bound := func() bool { // or not there: the answer then is 404, which tells a node that a pod of its own has gone
		p := v.Get(api.Pods, r.Key)
		return p == nil || p.Indexed(api.Index{Name: IndexPodNode, Value: node})
	}
	switch r.Verb {
	case api.List, api.Watch:
		sel, err := fields.ParseSelector(r.Query.Get("fieldSelector"))
		if err != nil {
			return false
		}
		want, ok := sel.RequiresExactMatch(IndexPodNode)
		return ok && want == node
	case api.Get:
		return r.Subresource == "" && bound()
	case api.Update, api.Patch:
		return r.Subresource == "status" && bound()
	case api.Delete:
		return bound()
	case api.Create:
		return r.Subresource == "eviction" && bound()
	}
	return false
}

// nodeMayReferred allows a node to get a single Secret or ConfigMap that a pod bound to it refers to, and to ask for
// tokens of such a pod's service account.
func nodeMayReferred(v store.View, node string, r *api.Request) bool {
	single := r.Key.Name != "" && (r.Verb == api.Get || r.Verb == api.List || r.Verb == api.Watch)
	token := r.Resource == api.ServiceAccounts && r.Verb == api.Create && r.Subresource == "token"
	if !(single && r.Subresource == "") && !token {
		return false
	}
	for p := range v.ByIndex(api.Pods, api.Index{Name: IndexPodNode, Value: node}) {
		if p.Namespace() != r.Key.Namespace {
			continue
		}
		var pod struct {
			Spec corev1.PodSpec `json:"spec"`
		}
		if err := json.Unmarshal(p.JSON(), &pod, jsonv1.DefaultOptionsV1()); err == nil && refers(&pod.Spec, r.Resource, r.Key.Name) {
			return true
		}
	}
	return false
}

// refers reports whether a pod uses the named object.
func refers(s *corev1.PodSpec, res api.Resource, name string) bool {
	switch res {
	case api.ServiceAccounts:
		return s.ServiceAccountName == name
	case api.Secrets:
		for _, p := range s.ImagePullSecrets {
			if p.Name == name {
				return true
			}
		}
	}
	for i := range s.Volumes {
		if volumeRefers(&s.Volumes[i].VolumeSource, res, name) {
			return true
		}
	}
	for _, cs := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range cs {
			if containerRefers(&cs[i], res, name) {
				return true
			}
		}
	}
	return false
}

func volumeRefers(v *corev1.VolumeSource, res api.Resource, name string) bool {
	secret := res == api.Secrets
	switch {
	case v.Secret != nil:
		return secret && v.Secret.SecretName == name
	case v.ConfigMap != nil:
		return !secret && v.ConfigMap.Name == name
	case v.Projected != nil:
		for _, p := range v.Projected.Sources {
			if secret && p.Secret != nil && p.Secret.Name == name || !secret && p.ConfigMap != nil && p.ConfigMap.Name == name {
				return true
			}
		}
	}
	return false
}

func containerRefers(c *corev1.Container, res api.Resource, name string) bool {
	secret := res == api.Secrets
	for _, e := range c.EnvFrom {
		if secret && e.SecretRef != nil && e.SecretRef.Name == name || !secret && e.ConfigMapRef != nil && e.ConfigMapRef.Name == name {
			return true
		}
	}
	for _, e := range c.Env {
		if f := e.ValueFrom; f != nil && (secret && f.SecretKeyRef != nil && f.SecretKeyRef.Name == name || !secret && f.ConfigMapKeyRef != nil && f.ConfigMapKeyRef.Name == name) {
			return true
		}
	}
	return false
}
