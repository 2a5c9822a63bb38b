package server

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/api"
	"pintle.dev/object"
	"pintle.dev/resource"
	"pintle.dev/server/accept"
)

// typeMeta is what upstream reads of a body first. Its Go type shows in messages, so it is spelled as upstream's.
type typeMeta = struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
}

// decodeError words, as upstream does, why a body is no object of the request's kind.
func (q *request) decodeError(data []byte, err error) error {
	if e := refused(err); e != nil {
		return e
	}
	var t typeMeta
	if terr := json.Unmarshal(data, &t); terr != nil {
		return api.BadRequest("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse error: %v (%s)",
			q.kind(), terr, summary(q.sent(data)))
	}
	if q.d.Custom {
		if e := q.untyped(data, t); e != nil {
			return e
		}
		// Whether they are of the right version is asked of whole objects only.
		gv, _ := schema.ParseGroupVersion(t.APIVersion)
		return api.BadRequest("%s in version %q cannot be handled as a %s: %s", cmp.Or(t.Kind, q.kind()), gv.Version, q.kind(), err)
	}
	if mismatch := q.mismatch(data, t); mismatch != nil {
		return mismatch
	}
	return q.unhandled(t, err.Error())
}

// refused is what a codec itself answers to what it read; nil when it only could not read it.
func refused(err error) error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// unhandled is the 400 for a body that is not what it says, or not what belongs here.
func (q *request) unhandled(t typeMeta, why string) error {
	kind, version := t.Kind, q.v.Name
	if kind == "" {
		kind = q.kind()
	}
	if gv, err := schema.ParseGroupVersion(t.APIVersion); err == nil && gv.Version != "" {
		version = gv.Version
	}
	return api.BadRequest("%s in version %q cannot be handled as a %s: %s", kind, version, q.kind(), why)
}

// checkType refuses an object that says it is of another kind or version.
func (q *request) checkType(data []byte, o *resource.Object) error {
	var t typeMeta
	switch v := o.Value.(type) {
	case runtime.Object:
		if m, ok := v.GetObjectKind().(*metav1.TypeMeta); ok {
			t = typeMeta{APIVersion: m.APIVersion, Kind: m.Kind}
		}
	case *object.Value:
		for _, name := range [...]string{"apiVersion", "kind"} {
			if f := v.Get(name); f != nil && f.Kind() != object.String && f.Kind() != object.Null {
				return q.decodeError(data, fmt.Errorf("%s is no string", name))
			}
		}
		t.APIVersion, t.Kind = v.Get("apiVersion").Str(), v.Get("kind").Str()
	}
	if q.d.Custom {
		return q.customMismatch(data, t)
	}
	return q.mismatch(data, t)
}

// mismatch is nil when t, which data says of itself, names the request's kind and version, or leaves them out where
// upstream fills them in.
func (q *request) mismatch(data []byte, t typeMeta) error {
	if t.Kind == q.kind() && t.APIVersion == q.v.APIVersion() {
		return nil
	}
	want := t
	if want.Kind == "" {
		want.Kind = q.kind()
	}
	if want.APIVersion == "" {
		want.APIVersion = q.v.APIVersion()
	}
	if want.Kind == q.kind() && want.APIVersion == q.v.APIVersion() {
		return nil
	}
	gv, err := schema.ParseGroupVersion(want.APIVersion)
	if err != nil {
		return api.BadRequest("the object provided is unrecognized (must be of type %s): %s (%s)", q.kind(), err, summary(q.sent(data)))
	}
	d, v := q.s.Registry.ByKind(gv.Group, gv.Version, want.Kind)
	if d == nil && q.s.knowsKind(gv, want.Kind) {
		return q.unhandled(want, unconvertible(gv, want.Kind, gv.Group, q.kind()))
	}
	if d == nil || d.Custom {
		return q.unhandled(want, unregistered(want.Kind, want.APIVersion))
	}
	if v.APIVersion() != q.v.APIVersion() {
		return api.BadRequest("the API version in the data (%s) does not match the expected API version (%s)", want.APIVersion, q.v.APIVersion())
	}
	if len(data) > 0 { // none when the body is protobuf
		if _, _, err := v.Codec.Decode(data, false); err != nil {
			return q.unhandled(want, err.Error())
		}
	}
	return q.unhandled(want, unconvertible(gv, want.Kind, gv.Group, q.kind()))
}

// unregistered is upstream's text for a kind that is not there. Its scheme goes by where upstream makes it.
func unregistered(kind, apiVersion string) string {
	return fmt.Sprintf("no kind %q is registered for version %q in scheme \"pkg/runtime/scheme.go:100\"", kind, apiVersion)
}

// internalGroup is what upstream's messages call the package of a group's internal types.
func internalGroup(group string) string {
	if group == "" {
		return "core"
	}
	first, _, _ := strings.Cut(group, ".")
	return first
}

// summary shows the beginning of a body that could not be read.
func summary(data []byte) string {
	const most = 30
	switch {
	case len(data) == 0:
		return "<empty>"
	case data[0] != '{' && len(data) > most:
		return hex.EncodeToString(data[:most]) + " ..."
	case data[0] != '{':
		return hex.EncodeToString(data)
	case len(data) > most:
		return string(data[:most]) + " ..."
	}
	return string(data)
}

// customPatchMismatch is mismatch for the result of a patch, which has passed no decoder that looks at it.
func (q *request) customPatchMismatch(target *object.Value) error {
	kind, version := target.Get("kind").Str(), target.Get("apiVersion").Str()
	var errs field.ErrorList
	if kind != q.kind() {
		errs = append(errs, field.Invalid(field.NewPath("kind"), kind, "must be "+q.kind()))
	}
	if version != q.v.APIVersion() {
		errs = append(errs, field.Invalid(field.NewPath("apiVersion"), version, "must be "+q.v.APIVersion()))
	}
	if len(errs) == 0 {
		return nil
	}
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return api.BadRequest("%s", err)
	}
	return api.Invalid(gv.Group, kind, q.Key.Name, errs)
}

// customMismatch is mismatch for custom resources, whose bodies must say what they are. That one is of another kind is
// for validation to say.
func (q *request) customMismatch(data []byte, t typeMeta) error {
	if t.Kind == q.kind() && t.APIVersion == q.v.APIVersion() {
		return nil
	}
	return q.untyped(data, t)
}

// checkAPIVersion refuses a custom resource in another version than the request's. Upstream does so after it has looked for
// unknown fields.
func (q *request) checkAPIVersion(o *resource.Object) error {
	doc, ok := o.Value.(*object.Value)
	if !ok || !q.d.Custom {
		return nil
	}
	if at := doc.Get("apiVersion").Str(); at != q.v.APIVersion() {
		return api.BadRequest("the API version in the data (%s) does not match the expected API version (%s)", at, q.v.APIVersion())
	}
	return nil
}

// sent is the body as the client sent it, whose JSON is data.
func (q *request) sent(data []byte) []byte {
	if q.ContentType == accept.TypeYAML {
		return q.Body
	}
	return data
}

// untyped words, as upstream does, that a body of a custom resource, whose JSON is data, does not say what it is; nil when
// it does.
func (q *request) untyped(data []byte, t typeMeta) error {
	body := q.sent(data)
	unrecognized := func(format string, args ...any) error {
		return api.BadRequest("the object provided is unrecognized (must be of type %s): %s (%s)", q.kind(), fmt.Sprintf(format, args...), summary(body))
	}
	if _, err := schema.ParseGroupVersion(t.APIVersion); err != nil {
		return unrecognized("%s", err)
	}
	if t.Kind == "" {
		return unrecognized("Object 'Kind' is missing in '%s'", body)
	}
	var sent struct {
		APIVersion json.RawMessage `json:"apiVersion"`
	}
	if err := json.Unmarshal(data, &sent); err == nil && string(sent.APIVersion) == "null" {
		return api.BadRequest(`%s in version "" cannot be handled as a %s: .apiVersion accessor error: <nil> is of the type <nil>, expected string`, t.Kind, q.kind())
	}
	return nil
}

func marshal(o any) ([]byte, error) { return json.Marshal(o) }
