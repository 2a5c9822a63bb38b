package api

// Resources that the code itself names. Kinds defined at run time have no constant.
var (
	Namespaces      = Resource{"", "namespaces"}
	Nodes           = Resource{"", "nodes"}
	Pods            = Resource{"", "pods"}
	Services        = Resource{"", "services"}
	Endpoints       = Resource{"", "endpoints"}
	ConfigMaps      = Resource{"", "configmaps"}
	Secrets         = Resource{"", "secrets"}
	ServiceAccounts = Resource{"", "serviceaccounts"}
	EndpointSlices  = Resource{"discovery.k8s.io", "endpointslices"}
	Leases          = Resource{"coordination.k8s.io", "leases"}
	PriorityClasses = Resource{"scheduling.k8s.io", "priorityclasses"}
	Deployments     = Resource{"apps", "deployments"}
	ReplicaSets     = Resource{"apps", "replicasets"}

	SelfSubjectReviews = Resource{"authentication.k8s.io", "selfsubjectreviews"}
	TokenReviews       = Resource{"authentication.k8s.io", "tokenreviews"}

	LocalSubjectAccessReviews = Resource{"authorization.k8s.io", "localsubjectaccessreviews"}
	SelfSubjectAccessReviews  = Resource{"authorization.k8s.io", "selfsubjectaccessreviews"}
	SelfSubjectRulesReviews   = Resource{"authorization.k8s.io", "selfsubjectrulesreviews"}
	SubjectAccessReviews      = Resource{"authorization.k8s.io", "subjectaccessreviews"}

	// Bindings are how pods were bound before pods/binding: nothing is kept of them.
	Bindings = Resource{"", "bindings"}

	// Events is the one table of both core/v1 and events.k8s.io/v1 events.
	Events = Resource{"", "events"}

	CustomResourceDefinitions = Resource{"apiextensions.k8s.io", "customresourcedefinitions"}
	StorageVersionMigrations  = Resource{"storagemigration.k8s.io", "storageversionmigrations"}

	// Claims is internal and never served: one record for each thing that only one object may hold, such as a
	// cluster IP or a node port. A claim is put and deleted in the commit that writes its holder.
	Claims = Resource{"pintle.dev", "claims"}
)

// IndexNamesConflict is an internal index of CustomResourceDefinitions: the API group of those that want a name that
// another definition of the group holds.
const IndexNamesConflict = "namesConflict"

// IndexService is an internal index of EndpointSlices: the key of the Service that one says it belongs to by its label.
const IndexService = "service"

// IndexMigrates is an internal index of the StorageVersionMigrations that have not ended: what each migrates, as
// RESOURCE.GROUP, or RESOURCE of the core group.
const IndexMigrates = "migrates"
