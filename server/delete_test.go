package server

import "testing"

// TestDeletePreconditions: uid and resourceVersion are preconditions in a query, too, and those of a collection are of
// each of its objects.
func TestDeletePreconditions(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	a := ask(t, s, "POST "+path, configMap("a"))
	b := ask(t, s, "POST "+path, configMap("b"))
	first, uid := a.at(t, "metadata", "resourceVersion"), b.at(t, "metadata", "uid")
	run(t, s, []step{
		{"DELETE " + path + "/a?uid=x", ``, nil, 409, []string{`on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in record`}, nil},
		{"DELETE " + path + "/a?resourceVersion=0", ``, nil, 409, []string{`on ConfigMap \"a\": the ResourceVersion in the precondition (0) does not match`}, nil},
		{"DELETE " + path + "/b?resourceVersion=" + first + "&uid=" + uid, ``, nil, 409, []string{`the ResourceVersion in the precondition`}, nil},
		{"DELETE " + path + "/b?uid=" + uid, `{}`, nil, 200, nil, nil},
		{"DELETE " + path + "?resourceVersion=0", ``, nil, 409, []string{`the ResourceVersion in the precondition (0)`}, nil},
		{"DELETE " + path + "?limit=x", `{`, nil, 400, []string{`strconv.ParseInt: parsing \"x\"`}, nil},
		{"DELETE " + path + "?resourceVersion=" + first, ``, nil, 200, []string{`"name":"a"`}, []string{`"name":"b"`}},
		{"GET " + path, ``, nil, 200, []string{`"items":[]`}, nil},
	})
}

// TestDeleteAccepted: only who asks in the old way for dependents to go is told by the code that an object waits.
func TestDeleteAccepted(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	ask(t, s, "POST "+path, `{"metadata":{"name":"a","finalizers":["x.io/a"]}}`)
	ask(t, s, "POST "+path, configMap("b"))
	run(t, s, []step{
		{"DELETE " + path + "/a?orphanDependents=false&dryRun=All", ``, nil, 202, []string{`"deletionTimestamp"`}, nil},
		{"DELETE " + path + "/a", ``, nil, 200, []string{`"deletionTimestamp"`}, nil},
		{"DELETE " + path + "/a?orphanDependents=true", ``, nil, 200, nil, nil},
		{"DELETE " + path + "/a", `{"orphanDependents":false}`, nil, 202, []string{`"deletionTimestamp"`}, nil},
		{"DELETE " + path + "/b?orphanDependents=false", ``, nil, 200, []string{`"status":"Success"`}, nil},
	})
}

// TestPageAtRevision: a page at a revision shows that very state, and a whole list one that is no older.
func TestPageAtRevision(t *testing.T) {
	const path = "/api/v1/namespaces/default/configmaps"
	s := open(t)
	first := ask(t, s, "POST "+path, configMap("a")).at(t, "metadata", "resourceVersion")
	ask(t, s, "POST "+path, configMap("b"))
	both, one := []string{`"name":"a"`, `"name":"b"`}, []string{`"name":"b"`}
	run(t, s, []step{
		{"GET " + path + "?limit=5&resourceVersion=" + first, ``, nil, 200, both[:1], one},
		{"GET " + path + "?resourceVersion=" + first, ``, nil, 200, both, nil},
		{"GET " + path + "?limit=5&resourceVersionMatch=NotOlderThan&resourceVersion=" + first, ``, nil, 200, both, nil},
		{"GET " + path + "?limit=5&resourceVersion=0", ``, nil, 200, both, nil},
	})
}
