package client

import (
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagemigrationv1 "k8s.io/api/storagemigration/v1"

	"pintle.dev/api"
)

// The built-in kinds that workers use.
var (
	Namespaces      = Of[corev1.Namespace](api.Namespaces, "v1")
	Nodes           = Of[corev1.Node](api.Nodes, "v1")
	Pods            = Of[corev1.Pod](api.Pods, "v1")
	Services        = Of[corev1.Service](api.Services, "v1")
	Endpoints       = Of[corev1.Endpoints](api.Endpoints, "v1") //nolint:staticcheck // deprecated upstream, still served
	EndpointSlices  = Of[discoveryv1.EndpointSlice](api.EndpointSlices, "v1")
	ConfigMaps      = Of[corev1.ConfigMap](api.ConfigMaps, "v1")
	Secrets         = Of[corev1.Secret](api.Secrets, "v1")
	ServiceAccounts = Of[corev1.ServiceAccount](api.ServiceAccounts, "v1")
	Events          = Of[corev1.Event](api.Events, "v1")
	Leases          = Of[coordinationv1.Lease](api.Leases, "v1")
	PriorityClasses = Of[schedulingv1.PriorityClass](api.PriorityClasses, "v1")
	Deployments     = Of[appsv1.Deployment](api.Deployments, "v1")
	ReplicaSets     = Of[appsv1.ReplicaSet](api.ReplicaSets, "v1")

	StorageVersionMigrations = Of[storagemigrationv1.StorageVersionMigration](api.StorageVersionMigrations, "v1")
)
