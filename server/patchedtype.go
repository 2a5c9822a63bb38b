package server

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
)

// patchedType is the version that a patched document says it is of, for it to be read in: the request's, unless the patch
// named another in which the kind exists. Anything else is refused as upstream's decoder refuses it, which reads the type
// before all else. duplicates are what strict validation found in the patch.
func (q *request) patchedType(rec *api.Record, target *object.Value, duplicates []string) (*resource.Version, error) {
	if types.PatchType(q.ContentType) == types.StrategicMergePatchType {
		return q.settledType(target), nil
	}
	apiVersion, kind := target.Get("apiVersion"), target.Get("kind")
	if apiVersion.Str() == q.v.APIVersion() && kind.Str() == q.kind() {
		return q.v, nil
	}
	var t typeMeta
	if err := json.Unmarshal(object.AppendJSON(nil, target), &t); err != nil {
		return nil, q.invalidPatch(rec, fmt.Sprintf("couldn't get version/kind; json parse error: %v", err))
	}
	if q.d.Custom {
		return q.customPatchedType(rec, t, apiVersion)
	}
	if t.Kind == "" {
		t.Kind = q.kind()
	}
	if t.APIVersion == "" {
		return nil, q.unversioned(rec, target, duplicates)
	}
	gv, err := schema.ParseGroupVersion(t.APIVersion)
	if err != nil {
		return nil, q.invalidPatch(rec, err.Error())
	}
	switch d, v := q.s.Registry.ByKind(gv.Group, gv.Version, t.Kind); {
	case d == q.d:
		return v, nil
	case d == nil && !q.s.knowsKind(gv, t.Kind), d != nil && d.Custom:
		return nil, q.invalidPatch(rec, unregistered(t.Kind, t.APIVersion))
	}
	return nil, q.invalidPatch(rec, unconvertible(gv, t.Kind, q.v.Group, q.kind()))
}

// settledType gives a document its type back: a strategic merge patch is merged into an object whose type is settled.
func (q *request) settledType(target *object.Value) *resource.Version {
	for name, value := range map[string]string{"apiVersion": q.v.APIVersion(), "kind": q.kind()} {
		if k := target.Get(name).Kind(); k == object.String || k == object.Null {
			target.Set(name, object.NewString(value))
		}
	}
	return q.v
}

// customPatchedType is patchedType for custom resources, which must say what they are. That it is something else is
// found out once they are read. Upstream answers one that has no apiVersion with a 500 of the same message and cause.
func (q *request) customPatchedType(rec *api.Record, t typeMeta, apiVersion *object.Value) (*resource.Version, error) {
	if t.Kind == "" {
		text, err := q.patchedText(rec)
		if err != nil {
			return nil, err
		}
		return nil, q.invalidPatch(rec, fmt.Sprintf("Object 'Kind' is missing in '%s'", text))
	}
	if apiVersion != nil && apiVersion.IsNull() {
		return nil, q.invalidPatch(rec, ".apiVersion accessor error: <nil> is of the type <nil>, expected string")
	}
	if t.APIVersion == "" {
		const why = "Object 'apiVersion' is missing in 'object has no apiVersion field'"
		e := api.BadRequest("Internal error occurred: %s", why)
		e.Status.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: why}}}
		return nil, e
	}
	if _, err := schema.ParseGroupVersion(t.APIVersion); err != nil {
		return nil, q.invalidPatch(rec, err.Error())
	}
	if v := q.d.Version(t.APIVersion); v != nil {
		return v, nil
	}
	return q.v, nil
}

// restoreType gives a patched custom resource its type back in a write of its status, which does not change it: so that
// nobody misses it, but upstream cannot tell who owns what of such an object, and forgets it for good.
func (q *request) restoreType(target *object.Value) {
	if target.Get("kind").Str() != q.kind() || q.d.Version(target.Get("apiVersion").Str()) == nil {
		q.decided = new(api.Owners)
	}
	target.Set("apiVersion", object.NewString(q.v.APIVersion()))
	target.Set("kind", object.NewString(q.kind()))
}

// takeUndeclared drops the members that a patched custom resource should not have because it says it is of a version that
// the kind does not have, and names them; none when that exists, or it says that it is something else.
func (q *request) takeUndeclared(target *object.Value) (unknown []string) {
	apiVersion := target.Get("apiVersion").Str()
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || gv.Group != q.v.Group || target.Get("kind").Str() != q.kind() || q.d.Version(apiVersion) != nil {
		return nil
	}
	declared := object.NewMap()
	for name, member := range target.Fields() {
		if name == "apiVersion" || name == "kind" || name == "metadata" {
			declared.Set(name, *member)
		} else {
			unknown = append(unknown, fmt.Sprintf("unknown field %q", name))
		}
	}
	target.Replace(declared)
	return unknown
}

// unversioned is the answer to a patch that takes the apiVersion away. Upstream reads such a document into its internal
// type, in which no member has the name that it has in JSON.
func (q *request) unversioned(rec *api.Record, target *object.Value, duplicates []string) error {
	var unknown []string
	for name := range target.Fields() {
		if name != "apiVersion" && name != "kind" {
			unknown = append(unknown, fmt.Sprintf("unknown field %q", name))
		}
	}
	if err := q.judgePatch(rec, duplicates, unknown); err != nil {
		return err
	}
	return q.nameless()
}

// undecodable is the answer when a patched document cannot be read in the version it is of. Of several things that are
// wrong upstream names the first, in the order in which its library wrote the document.
func (q *request) undecodable(rec *api.Record, said *resource.Version, why error) error {
	if !q.d.Custom && types.PatchType(q.ContentType) != types.StrategicMergePatchType {
		text, err := q.patchedText(rec)
		if err != nil {
			return err
		}
		if _, _, err := said.Codec.Decode(text, false); err != nil {
			why = err
		}
	}
	return q.invalidPatch(rec, why.Error())
}

// knowsKind reports whether a version of a built-in group has a kind that is no resource: the list of one, or a Status.
func (s *Server) knowsKind(gv schema.GroupVersion, kind string) bool {
	if kind == "Status" {
		return gv.Group == "" && gv.Version == "v1"
	}
	of, isList := strings.CutSuffix(kind, "List")
	d, _ := s.Registry.ByKind(gv.Group, gv.Version, of)
	return isList && d != nil && !d.Custom
}

// unconvertible is upstream's text for an object of a kind that exists but does not belong here.
func unconvertible(gv schema.GroupVersion, kind, wantGroup, wantKind string) string {
	return fmt.Sprintf("converting (%s.%s) to (%s.%s): unknown conversion", gv.Version, kind, internalGroup(wantGroup), wantKind)
}
