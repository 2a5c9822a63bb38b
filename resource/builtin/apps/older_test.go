package apps

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

func version(t *testing.T, d *resource.Definition, apiVersion string) *resource.Version {
	t.Helper()
	v := d.Version(apiVersion)
	if v == nil {
		t.Fatalf("%s has no version %s", d.Kind, apiVersion)
	}
	return v
}

// read decodes and defaults an object as a write does.
func read(t *testing.T, d *resource.Definition, v *resource.Version, body string) *resource.Object {
	t.Helper()
	o, problems, err := v.Codec.Decode([]byte(body), false)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %q", err, problems)
	}
	for range 2 { // defaulting is idempotent
		if v.Default != nil {
			v.Default(o)
		}
		d.Hooks.Default(o)
	}
	return o
}

func TestOlderDefaults(t *testing.T) {
	const template = `"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}`
	const (
		fromTemplate = `{"labels":{"a":"b"},"selector":{"matchLabels":{"a":"b"}}`
		given        = `{"labels":{"x":"y"},"selector":{"matchLabels":{"c":"d"}}`
		one          = `,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1,"maxSurge":1}}`
		quarter      = `,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":"25%","maxSurge":"25%"}}`
		endless      = `,"revisionHistoryLimit":2147483647,"progressDeadlineSeconds":2147483647`
	)
	for _, c := range []struct {
		kind                          func() *resource.Definition
		version, metadata, spec, want string
	}{
		{Deployments, "extensions/v1beta1", `{}`, ``, fromTemplate + `,"replicas":1` + one + endless + `}`},
		{Deployments, "extensions/v1beta1", `{"labels":{"x":"y"}}`, `"selector":{"matchLabels":{"c":"d"}},"replicas":3,"strategy":{"rollingUpdate":{"maxSurge":"10%"}},"revisionHistoryLimit":1,"progressDeadlineSeconds":5,`,
			given + `,"replicas":3,"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1,"maxSurge":"10%"}},"revisionHistoryLimit":1,"progressDeadlineSeconds":5}`},
		{Deployments, "extensions/v1beta1", `{}`, `"strategy":{"type":"Recreate"},`, fromTemplate + `,"replicas":1,"strategy":{"type":"Recreate"}` + endless + `}`},
		{Deployments, "apps/v1beta1", `{}`, ``, fromTemplate + `,"replicas":1` + quarter + `,"revisionHistoryLimit":2,"progressDeadlineSeconds":600}`},
		{Deployments, "apps/v1beta2", `{}`, ``, `{"selector":null,"replicas":1` + quarter + `,"revisionHistoryLimit":10,"progressDeadlineSeconds":600}`},
		{Deployments, "apps/v1", `{}`, ``, `{"selector":null,"replicas":1` + quarter + `,"revisionHistoryLimit":10,"progressDeadlineSeconds":600}`},
		{ReplicaSets, "extensions/v1beta1", `{}`, ``, fromTemplate + `,"replicas":1}`},
		{ReplicaSets, "apps/v1beta2", `{}`, ``, `{"selector":null,"replicas":1}`},
	} {
		d := c.kind()
		o := read(t, d, version(t, d, c.version), `{"metadata":`+c.metadata+`,"spec":{`+c.spec+template+`}}`)
		got := struct {
			Labels                  map[string]string          `json:"labels,omitempty"`
			Selector                *metav1.LabelSelector      `json:"selector"`
			Replicas                *int32                     `json:"replicas"`
			Strategy                *appsv1.DeploymentStrategy `json:"strategy,omitempty"`
			RevisionHistoryLimit    *int32                     `json:"revisionHistoryLimit,omitempty"`
			ProgressDeadlineSeconds *int32                     `json:"progressDeadlineSeconds,omitempty"`
		}{Labels: o.Meta.Labels}
		switch o := o.Value.(type) {
		case *appsv1.Deployment:
			s := &o.Spec
			got.Selector, got.Replicas, got.Strategy = s.Selector, s.Replicas, &s.Strategy
			got.RevisionHistoryLimit, got.ProgressDeadlineSeconds = s.RevisionHistoryLimit, s.ProgressDeadlineSeconds
		case *appsv1.ReplicaSet:
			got.Selector, got.Replicas = o.Spec.Selector, o.Spec.Replicas
		}
		if b, err := json.Marshal(got); err != nil || string(b) != c.want {
			t.Errorf("%s %s of %s:\n%s, %v\nwant\n%s", c.version, d.Kind, c.spec, b, err, c.want)
		}
	}
}

func TestSelectorsOfFirstVersionsChange(t *testing.T) {
	ctx := context.Background()
	change := map[string]string{"c": "d"}
	fixed := `spec.selector: Invalid value: {"matchLabels":{"c":"d"}}: field is immutable`
	for apiVersion, mutable := range map[string]bool{"apps/v1": false, "apps/v1beta2": false, "apps/v1beta1": true, "extensions/v1beta1": true} {
		want := []string{fixed}
		if mutable {
			want = []string{}
		}
		d := storedDeployment()
		d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = change, change
		w := &resource.Write{Version: version(t, Deployments(), apiVersion)}
		if got := lines(validateDeployment(ctx, w, d, storedDeployment())); !slices.Equal(got, want) {
			t.Errorf("%s Deployment: got %q, want %q", apiVersion, got, want)
		}
		if apiVersion == "apps/v1beta1" {
			continue
		}
		r := storedReplicaSet()
		r.Spec.Selector.MatchLabels, r.Spec.Template.Labels = change, change
		w = &resource.Write{Version: version(t, ReplicaSets(), apiVersion)}
		if got := lines(validateReplicaSet(ctx, w, r, storedReplicaSet())); !slices.Equal(got, want) {
			t.Errorf("%s ReplicaSet: got %q, want %q", apiVersion, got, want)
		}
	}
}

func TestRollbackToIsAnAnnotation(t *testing.T) {
	d := Deployments()
	v := version(t, d, "extensions/v1beta1")
	const note = `"annotations":{"deprecated.deployment.rollback.to":`
	for _, c := range []struct{ sent, stored, shown string }{
		{`{"metadata":{},"spec":{"rollbackTo":{"revision":7}}}`, note + `"7"}`, `"rollbackTo":{"revision":7}`},
		{`{"metadata":{},"spec":{"rollbackTo":{}}}`, note + `"0"}`, `"rollbackTo":{}`},
		{`{"metadata":{` + note + `"3"}},"spec":{"rollbackTo":{"revision":7}}}`, note + `"7"}`, `"rollbackTo":{"revision":7}`},
	} {
		o := read(t, d, v, c.sent)
		stored, err := d.Storage().Codec.Encode(nil, o)
		if err != nil || !strings.Contains(string(stored), c.stored) || strings.Contains(string(stored), "rollbackTo") {
			t.Errorf("%s is stored as %s, %v; want %s", c.sent, stored, err, c.stored)
		}
		shown, err := v.Codec.Encode(nil, o)
		if err != nil || !strings.Contains(string(shown), c.shown) || strings.Contains(c.shown, "rollbackTo") == strings.Contains(string(shown), "annotations") {
			t.Errorf("%s is shown as %s, %v; want %s", c.sent, shown, err, c.shown)
		}
		if v.Except == "" || !strings.Contains(string(stored), v.Except) {
			t.Errorf("%s is served as it is stored", c.sent)
		}
	}
}

// TestRollbackAnnotation: what the annotation says is read as a number, and where the field says it, is not kept.
func TestRollbackAnnotation(t *testing.T) {
	const name = appsv1.DeprecatedRollbackTo
	d := Deployments()
	for _, c := range []struct{ version, note, want, wantErr string }{
		{"apps/v1", "3", "3", ""}, {"apps/v1", "+3", "3", ""}, {"apps/v1", "-5", "-5", ""}, {"apps/v1beta2", "007", "7", ""}, {"apps/v1", "", "", ""},
		{"apps/v1", "x", "", `failed to parse annotation[` + name + `]=x as int64: strconv.ParseInt: parsing "x": invalid syntax`},
		{"apps/v1beta2", " 3", "", `failed to parse annotation[` + name + `]= 3 as int64: strconv.ParseInt: parsing " 3": invalid syntax`},
		{"apps/v1beta1", "3", "", ""}, {"extensions/v1beta1", "x", "", ""},
	} {
		sent := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q,"k":"v"}}}`, name, c.note)
		o, _, err := version(t, d, c.version).Codec.Decode([]byte(sent), false)
		if err != nil {
			if err.Error() != c.wantErr {
				t.Errorf("%s %q: %v, want %q", c.version, c.note, err, c.wantErr)
			}
			continue
		}
		want := map[string]string{"k": "v"}
		if c.want != "" {
			want[name] = c.want
		}
		if got := o.Value.(*appsv1.Deployment).Annotations; c.wantErr != "" || !maps.Equal(got, want) {
			t.Errorf("%s %q: %v, want %v %s", c.version, c.note, got, want, c.wantErr)
		}
	}
	stored := storedDeployment()
	stored.Annotations = map[string]string{name: "-5"}
	want := []string{"spec.rollback.version: Invalid value: -5: must be greater than or equal to 0"}
	if got := lines(validateDeployment(context.Background(), &resource.Write{}, stored, nil)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRollback(t *testing.T) {
	for _, c := range []struct {
		name string
		body extensionsv1beta1.DeploymentRollback
		want string // of the error
	}{
		{"asked", extensionsv1beta1.DeploymentRollback{Name: "d", RollbackTo: extensionsv1beta1.RollbackConfig{Revision: 3}, UpdatedAnnotations: map[string]string{"x": "y"}}, ""},
		{"of another", extensionsv1beta1.DeploymentRollback{Name: "e"}, "name in URL does not match name in DeploymentRollback object"},
		{"of nobody", extensionsv1beta1.DeploymentRollback{}, `DeploymentRollback.apps "" is invalid: name: Required value: name is required`},
		{"to before the first", extensionsv1beta1.DeploymentRollback{Name: "d", RollbackTo: extensionsv1beta1.RollbackConfig{Revision: -1}}, `DeploymentRollback.apps "d" is invalid: rollback.version: Invalid value: -1: must be greater than or equal to 0`},
	} {
		o, err := resource.TypedObject(storedDeployment())
		if err != nil {
			t.Fatal(err)
		}
		w := &resource.Write{Old: o, New: o.Clone()}
		sub, _ := Deployments().Subresource(version(t, Deployments(), "apps/v1beta1"), "rollback")
		err = sub.Apply(context.Background(), w, &c.body)
		switch d := w.New.Value.(*appsv1.Deployment); {
		case c.want != "":
			if err == nil || api.AsError(err).Status.Message != c.want {
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		case err != nil || d.Annotations[appsv1.DeprecatedRollbackTo] != "3" || d.Annotations["x"] != "y" || d.Generation != 2:
			t.Errorf("%s: %v, %q, generation %d", c.name, err, d.Annotations, d.Generation)
		}
	}
	if _, ok := Deployments().Subresource(version(t, Deployments(), "apps/v1"), "rollback"); ok {
		t.Error("apps/v1 has a rollback")
	}
}
