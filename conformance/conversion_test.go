package conformance

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// converter is a conversion webhook: v1 of a Lamp has spec.color, v2, which is stored, has spec.hue.
type converter struct {
	*httptest.Server
	fails    atomic.Bool  // every call is answered 503
	failures atomic.Int32 // calls answered so
}

func newConverter(t *testing.T) *converter {
	c := new(converter)
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *converter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.fails.Load() {
		c.failures.Add(1)
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	var review apiextensionsv1.ConversionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	to := review.Request.DesiredAPIVersion
	review.Response = &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, o := range review.Request.Objects {
		text := strings.Replace(string(o.Raw), `"hue"`, `"color"`, 1)
		if strings.HasSuffix(to, "/v2") {
			text = strings.Replace(string(o.Raw), `"color"`, `"hue"`, 1)
		}
		text = strings.NewReplacer(`"lamps.example.com/v1"`, `"`+to+`"`, `"lamps.example.com/v2"`, `"`+to+`"`).Replace(text)
		review.Response.ConvertedObjects = append(review.Response.ConvertedObjects, runtime.RawExtension{Raw: []byte(text)})
	}
	review.Request = nil
	json.NewEncoder(w).Encode(review)
}

// defineLamps makes the definition of Lamps, which c converts.
func defineLamps(t *testing.T, s *server, c *converter) {
	t.Helper()
	version := func(name, field string, storage bool) apiextensionsv1.CustomResourceDefinitionVersion {
		spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{field: {Type: "string"}}}
		return apiextensionsv1.CustomResourceDefinitionVersion{Name: name, Served: true, Storage: storage,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
				Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}}}}
	}
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	client, err := apiextensions.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "lamps.lamps.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "lamps.example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names:    apiextensionsv1.CustomResourceDefinitionNames{Plural: "lamps", Kind: "Lamp"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version("v1", "color", false), version("v2", "hue", true)},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter,
				Webhook: &apiextensionsv1.WebhookConversion{ConversionReviewVersions: []string{"v1"},
					ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: &c.URL, CABundle: bundle}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// byList is a ListerWatcher for a reflector that lists before it watches; others have the watch begin with what is there.
type byList struct{ *cache.ListWatch }

func (byList) IsWatchListSemanticsUnSupported() bool { return true }

// TestConversionOutage: while a conversion webhook fails, a watch ends with an ERROR event; reflectors try again until it
// works, and then know what was written meanwhile.
func TestConversionOutage(t *testing.T) {
	t.Parallel()
	ctx, s, ns := t.Context(), own(t), "default"
	webhook := newConverter(t)
	defineLamps(t, s, webhook)
	client, err := dynamic.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	lamps := func(version string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: "lamps.example.com", Version: version, Resource: "lamps"}).Namespace(ns)
	}
	stored := lamps("v2")
	lamp := func(name, hue string) {
		t.Helper()
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "lamps.example.com/v2", "kind": "Lamp",
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"hue": hue}}}
		if _, err := stored.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	lamp("kept", "red")
	lamp("changed", "red")
	lamp("deleted", "red")

	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return lamps("v1").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return lamps("v1").Watch(ctx, o)
		},
	}
	stores := make(map[string]cache.Store)
	for name, from := range map[string]cache.ListerWatcher{"watching": source, "listing": byList{source}} {
		stores[name] = cache.NewStore(cache.MetaNamespaceKeyFunc)
		go cache.NewReflectorWithOptions(from, &unstructured.Unstructured{}, stores[name], cache.ReflectorOptions{Name: name}).RunWithContext(ctx)
	}
	agree := func(want map[string]string) {
		t.Helper()
		eventually(t, func() error {
			for name, s := range stores {
				got := make(map[string]string)
				for _, o := range s.List() {
					color, _, err := unstructured.NestedString(o.(*unstructured.Unstructured).Object, "spec", "color")
					if err != nil {
						return err
					}
					got[o.(*unstructured.Unstructured).GetName()] = color
				}
				if !maps.Equal(got, want) {
					return fmt.Errorf("the reflector that is %s knows %v, want %v", name, got, want)
				}
			}
			return nil
		})
	}
	agree(map[string]string{"kept": "red", "changed": "red", "deleted": "red"})
	plain, err := lamps("v1").Watch(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Stop()
	for range 3 {
		next(t, plain, watch.Added)
	}

	webhook.fails.Store(true)
	if _, err := stored.Patch(ctx, "changed", types.MergePatchType, []byte(`{"spec":{"hue":"blue"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := stored.Delete(ctx, "deleted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	lamp("added", "green")
	if s := next(t, plain, watch.Error).Object.(*metav1.Status); !strings.Contains(s.Message, "conversion webhook for lamps.example.com/v2, Kind=Lamp failed") {
		t.Errorf("the watch ends with %+v", s)
	}
	if e, open := <-plain.ResultChan(); open {
		t.Errorf("after its end the watch says %v", e)
	}
	if _, err := lamps("v1").Get(ctx, "changed", metav1.GetOptions{}); err == nil {
		t.Error("an object that cannot be converted is shown")
	}
	// Both reflectors and the watch lost their streams; what follows are attempts to begin anew.
	eventually(t, func() error {
		if n := webhook.failures.Load(); n < 6 {
			return fmt.Errorf("the webhook was asked %d times", n)
		}
		return nil
	})
	webhook.fails.Store(false)
	agree(map[string]string{"kept": "red", "changed": "blue", "added": "green"})
	lamp("last", "white")
	agree(map[string]string{"kept": "red", "changed": "blue", "added": "green", "last": "white"})
}
