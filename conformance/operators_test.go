package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// An operator is a Go module that carries the definitions of its custom resources. The module is fetched as it is, and
// checked against its sum; nothing of it is kept here.
type operator struct {
	module, version, sum string
	definitions          string   // directory of CustomResourceDefinitions
	samples              []string // files and directories of them, any of whose documents the definitions must take
	invalid              []string // directories of files whose documents must be refused
	kinds                int      // how many kinds there are samples of, at least
}

var operators = []operator{
	{module: "github.com/cert-manager/cert-manager", version: "v1.21.2", sum: "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
		definitions: "deploy/crds", samples: []string{"test/fixtures"}, kinds: 2},
	{module: "github.com/prometheus-operator/prometheus-operator", version: "v0.85.0", sum: "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
		definitions: "example/prometheus-operator-crd-full", samples: []string{"example/user-guides/alerting", "example/user-guides/getting-started", "example/thanos"}, kinds: 5},
	{module: "github.com/kedacore/keda/v2", version: "v2.21.0", sum: "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
		definitions: "config/crd/bases", samples: []string{
			"config/samples/eventing_v1alpha1_cloudeventsource.yaml", "config/samples/eventing_v1alpha1_clustercloudeventsource.yaml",
			"config/samples/keda_v1alpha1_scaledobject.yaml", "config/samples/keda_v1alpha1_triggerauthentication.yaml",
		}, kinds: 4},
	{module: "github.com/fluxcd/source-controller", version: "v1.8.5", sum: "h1:3zKSTGc2FPoZcQ5BjnyOrwdHDWeYqst3uAoZ+c0DG3c=",
		definitions: "config/crd/bases", samples: []string{"config/samples"}, kinds: 5},
	{module: "knative.dev/serving", version: "v0.51.0", sum: "h1:yN2Q7eYqJgoPfZkATjoBZyGbZ2P1Qhns9HIMU4mF+to=",
		definitions: "config/core/300-resources", samples: []string{"test/test_images"}, kinds: 1},
	{module: "sigs.k8s.io/gateway-api", version: "v1.5.1", sum: "h1:RqVRIlkhLhUO8wOHKTLnTJA6o/1un4po4/6M1nRzdd0=",
		definitions: "config/crd/standard", samples: []string{"examples/standard"}, invalid: []string{"hack/invalid-examples/standard"}, kinds: 6},
}

// fetch returns the directory of the module in the module cache, and downloads it first where it is not there yet.
func (o *operator) fetch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir() // of no module, whose requirements would have a say
	var answer struct{ Dir, Sum, Error string }
	eventually(t, func() error { // networks have their moments
		cmd := exec.Command("go", "mod", "download", "-json", o.module+"@"+o.version)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
		out, err := cmd.Output()
		answer.Error, answer.Dir = "", ""
		if json.Unmarshal(out, &answer) != nil || answer.Error != "" || answer.Dir == "" {
			return fmt.Errorf("downloading %s@%s: %v: %s", o.module, o.version, err, out)
		}
		return nil
	})
	if answer.Sum != o.sum {
		t.Fatalf("%s@%s has the sum %s, want %s", o.module, o.version, answer.Sum, o.sum)
	}
	return answer.Dir
}

// documents reads every object in the YAML files below dir. Templates and other text in them that is no object is left out.
func documents(t *testing.T, dir string) (all []*unstructured.Unstructured) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err != nil || d.IsDir() || ext != ".yaml" && ext != ".yml" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for text := range bytes.SplitSeq(append([]byte("\n"), data...), []byte("\n---")) {
			o := new(unstructured.Unstructured)
			if text, err := yaml.YAMLToJSON(text); err == nil && o.UnmarshalJSON(text) == nil && o.GetAPIVersion() != "" {
				all = append(all, o)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestOperators installs the custom resources of well-known operators, each as its authors publish them, and goes a round
// with the samples that come with them.
func TestOperators(t *testing.T) {
	t.Parallel()
	s := own(t)
	c, err := dynamic.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operators {
		t.Run(o.module, func(t *testing.T) {
			dir := o.fetch(t)
			kinds := map[schema.GroupVersionKind]*apiextensionsv1.CustomResourceDefinition{}
			for _, u := range documents(t, filepath.Join(dir, o.definitions)) {
				if u.GetKind() != "CustomResourceDefinition" {
					continue // Gateway API brings a policy with them
				}
				crd := install(t, c, u)
				for i := range crd.Spec.Versions {
					if v := &crd.Spec.Versions[i]; v.Served {
						kinds[schema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}] = crd
					}
				}
			}
			for gvk, crd := range kinds {
				described(t, s, gvk, crd)
				refused(t, c, gvk, crd)
			}
			namespace := s.namespace(t)
			tried := map[string]bool{}
			for _, samples := range o.samples {
				for _, u := range documents(t, filepath.Join(dir, samples)) {
					if crd := kinds[u.GroupVersionKind()]; crd != nil {
						tried[u.GetKind()] = true
						roundTrip(t, resource(c, crd, u.GroupVersionKind(), namespace), u)
					}
				}
			}
			if len(tried) < o.kinds {
				t.Errorf("there are samples of %v only, want %d kinds", slices.Collect(maps.Keys(tried)), o.kinds)
			}
			wrong := 0
			for _, invalid := range o.invalid {
				for _, u := range documents(t, filepath.Join(dir, invalid)) {
					crd := kinds[u.GroupVersionKind()]
					if crd == nil {
						continue
					}
					wrong++
					u.SetNamespace("")
					_, err := resource(c, crd, u.GroupVersionKind(), namespace).Create(t.Context(), u, metav1.CreateOptions{})
					if !apierrors.IsInvalid(err) {
						t.Errorf("%s %s should be invalid: %v", u.GetKind(), u.GetName(), err)
					}
				}
			}
			if wrong == 0 && o.invalid != nil {
				t.Error("there are no invalid documents")
			}
		})
	}
}

// install creates a definition and returns it as the server established it.
func install(t *testing.T, c dynamic.Interface, u *unstructured.Unstructured) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crds := c.Resource(apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))
	if _, err := crds.Create(t.Context(), u, metav1.CreateOptions{FieldValidation: "Strict"}); err != nil {
		t.Fatal(err)
	}
	crd := new(apiextensionsv1.CustomResourceDefinition)
	eventually(t, func() error {
		got, err := crds.Get(t.Context(), u.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, crd); err != nil {
			return err
		}
		for _, condition := range crd.Status.Conditions {
			if condition.Status != apiextensionsv1.ConditionTrue {
				return fmt.Errorf("%s: %s is %s: %s", u.GetName(), condition.Type, condition.Status, condition.Message)
			}
		}
		if len(crd.Status.Conditions) < 2 {
			return fmt.Errorf("%s: conditions %+v", u.GetName(), crd.Status.Conditions)
		}
		return nil
	})
	if !includes(got(t, crds, u.GetName()).Object["spec"], u.Object["spec"]) {
		t.Errorf("%s was not kept as it was sent", u.GetName())
	}
	return crd
}

// resource is the client of a kind, in a namespace where it has one.
func resource(c dynamic.Interface, crd *apiextensionsv1.CustomResourceDefinition, gvk schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	r := c.Resource(gvk.GroupVersion().WithResource(crd.Spec.Names.Plural))
	if crd.Spec.Scope == apiextensionsv1.ClusterScoped {
		return r
	}
	return r.Namespace(namespace)
}

func got(t *testing.T, c dynamic.ResourceInterface, name string) *unstructured.Unstructured {
	t.Helper()
	o, err := c.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// described wants the schema of a version in its group's OpenAPI document, with every field of the definition's.
func described(t *testing.T, s *server, gvk schema.GroupVersionKind, crd *apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	raw, err := s.clients(t).Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis", gvk.Group, gvk.Version).DoRaw(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Kinds      []schema.GroupVersionKind  `json:"x-kubernetes-group-version-kind"`
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Errorf("OpenAPI of %s: %v", gvk.GroupVersion(), err)
		return
	}
	for _, described := range document.Components.Schemas {
		if !slices.Contains(described.Kinds, gvk) {
			continue
		}
		for _, v := range crd.Spec.Versions {
			if v.Name != gvk.Version {
				continue
			}
			for name, want := range v.Schema.OpenAPIV3Schema.Properties {
				var field struct {
					Properties map[string]any `json:"properties"`
				}
				if err := json.Unmarshal(described.Properties[name], &field); err != nil {
					t.Errorf("OpenAPI of %s: %s: %v", gvk, name, err)
				}
				for inner := range want.Properties {
					if _, ok := field.Properties[inner]; !ok && name != "metadata" {
						t.Errorf("OpenAPI of %s has no %s.%s", gvk, name, inner)
					}
				}
			}
		}
		return
	}
	t.Errorf("OpenAPI of %s does not describe %s", gvk.GroupVersion(), gvk.Kind)
}

// refused wants an object that has a text where the schema wants an object to be refused by name of the field.
func refused(t *testing.T, c dynamic.Interface, gvk schema.GroupVersionKind, crd *apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": "text"}}
	u.SetGroupVersionKind(gvk)
	u.SetName("refused")
	_, err := resource(c, crd, gvk, "default").Create(t.Context(), u, metav1.CreateOptions{})
	status := apierrors.APIStatus(nil)
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || !slices.ContainsFunc(status.Status().Details.Causes,
		func(cause metav1.StatusCause) bool {
			return cause.Type == metav1.CauseTypeTypeInvalid && cause.Field == "spec"
		}) {
		t.Errorf("%s with a text for its spec: %v", gvk, err)
	}
}

// roundTrip creates the sample, writes back what it reads, which must change nothing, patches and deletes it.
func roundTrip(t *testing.T, c dynamic.ResourceInterface, sample *unstructured.Unstructured) {
	t.Helper()
	ctx, name := t.Context(), sample.GetKind()+" "+sample.GetName()
	sample.SetNamespace("")
	created, err := c.Create(ctx, sample, metav1.CreateOptions{FieldValidation: "Strict"})
	if err != nil {
		t.Errorf("creating %s: %v", name, err)
		return
	}
	read := got(t, c, created.GetName())
	if !reflect.DeepEqual(read.Object, created.Object) || !includes(read.Object["spec"], sample.Object["spec"]) {
		t.Errorf("%s was sent as\n%v\nanswered as\n%v\nread as\n%v", name, sample.Object, created.Object, read.Object)
	}
	again, err := c.Update(ctx, read.DeepCopy(), metav1.UpdateOptions{FieldValidation: "Strict"})
	if err != nil || again.GetResourceVersion() != read.GetResourceVersion() {
		t.Errorf("writing %s back as it was: %v, resourceVersion %s to %s", name, err, read.GetResourceVersion(), again.GetResourceVersion())
	}
	patched, err := c.Patch(ctx, created.GetName(), types.MergePatchType, []byte(`{"metadata":{"labels":{"tried":"yes"}}}`), metav1.PatchOptions{})
	if err != nil || patched.GetLabels()["tried"] != "yes" || patched.GetGeneration() != 1 || !reflect.DeepEqual(patched.Object["spec"], read.Object["spec"]) {
		t.Errorf("labelling %s: %v, %v", name, err, patched)
	}
	list, err := c.List(ctx, metav1.ListOptions{LabelSelector: "tried=yes"})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetUID() != created.GetUID() {
		t.Errorf("listing %s: %v, %d items", name, err, len(list.Items))
	}
	if err := c.Delete(ctx, created.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Errorf("deleting %s: %v", name, err)
	}
	if _, err := c.Get(ctx, created.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after %s was deleted: %v", name, err)
	}
}

// includes reports whether all of part is in whole, where objects may have more fields: the defaults.
func includes(whole, part any) bool {
	switch part := part.(type) {
	case map[string]any:
		whole, ok := whole.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range part {
			// What is null and may not be is as good as not said.
			if !includes(whole[k], v) {
				return false
			}
		}
		return true
	case []any:
		whole, ok := whole.([]any)
		if !ok || len(whole) != len(part) {
			return false
		}
		for i := range part {
			if !includes(whole[i], part[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(whole, part)
}
