package server

import (
	"context"
	"testing"

	"pintle.dev/resource"
)

// labeller is an Admission that labels ConfigMaps and pods' statuses, and says so.
type labeller struct{ only string }

func (l labeller) Completes(w *resource.Write) bool { return w.Definition.Resource.Name == l.only }
func (l labeller) Admit(_ context.Context, w *resource.Write) error {
	if l.Completes(w) && w.New != nil {
		w.New.Meta.Labels = map[string]string{"admitted": "so"}
	}
	return nil
}
func (labeller) Validate(context.Context, *resource.Write) error { return nil }

// TestStoredAsEncoded writes objects that are stored as they were encoded for field ownership, and such that admission,
// Prepare or the rules of metadata change after that.
func TestStoredAsEncoded(t *testing.T) {
	const maps, pods = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/pods"
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}`
	const status = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"sent":"so"}},"spec":{"containers":[{"name":"c","image":"other"}]},` +
		`"status":{"phase":"Running","message":"hello"}}`
	for _, only := range []string{"", "configmaps", "pods"} {
		s := open(t)
		s.Admission = labeller{only}
		label, none := []string{`"labels":{"admitted":"so"}`}, []string{`admitted`}
		mapLabel, mapNone, podNot := []string(nil), none, none
		podLabel := []string{`"labels":{"sent":"so"}`, `"f:labels":{".":{},"f:sent":{}}`}
		switch only {
		case "configmaps":
			mapLabel, mapNone = label, []string{`f:admitted`}
		case "pods":
			podLabel, podNot = label, []string{`f:admitted`}
		}
		run(t, s, []step{
			{"POST " + maps, configMap("c"), nil, 201, nil, nil},
			{"GET " + maps + "/c", "", nil, 200, mapLabel, mapNone},
			{"PATCH " + maps + "/c", `{"data":{"x":"1"},"metadata":{"generation":7,"creationTimestamp":null}}`, []string{mergePatch}, 200, nil, nil},
			{"GET " + maps + "/c", "", nil, 200, append(mapLabel, `"x":"1"`, `"f:x":{}`, `"creationTimestamp":"2`), append(mapNone, `"generation"`)},
			{"POST " + pods, pod, nil, 201, nil, nil},
			{"PUT " + pods + "/p/status", status, nil, 200, nil, nil},
			{"GET " + pods + "/p", "", nil, 200, append(podLabel, `"message":"hello"`, `"image":"i"`, `"qosClass":"BestEffort"`,
				`"f:status":{"f:message":{},"f:phase":{}}`, `"subresource":"status"`), append(podNot, `other`)},
		})
	}
}
