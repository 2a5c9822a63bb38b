// Package builtin lists the kinds that are compiled in, one file each below its group's folder.
package builtin

import (
	"pintle.dev/resource"
	"pintle.dev/resource/builtin/apiextensions"
	"pintle.dev/resource/builtin/apps"
	"pintle.dev/resource/builtin/authentication"
	"pintle.dev/resource/builtin/authorization"
	"pintle.dev/resource/builtin/coordination"
	"pintle.dev/resource/builtin/core"
	"pintle.dev/resource/builtin/discovery"
	"pintle.dev/resource/builtin/scheduling"
	"pintle.dev/resource/builtin/storagemigration"
)

// All returns a fresh Definition of every built-in kind.
func All() []*resource.Definition {
	return []*resource.Definition{
		apiextensions.CustomResourceDefinitions(),
		core.Bindings(),
		core.ConfigMaps(),
		core.Endpoints(),
		core.Events(),
		core.Namespaces(),
		core.Nodes(),
		core.Secrets(),
		core.ServiceAccounts(),
		core.Services(),
		coordination.Leases(),
		discovery.EndpointSlices(),
		core.Pods(),
		apps.Deployments(),
		apps.ReplicaSets(),
		scheduling.PriorityClasses(),
		authentication.SelfSubjectReviews(),
		authentication.TokenReviews(),
		authorization.LocalSubjectAccessReviews(),
		authorization.SelfSubjectAccessReviews(),
		authorization.SelfSubjectRulesReviews(),
		authorization.SubjectAccessReviews(),
		storagemigration.StorageVersionMigrations(),
	}
}
