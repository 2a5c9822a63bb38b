package auth

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// rule allows verbs on resources, named with their subresource as "pods/status". Empty verbs or resources allow all.
type rule struct {
	verbs     []api.Verb
	group     string
	resources []string
}

func (r rule) allows(q *api.Request) bool {
	return (r.verbs == nil || slices.Contains(r.verbs, q.Verb)) &&
		(r.resources == nil || q.Resource.Group == r.group && slices.Contains(r.resources, qualified(q)))
}

func qualified(r *api.Request) string {
	if r.Subresource == "" {
		return r.Resource.Name
	}
	return r.Resource.Name + "/" + r.Subresource
}

// anything are verbs on every resource there is.
func anything(verbs ...api.Verb) rule { return rule{verbs: verbs} }

// on allows verbs on resources of a group.
func on(group string, resources []string, verbs ...api.Verb) rule {
	return rule{verbs: verbs, group: group, resources: resources}
}

func to(resources ...string) []string { return resources }

// recordEvents is for those that tell of what they do.
func recordEvents(rs ...rule) []rule {
	return append(rs,
		on("", to("events"), api.Create, api.Update, api.Patch),
		on("events.k8s.io", to("events"), api.Create, api.Update, api.Patch))
}

// ControllerUser is the name of a controller's own identity: that of the service account it has upstream in kube-system.
// There is no such object here: controllers run in this process and need no token, which is what upstream has it for.
func ControllerUser(controller string) string {
	return serviceAccountUserPrefix + metav1.NamespaceSystem + ":" + controller
}

// ControllerGroups are the groups of the controllers' identities.
var ControllerGroups = []string{GroupServiceAccounts, GroupServiceAccounts + ":" + metav1.NamespaceSystem}

const (
	groupApps         = "apps"
	groupCoordination = "coordination.k8s.io"
	groupDiscovery    = "discovery.k8s.io"
)

// aboutOneself is what anyone authenticated may ask: upstream's system:basic-user.
var aboutOneself = []rule{
	on(api.SelfSubjectAccessReviews.Group, to(api.SelfSubjectAccessReviews.Name, api.SelfSubjectRulesReviews.Name), api.Create),
	on(api.SelfSubjectReviews.Group, to(api.SelfSubjectReviews.Name), api.Create),
}

// componentRules are what the components that run beside the API need, after upstream's bootstrap roles: the controllers
// are woken by streams of kube-controller-manager's and write each under an identity of its own.
var componentRules = map[string][]rule{
	UserControllerManager: recordEvents(
		anything(api.List, api.Watch),
		on(groupCoordination, to("leases"), api.Get, api.Create, api.Update),
	),
	UserScheduler: recordEvents(
		on("", to("pods", "nodes", "namespaces", "services", "replicationcontrollers"), api.Get, api.List, api.Watch),
		on(groupApps, to("replicasets", "statefulsets"), api.Get, api.List, api.Watch),
		on("", to("pods/binding", "bindings"), api.Create),
		on("", to("pods/status"), api.Update, api.Patch),
		on("", to("pods"), api.Delete),
		on(groupCoordination, to("leases"), api.Get, api.Create, api.Update),
	),
	UserHollowNodes: {
		on("", to("pods"), api.List, api.Watch),
	},
	ControllerUser("deployment-controller"): recordEvents(
		on(groupApps, to("deployments"), api.Get, api.List, api.Watch, api.Update),
		on(groupApps, to("deployments/status"), api.Update),
		on(groupApps, to("replicasets"), api.Get, api.List, api.Watch, api.Create, api.Update, api.Patch, api.Delete),
		on("", to("pods"), api.Get, api.List, api.Watch),
	),
	ControllerUser("replicaset-controller"): recordEvents(
		on(groupApps, to("replicasets"), api.Get, api.List, api.Watch, api.Update),
		on(groupApps, to("replicasets/status"), api.Update),
		on("", to("pods"), api.List, api.Watch, api.Patch, api.Create, api.Delete),
	),
	ControllerUser("endpoint-controller"): recordEvents(
		on("", to("services", "pods"), api.Get, api.List, api.Watch),
		on("", to("endpoints"), api.Get, api.List, api.Watch, api.Create, api.Update, api.Delete),
	),
	ControllerUser("endpointslice-controller"): recordEvents(
		on("", to("services", "pods", "nodes"), api.Get, api.List, api.Watch),
		on(groupDiscovery, to("endpointslices"), api.Get, api.List, api.Watch, api.Create, api.Update, api.Delete),
	),
	ControllerUser("endpointslicemirroring-controller"): recordEvents(
		on("", to("services", "endpoints"), api.Get, api.List, api.Watch),
		on(groupDiscovery, to("endpointslices"), api.Get, api.List, api.Watch, api.Create, api.Update, api.Delete),
	),
	ControllerUser("generic-garbage-collector"): recordEvents(
		anything(api.Get, api.List, api.Watch, api.Patch, api.Update, api.Delete),
	),
	ControllerUser("namespace-controller"): {
		anything(api.Get, api.List, api.Watch, api.Delete, api.DeleteCollection),
		on("", to("namespaces/finalize", "namespaces/status"), api.Update),
	},
	ControllerUser("node-controller"): recordEvents(
		on("", to("nodes"), api.Get, api.List, api.Watch, api.Update, api.Delete, api.Patch),
		on("", to("nodes/status", "pods/status"), api.Patch, api.Update),
		on("", to("pods"), api.Get, api.List, api.Watch, api.Delete),
	),
	ControllerUser("taint-eviction-controller"): recordEvents(
		on("", to("nodes"), api.Get, api.List, api.Watch),
		on("", to("pods"), api.Get, api.List, api.Watch, api.Delete),
		on("", to("pods/status"), api.Patch, api.Update),
	),
	ControllerUser("pod-garbage-collector"): {
		on("", to("pods"), api.List, api.Watch, api.Delete),
		on("", to("nodes"), api.Get, api.List, api.Watch),
		on("", to("pods/status"), api.Patch),
	},
	// Upstream's storage lets events expire by itself.
	ControllerUser("event-expiry-controller"): {
		on("", to("events"), api.List, api.Watch, api.Delete),
	},
	ControllerUser("storage-version-migrator-controller"): {
		anything(api.Get, api.List, api.Patch),
		on("storagemigration.k8s.io", to("storageversionmigrations"), api.Get, api.List, api.Watch),
		on("storagemigration.k8s.io", to("storageversionmigrations/status"), api.Update),
		on("apiextensions.k8s.io", to("customresourcedefinitions/status"), api.Patch),
	},
	ControllerUser("service-account-controller"): {
		on("", to("serviceaccounts"), api.Create),
	},
	ControllerUser("tokens-controller"): {
		on("", to("secrets"), api.Delete),
	},
	ControllerUser("root-ca-cert-publisher"): {
		on("", to("configmaps"), api.Create, api.Update),
	},
}
