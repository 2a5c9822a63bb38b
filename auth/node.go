package auth

import (
	"fmt"

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

// nodeMay is the node authorizer: a node reads the pods bound to it and what those refer to, and writes their status,
// itself, its lease and events. Which of the objects it may write are its own is judged by admission (NodeRestriction),
// which sees them. The reason says more, in upstream's words, where a node is refused what another might do.
func nodeMay(v store.View, node string, r *api.Request) (ok bool, reason string) {
	switch r.Resource {
	case api.Nodes:
		return nodeMayNode(node, r)
	case api.Leases:
		return nodeMayLease(node, r)
	case api.Pods:
		return nodeMayPod(v, node, r)
	case api.Secrets, api.ConfigMaps:
		return nodeMayReferred(v, node, r)
	case api.ServiceAccounts:
		return nodeMayToken(v, node, r)
	case api.Events, eventsV1:
		return r.Subresource == "" && (r.Verb == api.Create || r.Verb == api.Update || r.Verb == api.Patch), ""
	case api.Services:
		return r.Subresource == "" && reads(r), ""
	}
	return false, ""
}

func reads(r *api.Request) bool {
	return r.Verb == api.Get || r.Verb == api.List || r.Verb == api.Watch
}

// selects returns what a field selector demands of a field; "" without such a demand.
func selects(r *api.Request, field string) string {
	sel, err := fields.ParseSelector(r.Query.Get("fieldSelector"))
	if err != nil {
		return ""
	}
	value, _ := sel.RequiresExactMatch(field)
	return value
}

// single is the name of the one object that a request is about; "" when it is about more. A list or watch may select it.
func single(r *api.Request) string {
	if r.Key.Name == "" && r.Verb != api.Create {
		return selects(r, "metadata.name")
	}
	return r.Key.Name
}

func nodeMayNode(node string, r *api.Request) (bool, string) {
	switch {
	case r.Subresource == "" && reads(r):
		switch name := single(r); name {
		case node:
			return true, ""
		case "":
			return false, fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", node)
		default:
			return false, fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", node, name)
		}
	case r.Subresource == "":
		return r.Verb == api.Create || r.Verb == api.Update || r.Verb == api.Patch, ""
	case r.Subresource == "status":
		return r.Verb == api.Update || r.Verb == api.Patch, ""
	}
	return false, ""
}

func nodeMayLease(node string, r *api.Request) (bool, string) {
	switch r.Verb {
	case api.Get, api.Create, api.Update, api.Patch, api.Delete:
	default:
		return false, "can only get, create, update, patch, or delete a node lease"
	}
	switch {
	case r.Key.Namespace != corev1.NamespaceNodeLease:
		return false, fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	case r.Verb != api.Create && r.Key.Name != node:
		return false, "can only access node lease with the same name as the requesting node"
	}
	return true, ""
}

func nodeMayPod(v store.View, node string, r *api.Request) (bool, string) {
	// A pod that is not there may be asked for: the 404 tells a node that a pod of its own has gone.
	related := func(name string) (bool, string) {
		p := v.Get(api.Pods, api.Key{Namespace: r.Key.Namespace, Name: name})
		if p == nil || p.IndexValue(IndexPodNode) == node {
			return true, ""
		}
		return false, unrelated(node)
	}
	switch r.Subresource {
	case "":
		switch r.Verb {
		case api.Get:
			return related(r.Key.Name)
		case api.List, api.Watch:
			if selects(r, IndexPodNode) == node {
				return true, ""
			}
			if name := single(r); name != "" {
				return related(name)
			}
			return false, "can only list/watch pods with spec.nodeName field selector"
		case api.Delete:
			return true, ""
		}
	case "status":
		return r.Verb == api.Update || r.Verb == api.Patch, ""
	case "eviction":
		return r.Verb == api.Create, ""
	}
	return false, ""
}

func unrelated(node string) string {
	return fmt.Sprintf("no relationship found between node '%s' and this object", node)
}

// nodeMayReferred allows a node to read a single Secret or ConfigMap that a pod bound to it refers to.
func nodeMayReferred(v store.View, node string, r *api.Request) (bool, string) {
	switch name := single(r); {
	case !reads(r):
		return false, "can only read resources of this type"
	case r.Subresource != "":
		return false, "cannot read subresource"
	case r.Key.Namespace == "":
		return false, "can only read namespaced object of this type"
	case name == "":
		return false, "No Object name found"
	case !referred(v, node, r.Resource, api.Key{Namespace: r.Key.Namespace, Name: name}):
		return false, unrelated(node)
	}
	return true, ""
}

// nodeMayToken allows a node to ask for tokens of the service accounts of its pods.
func nodeMayToken(v store.View, node string, r *api.Request) (bool, string) {
	switch {
	case r.Verb != api.Create || r.Key.Name == "":
		return false, "can only create tokens for individual service accounts"
	case r.Subresource != "token":
		return false, "can only create token subresource of serviceaccount"
	case !referred(v, node, r.Resource, r.Key):
		return false, unrelated(node)
	}
	return true, ""
}

// referred reports whether a pod that is bound to the node refers to an object.
func referred(v store.View, node string, res api.Resource, k api.Key) bool {
	for p := range v.ByIndex(api.Pods, api.Index{Name: IndexPodNode, Value: node}) {
		if p.Namespace() != k.Namespace {
			continue
		}
		var pod struct {
			Spec corev1.PodSpec `json:"spec"`
		}
		if err := json.Unmarshal(p.JSON(), &pod, jsonv1.DefaultOptionsV1()); err == nil && refers(&pod.Spec, res, k.Name) {
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
