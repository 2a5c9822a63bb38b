package cluster

import "testing"

// TestRefusals: of several things that are wrong with a request, clients are told of those that upstream looks at first,
// in its words.
func TestRefusals(t *testing.T) {
	sys := startTest(t, Config{NoControllers: true})
	const (
		core     = "/api/v1/namespaces/default"
		balancer = `"type":"LoadBalancer","externalTrafficPolicy":"Local","ports":[{"port":80}]`
	)
	want(t, sys, "POST", core+"/serviceaccounts", `{"metadata":{"name":"default"}}`, 201)
	want(t, sys, "POST", core+"/services", `{"metadata":{"name":"lb"},"spec":{`+balancer+`,"healthCheckNodePort":32100}}`, 201, `"healthCheckNodePort":32100`)
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
		"a node port that is taken": {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"type":"NodePort","selector":{"a":"b c"},"ports":[{"port":80,"nodePort":32100}]}}`,
			422, []string{"provided port is already allocated", "!selector"}},
		"a node port twice": {"POST", core + "/services", `{"metadata":{"name":"s"},"spec":{"type":"x","ports":[{"name":"a","port":80,"nodePort":32101},{"name":"b","port":81,"nodePort":32101}]}}`,
			422, []string{`spec.ports[1].nodePort: Duplicate value: 32101`, "Unsupported value"}},
		"a health check's port":         {"PATCH", core + "/services/lb", `{"spec":{"healthCheckNodePort":1}}`, 422, []string{"spec.healthCheckNodePort: Forbidden: field is immutable", "!valid range"}},
		"a group with slashes":          {"POST", core + "/services", `{"apiVersion":"a/b/c","kind":"Service"}`, 400, []string{`the object provided is unrecognized (must be of type Service): unexpected GroupVersion string: a/b/c ({\"apiVersion\":`}},
		"a kind that was not asked for": {"POST", gadgetsV2, `{"apiVersion":"example.com/v2","kind":"Widget","metadata":{"name":"w"}}`, 422, []string{`Widget.example.com \"w\" is invalid: kind: Invalid value: \"Widget\": must be Gadget`}},
		"metadata before versions":      {"POST", gadgetsV2, `{"apiVersion":"example.com/v1","kind":"Gadget","metadata":5}`, 400, []string{`Gadget in version \"v1\" cannot be handled as a Gadget: json: cannot unmarshal number into Go value of type v1.ObjectMeta`}},
		"a name to be made":             {"POST", core + "/pods", `{"metadata":{"generateName":"p-"},"spec":{"priorityClassName":"nope","containers":[{"name":"c","image":"i"}]}}`, 403, []string{`pods \"p-\" is forbidden: no PriorityClass`}},
		"no name":                       {"POST", core + "/pods", `{"metadata":{},"spec":{"priorityClassName":"nope","containers":[{"name":"c","image":"i"}]}}`, 403, []string{`pods \"Unknown\" is forbidden: no PriorityClass`}},
		"a binding's name":              {"POST", core + "/pods/nope/binding", `{"target":{"name":"n"}}`, 400, []string{"name in URL does not match name in Binding object"}},
		"a binding's target":            {"POST", core + "/pods/nope/binding", `{"metadata":{"name":"nope"},"target":{"kind":"Pod","name":"n"}}`, 400, []string{"target.kind: Unsupported value"}},
		"an eviction's name":            {"POST", core + "/pods/nope/eviction", `{"apiVersion":"policy/v1","kind":"Eviction"}`, 400, []string{"name in URL does not match name in Eviction object"}},
		"a log's options":               {"GET", core + "/pods/nope/log?tailLines=-1", "", 422, []string{"tailLines: Invalid value: -1"}},
		"a token's account":             {"POST", core + "/serviceaccounts/nope/token", `{"spec":{"expirationSeconds":5}}`, 404, []string{`serviceaccounts \"nope\" not found`}},
		"a token's name":                {"POST", core + "/serviceaccounts/nope/token", `{"metadata":{"name":"other"}}`, 422, []string{"must match the service account name"}},
		"a token's uid":                 {"POST", core + "/serviceaccounts/default/token", `{"metadata":{"uid":"u"}}`, 409, []string{"the UID in the token request (u) does not match the UID of the service account"}},
		"a token of no kind":            {"POST", core + "/serviceaccounts/default/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"X"}`, 400, []string{`no kind \"X\" is registered for version \"authentication.k8s.io/v1\"`}},
		"a definition's name":           {"POST", definitions, `{"spec":{}}`, 422, []string{`"field":"metadata.name"`, "spec.group: Required value", "!metadata.name: Required value: name or generateName is required, metadata.name"}},
		"null in a secret":              {"POST", core + "/secrets", `{"metadata":{"name":"s"},"data":{"k":null}}`, 201, []string{`"data":{"k":""}`}},
		"an event about a stranger": {"POST", core + "/events", `{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","namespace":"other"},"eventTime":"2026-01-01T00:00:00.000000Z",` +
			`"reportingComponent":"a.b/c","reportingInstance":"i","action":"A","reason":"R","type":"Normal"}`, 201, nil},
	} {
		t.Run(name, func(t *testing.T) { want(t, sys, c.method, c.path, c.body, c.code, c.texts...) })
	}
}
