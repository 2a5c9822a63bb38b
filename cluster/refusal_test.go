package cluster

import "testing"

// TestRefusals: of several things that are wrong with a request, clients are told of those that upstream looks at first,
// in its words.
func TestRefusals(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	// The node ports that are named here are of the range's first, which are given out by themselves when no others are left.
	const (
		core     = "/api/v1/namespaces/default"
		balancer = `"type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[{"port":80}]`
	)
	want(t, sys, "POST", core+"/serviceaccounts", `{"metadata":{"name":"default"}}`, 201)
	want(t, sys, "POST", core+"/services", `{"metadata":{"name":"lb"},"spec":{`+balancer+`,"healthCheckNodePort":30010}}`, 201, `"healthCheckNodePort":30010`)
	want(t, sys, "POST", core+"/services", `{"metadata":{"name":"np"},"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local","healthCheckNodePort":30012,"ports":[{"port":80,"nodePort":30013}]}}`, 201)
	want(t, sys, "POST", core+"/services", `{"metadata":{"name":"plain"},"spec":{"ports":[{"port":80}]}}`, 201)
	want(t, sys, "POST", core+"/pods", `{"metadata":{"name":"free","annotations":{"pod.beta.kubernetes.io/init-containers":"[]"}},"spec":{"terminationGracePeriodSeconds":-1,"containers":[{"name":"c","image":"i"}],`+
		`"volumes":[{"name":"v","projected":{"sources":[]}}]}}`, 201, `"terminationGracePeriodSeconds":1,`, `"sources":null`, "!init-containers")
	want(t, sys, "POST", core+"/pods", `{"metadata":{"name":"bound"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}`, 201)
	want(t, sys, "POST", definitions, gadgets(`{"url":"https://example.com"}`, `["v1"]`), 201)
	for name, c := range map[string]struct {
		method, path, body string
		code               int
		texts              []string
	}{
		"addresses before all else": {"POST", core + "/services", `{"metadata":{"name":"-1"},"spec":{"clusterIP":"10.96.5.5","clusterIPs":["10.96.5.6"],"ports":[{"port":0}]}}`,
			422, []string{"first value must match `clusterIP`", "!metadata.name", "!port:"}},
		"all that is wrong with families": {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv6"],"ports":[{"port":0}]}}`,
			422, []string{"this cluster is not configured for dual-stack services", `spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster`, "!ports"}},
		"two families for one": {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"ipFamilies":["IPv4","IPv6"],"ports":[{"port":80}]}}`,
			422, []string{"must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"}},
		"a node port that is taken": {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"type":"NodePort","selector":{"a":"b c"},"ports":[{"port":80,"nodePort":30010}]}}`,
			422, []string{"provided port is already allocated", "!selector"}},
		"a node port twice": {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"type":"x","ports":[{"name":"a","port":80,"nodePort":30011},{"name":"b","port":81,"nodePort":30011}]}}`,
			422, []string{`spec.ports[1].nodePort: Duplicate value: 30011`, "Unsupported value"}},
		"a health check's port":         {"PATCH", core + "/services/lb", `{"spec":{"healthCheckNodePort":1}}`, 422, []string{"spec.healthCheckNodePort: Forbidden: field is immutable", "!valid range"}},
		"health checks at its own port": {"PATCH", core + "/services/np", `{"spec":{"healthCheckNodePort":30013}}`, 422, []string{"spec.healthCheckNodePort: Forbidden: field is immutable", "!already allocated"}},
		"its own health check's port":   {"PATCH", core + "/services/lb", `{"spec":{"ports":[{"port":80,"nodePort":30010}]}}`, 422, []string{`spec.ports[0].nodePort: Invalid value: 30010: provided port is already allocated`}},
		"another address that is taken": {"PATCH", core + "/services/plain", `{"spec":{"clusterIP":"10.96.0.1"}}`, 422, []string{`spec.clusterIPs[0]: Invalid value: [\"10.96.0.1\"]: may not change once set`, "!allocate"}},
		"annotations that differ":       {"PATCH", core + "/services/plain", `{"metadata":{"annotations":{"service.kubernetes.io/topology-mode":"Auto","service.kubernetes.io/topology-aware-hints":"x"}}}`, 422, []string{"must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified"}},
		"a group with slashes":          {"POST", core + "/services", `{"apiVersion":"a/b/c","kind":"Service"}`, 400, []string{`the object provided is unrecognized (must be of type Service): unexpected GroupVersion string: a/b/c ({\"apiVersion\":`}},
		"a kind that was not asked for": {"POST", gadgetsV2, `{"apiVersion":"example.com/v2","kind":"Widget","metadata":{"name":"w"}}`, 422, []string{`Widget.example.com \"w\" is invalid: kind: Invalid value: \"Widget\": must be Gadget`}},
		"metadata before versions":      {"POST", gadgetsV2, `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":5}`, 400, []string{`Gadget in version \"v1\" cannot be handled as a Gadget: json: cannot unmarshal number into Go value of type v1.ObjectMeta`}},
		"a name to be made":             {"POST", core + "/pods", `{"metadata":{"generateName":"p-"},"spec":{"priorityClassName":"nope","containers":[{"name":"c","image":"i"}]}}`, 403, []string{`pods \"p-\" is forbidden: no PriorityClass`}},
		"an account's name": {"POST", core + "/pods", `{"metadata":{"name":"p"},"spec":{"serviceAccountName":"a/b","containers":[{"name":"c","image":"i"}]}}`,
			403, []string{`error looking up service account default/a/b: invalid resource name \"a/b\": [may not contain '/']`}},
		"a runtime class without a name": {"POST", core + "/pods", `{"metadata":{"name":"p"},"spec":{"runtimeClassName":"","containers":[{"name":"c","image":"i"}]}}`,
			400, []string{"resource name may not be empty"}},
		"overhead that is wrong": {"POST", core + "/pods", `{"metadata":{"name":"p"},"spec":{"overhead":{"cpu":"-1"},"containers":[{"name":"c","image":"i"}]}}`,
			422, []string{"spec.overhead.limits[cpu]: Invalid value", "!RuntimeClass"}},
		"overhead for nothing": {"POST", core + "/pods", `{"metadata":{"name":"p"},"spec":{"overhead":{},"containers":[{"name":"c","image":"i"}]}}`,
			403, []string{"pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"}},
		"a namespace's made name":  {"POST", "/api/v1/namespaces", `{"metadata":{"generateName":"A b"}}`, 422, []string{"metadata.generateName: Invalid value", "!metadata.labels"}},
		"a namespace's label":      {"POST", "/api/v1/namespaces", `{"metadata":{"generateName":"made-"}}`, 201, []string{`"labels":{"kubernetes.io/metadata.name":"made-`, "!f:labels"}},
		"an event's name":          {"POST", core + "/events", `{"metadata":{"name":"a/b"},"involvedObject":{"namespace":"default"}}`, 422, []string{`metadata.name: Invalid value: \"a/b\": may not contain '/'`}},
		"an event's odd name":      {"POST", core + "/events", `{"metadata":{"name":"A:b"},"involvedObject":{"namespace":"default"}}`, 201, nil},
		"a newer event's metadata": {"POST", "/apis/events.k8s.io/v1/namespaces/default/events", `{"metadata":{"name":"A:c","finalizers":["x"]}}`, 422, []string{`metadata.name: Invalid value: \"A:c\": a lowercase RFC 1123`, "metadata.finalizers[0]: Invalid value"}},
		"an account's secrets":     {"POST", core + "/serviceaccounts", `{"metadata":{"name":"clean"},"secrets":[{"name":"a","namespace":"other","uid":"u"}]}`, 201, []string{`"secrets":[{"name":"a"}]`}},
		"an empty key":             {"POST", core + "/secrets", `{"metadata":{"name":"ssh"},"type":"kubernetes.io/ssh-auth","stringData":{"ssh-privatekey":""}}`, 422, []string{"data[ssh-privatekey]: Required value"}},
		"an ingress of no balancer": {"PATCH", core + "/services/plain/status", `{"status":{"loadBalancer":{"ingress":[{"ip":"x"}]}}}`,
			422, []string{"status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'", "!ingress[0]"}},
		"a namespace without a phase": {"PUT", "/api/v1/namespaces/default/status", `{"metadata":{"name":"default"}}`, 200, []string{`"phase":"Active"`}},
		"a node's own resource":       {"POST", "/api/v1/nodes", `{"metadata":{"name":"own"},"status":{"capacity":{"a b":"1"}}}`, 201, nil},
		"an empty policy":             {"POST", "/apis/scheduling.k8s.io/v1/priorityclasses", `{"metadata":{"name":"p"},"preemptionPolicy":""}`, 422, []string{"preemptionPolicy: Required value"}},
		"a class of no balancer":      {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"loadBalancerClass":"a b","ports":[{"port":80}]}}`, 422, []string{"spec.loadBalancerClass: Forbidden", "!Invalid value"}},
		"a new node's resources":      {"POST", "/api/v1/nodes", `{"metadata":{"name":"n"},"status":{"capacity":{"cpu":"-1"}}}`, 422, []string{`status.capacity.cpu: Invalid value: \"-1\"`, "status.allocatable.cpu: Invalid value"}},
		"a new node's odd fields":     {"POST", "/api/v1/nodes", `{"metadata":{"name":"n"},"status":{"capacity":{"cpu":"1n"},"allocatable":{},"config":{"error":"x"}}}`, 201, []string{`"capacity":{"cpu":"1m"}`, `"allocatable":{"cpu":"1m"}`, `!"config"`}},
		"no name":                     {"POST", core + "/pods", `{"metadata":{},"spec":{"priorityClassName":"nope","containers":[{"name":"c","image":"i"}]}}`, 403, []string{`pods \"Unknown\" is forbidden: no PriorityClass`}},
		"a binding's name":            {"POST", core + "/pods/nope/binding", `{"target":{"name":"n"}}`, 400, []string{"name in URL does not match name in Binding object"}},
		"a binding's target":          {"POST", core + "/pods/nope/binding", `{"metadata":{"name":"nope"},"target":{"kind":"Pod","name":"n"}}`, 400, []string{"target.kind: Unsupported value"}},
		"an eviction's name":          {"POST", core + "/pods/nope/eviction", `{"apiVersion":"policy/v1","kind":"Eviction"}`, 400, []string{"name in URL does not match name in Eviction object"}},
		"a log's options":             {"GET", core + "/pods/nope/log?tailLines=-1", "", 422, []string{"tailLines: Invalid value: -1"}},
		"a token's account":           {"POST", core + "/serviceaccounts/nope/token", `{"spec":{"expirationSeconds":5}}`, 404, []string{`serviceaccounts \"nope\" not found`}},
		"a token's name":              {"POST", core + "/serviceaccounts/nope/token", `{"metadata":{"name":"other"}}`, 422, []string{"must match the service account name"}},
		"a token's uid":               {"POST", core + "/serviceaccounts/default/token", `{"metadata":{"uid":"u"}}`, 409, []string{"the UID in the token request (u) does not match the UID of the service account"}},
		"a token of no kind":          {"POST", core + "/serviceaccounts/default/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"X"}`, 400, []string{`no kind \"X\" is registered for version \"authentication.k8s.io/v1\"`}},
		"a definition's name":         {"POST", definitions, `{"spec":{}}`, 422, []string{`"field":"metadata.name"`, "spec.group: Required value", "!metadata.name: Required value: name or generateName is required, metadata.name"}},
		"null in a secret":            {"POST", core + "/secrets", `{"metadata":{"name":"s"},"data":{"k":null}}`, 201, []string{`"data":{"k":""}`}},
		"a port of no range, dry":     {"POST", core + "/services?dryRun=All", `{"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80,"nodePort":80}]}}`, 201, []string{`"nodePort":80`}},
		"ports of no choice, dry":     {"POST", core + "/services?dryRun=All", `{"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"name":"a","port":80},{"name":"b","port":81}]}}`, 201, []string{`"nodePort":32769`, `"nodePort":32770`}},
		"one node port, two ports":    {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"name":"a","port":80,"nodePort":32104},{"name":"b","port":81,"protocol":"UDP","nodePort":32104}]}}`, 422, []string{"spec.ports[1].nodePort: Invalid value: 32104: provided port is already allocated"}},
		"one node port, two kinds":    {"POST", core + "/services", `{"metadata":{"name":"dns"},"spec":{"type":"NodePort","ports":[{"name":"a","port":53,"nodePort":32105},{"name":"b","port":53,"protocol":"UDP"}]}}`, 201, []string{`"protocol":"UDP","port":53,"targetPort":53,"nodePort":32105`}},
		"one node port, twice":        {"PATCH", core + "/services/np", `{"spec":{"ports":[{"name":"a","port":80,"nodePort":32103},{"name":"b","port":81,"nodePort":32103}]}}`, 400, []string{"duplicate nodePort: {TCP 32103}"}},
		"a revision to be created":    {"POST", core + "/configmaps", `{"metadata":{"name":"revised","resourceVersion":"5"}}`, 400, []string{"resourceVersion should not be set on objects to be created"}},
		"a revision and a bad name":   {"POST", core + "/configmaps", `{"metadata":{"name":"-","resourceVersion":"5"}}`, 422, []string{"metadata.name: Invalid value"}},
		"a revision, dry":             {"POST", core + "/configmaps?dryRun=All", `{"metadata":{"name":"revised-dry","resourceVersion":"5"}}`, 201, nil},
		"a revision that is none":     {"POST", core + "/configmaps", `{"metadata":{"name":"revised-x","resourceVersion":"x"}}`, 201, nil},
		"a service's storage":         {"PUT", core + "/services/nope", `{"metadata":{"name":"nope","uid":"u"},"spec":{"ports":[{"port":80}]}}`, 409, []string{"Key: /registry/services/specs/default/nope, "}},
		"a node's storage, dry":       {"PUT", "/api/v1/nodes/nope?dryRun=All", `{"metadata":{"name":"nope","uid":"u"}}`, 409, []string{"Key: /minions/nope, "}},
		"a binding's namespace":       {"POST", core + "/pods/free/binding", `{"metadata":{"name":"free","namespace":"x"},"target":{"name":"n"}}`, 400, []string{"the namespace of the provided object does not match"}},
		"a binding's uid":             {"POST", core + "/pods/free/binding", `{"metadata":{"name":"free","uid":"u"},"target":{"name":"n"}}`, 409, []string{`pods \"free\": StorageError: invalid object, Code: 4, Key: /registry/pods/default/free, `, "UID in precondition: u, UID in object meta: "}},
		"a binding's revision, dry":   {"POST", core + "/pods/free/binding?dryRun=All", `{"metadata":{"name":"free","resourceVersion":"x"},"target":{"name":"n"}}`, 409, []string{"Key: /pods/default/free, ", "ResourceVersion in precondition: x, ResourceVersion in object meta: "}},
		"a log of nothing":            {"GET", core + "/pods/free/log", "", 204, nil},
		"an eviction's namespace":     {"POST", core + "/pods/free/eviction", `{"metadata":{"name":"free","namespace":"x"}}`, 400, []string{"the namespace of the provided object does not match"}},
		"an eviction's options":       {"POST", core + "/pods/free/eviction", `{"metadata":{"name":"free"},"deleteOptions":{"propagationPolicy":"x","preconditions":{"uid":"u"}}}`, 422, []string{"propagationPolicy: Unsupported value"}},
		"an eviction's pod":           {"POST", core + "/pods/nope/eviction", `{"metadata":{"name":"nope"},"deleteOptions":{"propagationPolicy":"x"}}`, 404, nil},
		"an eviction that may break":  {"POST", core + "/pods/nope/eviction", `{"metadata":{"name":"nope"},"deleteOptions":{"ignoreStoreReadErrorWithClusterBreakingPotential":true}}`, 422, []string{"can not be set for pod eviction"}},
		"an eviction half dry":        {"POST", core + "/pods/free/eviction?dryRun=All", `{"metadata":{"name":"free"},"deleteOptions":{"dryRun":["x"]}}`, 400, []string{"Non-matching dry-run options in request and content: [All] and [x]"}},
		"a slice of nothing": {"POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", `{"metadata":{"name":"e"},"addressType":"IPv4","endpoints":[],"ports":[]}`,
			201, []string{`"endpoints":null`, `"ports":null`, `"f:endpoints":{}`}},
		"a class of the system's": {"DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical", "", 403,
			[]string{`priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and cannot be deleted`}},
		"a class of the system's, among others": {"DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses?dryRun=All", "", 200, []string{"system-node-critical"}},
		"an event about a stranger": {"POST", core + "/events", `{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"other"},"eventTime":"2026-01-01T00:00:00.000000Z",` +
			`"reportingComponent":"a.b/c","reportingInstance":"i","action":"A","reason":"R","type":"Normal"}`, 201, nil},
	} {
		t.Run(name, func(t *testing.T) { want(t, sys, c.method, c.path, c.body, c.code, c.texts...) })
	}
	want(t, sys, "POST", core+"/pods/bound/eviction", `{"metadata":{"name":"bound"}}`, 201)
	want(t, sys, "GET", core+"/pods/bound", "", 200, `"deletionTimestamp"`, `"type":"DisruptionTarget","status":"True"`, `"reason":"EvictionByEvictionAPI","message":"Eviction API: evicting"`)
}
