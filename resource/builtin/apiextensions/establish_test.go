package apiextensions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
	"pintle.dev/store"
	"pintle.dev/store/mem"
)

func widgets(plural, singular, kind string, short ...string) *apiextensionsv1.CustomResourceDefinition {
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + ".example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names:    apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: singular, Kind: kind, ShortNames: short},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true}},
		},
	}
	apiextensionsv1.SetObjectDefaults_CustomResourceDefinition(crd)
	return crd
}

func conditions(crd *apiextensionsv1.CustomResourceDefinition) string {
	var l []string
	for _, c := range crd.Status.Conditions {
		l = append(l, fmt.Sprintf("%s=%s %s (%s)", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(l, "; ")
}

const (
	isEstablished = "NamesAccepted=True NoConflicts (no conflicts found); Established=True InitialNamesAccepted (the initial names have been accepted)"
	notAccepted   = "; Established=False NotAccepted (not all names are accepted)"
)

func TestEstablish(t *testing.T) {
	for _, tt := range []struct {
		name     string
		taken    []Name
		want     string
		accepted apiextensionsv1.CustomResourceDefinitionNames
	}{
		{"free", nil, isEstablished, apiextensionsv1.CustomResourceDefinitionNames{Plural: "ws", Singular: "w", Kind: "W", ListKind: "WList", ShortNames: []string{"a", "b"}}},
		{"kind of another space", []Name{{false, "W"}, {true, "ws"}}, isEstablished,
			apiextensionsv1.CustomResourceDefinitionNames{Plural: "ws", Singular: "w", Kind: "W", ListKind: "WList", ShortNames: []string{"a", "b"}}},
		{"plural", []Name{{false, "ws"}}, `NamesAccepted=False PluralConflict ("ws" is already in use)` + notAccepted,
			apiextensionsv1.CustomResourceDefinitionNames{Singular: "w", Kind: "W", ListKind: "WList", ShortNames: []string{"a", "b"}}},
		{"short names", []Name{{false, "a"}, {false, "b"}}, `NamesAccepted=False ShortNamesConflict (["a" is already in use, "b" is already in use])` + notAccepted,
			apiextensionsv1.CustomResourceDefinitionNames{Plural: "ws", Singular: "w", Kind: "W", ListKind: "WList"}},
		{"the last conflict is reported", []Name{{false, "w"}, {true, "W"}, {true, "WList"}}, `NamesAccepted=False ListKindConflict ("WList" is already in use)` + notAccepted,
			apiextensionsv1.CustomResourceDefinitionNames{Plural: "ws", ShortNames: []string{"a", "b"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			crd := widgets("ws", "w", "W", "a", "b")
			Establish(crd, func(n Name) bool { return slices.Contains(tt.taken, n) })
			if got := conditions(crd); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := crd.Status.AcceptedNames; fmt.Sprint(got) != fmt.Sprint(tt.accepted) {
				t.Errorf("accepted %+v, want %+v", got, tt.accepted)
			}
		})
	}
}

func TestEstablishIsForGood(t *testing.T) {
	crd := widgets("ws", "w", "W")
	Establish(crd, func(Name) bool { return false })
	crd.Spec.Names.ShortNames = []string{"x"}
	Establish(crd, func(n Name) bool { return n.Value == "x" })
	want := `NamesAccepted=False ShortNamesConflict ("x" is already in use); Established=True InitialNamesAccepted (the initial names have been accepted)`
	if got := conditions(crd); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestInvalidBundleIsNotEstablished(t *testing.T) {
	crd := widgets("ws", "w", "W")
	bundle := &apiextensionsv1.WebhookClientConfig{CABundle: []byte("no certificate")}
	crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{
		Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{ClientConfig: bundle},
	}
	free := func(Name) bool { return false }
	Establish(crd, free)
	want := "NamesAccepted=True NoConflicts (no conflicts found); Established=False InvalidCABundle (The conversion webhook CABundle is invalid)"
	if got := conditions(crd); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	bundle.CABundle = nil // as a URL of a well-known authority needs none
	if Establish(crd, free); conditions(crd) != isEstablished {
		t.Errorf("with the bundle mended: %s", conditions(crd))
	}
	bundle.CABundle = []byte("no certificate")
	if Establish(crd, free); conditions(crd) != isEstablished {
		t.Errorf("once established: %s", conditions(crd))
	}
}

func TestApproval(t *testing.T) {
	crd := widgets("ws", "w", "W")
	crd.Spec.Group = "x.k8s.io"
	crd.Annotations = map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: "https://example.com/pr"}
	Establish(crd, func(Name) bool { return false })
	if got := conditions(crd); !strings.HasPrefix(got, "KubernetesAPIApprovalPolicyConformant=True ApprovedAnnotation (approved in https://example.com/pr); ") {
		t.Error(got)
	}
}

// world is a store and what the server does with a definition's hooks, without its other parts.
type world struct {
	t *testing.T
	s *store.Store
	d *resource.Definition
}

func newWorld(t *testing.T) *world {
	s, err := store.Open(context.Background(), store.Config{Backend: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t, s, CustomResourceDefinitions()}
}

// claim runs the hook for a change from old to crd, either of which may be nil, and commits what it asks for.
func (w *world) claim(crd, old *apiextensionsv1.CustomResourceDefinition) {
	w.t.Helper()
	wrap := func(crd *apiextensionsv1.CustomResourceDefinition) *resource.Object {
		if crd == nil {
			return nil
		}
		o, err := resource.TypedObject(crd)
		if err != nil {
			w.t.Fatal(err)
		}
		return o
	}
	v, err := w.s.View(context.Background(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	writes, err := w.d.Hooks.Claim(context.Background(), v, &resource.Write{Definition: w.d, New: wrap(crd), Old: wrap(old)})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(writes) > 0 {
		if _, err := w.s.Commit(context.Background(), writes...); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) claims() int {
	w.t.Helper()
	v, err := w.s.View(context.Background(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return v.Len(api.Claims, "")
}

func TestNamesAreHeldUntilTheDefinitionGoes(t *testing.T) {
	w := newWorld(t)
	first := widgets("ws", "w", "W", "x")
	w.claim(first, nil)
	if got := conditions(first); got != isEstablished {
		t.Fatal(got)
	}
	if n := w.claims(); n != 5 {
		t.Errorf("%d claims, want plural, singular, short name, kind and list kind", n)
	}
	second := widgets("vs", "v", "W")
	w.claim(second, nil)
	if got := conditions(second); !strings.Contains(got, `ListKindConflict ("WList" is already in use)`) {
		t.Fatal(got)
	}
	other := widgets("ws", "w", "W")
	other.Spec.Group = "example.org"
	w.claim(other, nil)
	if got := conditions(other); got != isEstablished {
		t.Errorf("names of another group got in the way: %s", got)
	}

	again := second.DeepCopy()
	w.claim(again, second)
	if got := conditions(again); got != conditions(second) {
		t.Errorf("without a change: %s", got)
	}
	w.claim(nil, first)
	w.claim(again, second)
	if got := conditions(again); got != isEstablished {
		t.Errorf("after the other definition is gone: %s", got)
	}
	w.claim(nil, again)
	w.claim(nil, other)
	if n := w.claims(); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}

func TestDryRunLeavesTheStatusAlone(t *testing.T) {
	w := newWorld(t)
	crd := widgets("ws", "w", "W")
	o, err := resource.TypedObject(crd)
	if err != nil {
		t.Fatal(err)
	}
	v, err := w.s.View(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	write := &resource.Write{Definition: w.d, New: o, DryRun: true}
	writes, err := w.d.Hooks.Claim(context.Background(), v, write)
	if err != nil || len(writes) > 0 || write.StatusClaimed {
		t.Errorf("writes %v, status claimed %v, error %v", writes, write.StatusClaimed, err)
	}
	if got := conditions(crd); got != "" || crd.Status.AcceptedNames.Plural != "" {
		t.Errorf("status %+v", crd.Status)
	}
}

func TestRenamingGivesNamesBack(t *testing.T) {
	w := newWorld(t)
	old := widgets("ws", "w", "W", "x", "y")
	w.claim(old, nil)
	crd := old.DeepCopy()
	crd.Spec.Names.ShortNames = []string{"y", "z"}
	w.claim(crd, old)
	v, err := w.s.View(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, held := range map[string]bool{"x": false, "y": true, "z": true} {
		if got := v.Get(api.Claims, Name{false, name}.in("example.com")) != nil; got != held {
			t.Errorf("short name %s held: %v", name, got)
		}
	}
}

func TestTerminate(t *testing.T) {
	crd := widgets("ws", "w", "W")
	o, err := resource.TypedObject(crd)
	if err != nil {
		t.Fatal(err)
	}
	d := CustomResourceDefinitions()
	for range 2 {
		d.Hooks.Terminate(context.Background(), &resource.Write{New: o})
	}
	if !slices.Equal(crd.Finalizers, []string{"customresourcecleanup.apiextensions.k8s.io"}) {
		t.Errorf("finalizers %v", crd.Finalizers)
	}
	if got := conditions(crd); got != "Terminating=True InstanceDeletionPending (CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon)" {
		t.Error(got)
	}
}

func TestPrepare(t *testing.T) {
	old := widgets("ws", "w", "W")
	old.Generation = 3
	old.Status.StoredVersions = []string{"v1"}
	Establish(old, func(Name) bool { return false })
	for _, tt := range []struct {
		name        string
		subresource string
		change      func(crd *apiextensionsv1.CustomResourceDefinition)
		generation  int64
		stored      string
	}{
		{"nothing", "", func(crd *apiextensionsv1.CustomResourceDefinition) {}, 3, "v1"},
		{"what is defaulted is left out", "", func(crd *apiextensionsv1.CustomResourceDefinition) {
			crd.Spec.Conversion, crd.Spec.Names.ListKind = nil, ""
		}, 3, "v1"},
		{"spec", "", func(crd *apiextensionsv1.CustomResourceDefinition) { crd.Spec.Names.ShortNames = []string{"x"} }, 4, "v1"},
		{"another version is stored", "", func(crd *apiextensionsv1.CustomResourceDefinition) {
			crd.Spec.Versions[0].Storage = false
			crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{Name: "v2", Served: true, Storage: true})
		}, 4, "v1 v2"},
		{"status with the object", "", func(crd *apiextensionsv1.CustomResourceDefinition) {
			crd.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
		}, 3, "v1"},
		{"status", "status", func(crd *apiextensionsv1.CustomResourceDefinition) {
			crd.Status.StoredVersions, crd.Spec.Group = []string{"v1", "v0"}, "elsewhere"
			crd.Status.AcceptedNames.Plural = "stolen"
		}, 3, "v1 v0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			crd := old.DeepCopy()
			tt.change(crd)
			o, err := resource.TypedObject(crd)
			if err != nil {
				t.Fatal(err)
			}
			was, err := resource.TypedObject(old)
			if err != nil {
				t.Fatal(err)
			}
			CustomResourceDefinitions().Hooks.Prepare(context.Background(), &resource.Write{New: o, Old: was, Subresource: tt.subresource})
			if crd.Generation != tt.generation || strings.Join(crd.Status.StoredVersions, " ") != tt.stored {
				t.Errorf("generation %d, stored versions %v", crd.Generation, crd.Status.StoredVersions)
			}
			if crd.Spec.Group != "example.com" || crd.Status.AcceptedNames.Plural != "ws" || len(crd.Status.Conditions) != 2 {
				t.Errorf("group %s, status %+v", crd.Spec.Group, crd.Status)
			}
		})
	}
}
