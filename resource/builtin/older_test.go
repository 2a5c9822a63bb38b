package builtin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	appsv1beta2 "k8s.io/api/apps/v1beta2"
	coordinationv1beta1 "k8s.io/api/coordination/v1beta1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1beta1 "k8s.io/api/discovery/v1beta1"
	eventsv1 "k8s.io/api/events/v1"
	eventsv1beta1 "k8s.io/api/events/v1beta1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	storagemigrationv1beta1 "k8s.io/api/storagemigration/v1beta1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"pintle.dev/api"
	pintle "pintle.dev/resource"
	"pintle.dev/resource/builtin/schemas"
)

// older are all versions beside the stored ones: an object of the version's own type, and the warning about it.
var older = map[string]struct {
	object  func() any
	warning string
}{
	"extensions/v1beta1 Deployment":                           {func() any { return new(extensionsv1beta1.Deployment) }, "extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment"},
	"extensions/v1beta1 ReplicaSet":                           {func() any { return new(extensionsv1beta1.ReplicaSet) }, "extensions/v1beta1 ReplicaSet is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 ReplicaSet"},
	"apps/v1beta1 Deployment":                                 {func() any { return new(appsv1beta1.Deployment) }, "apps/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment"},
	"apps/v1beta2 Deployment":                                 {func() any { return new(appsv1beta2.Deployment) }, "apps/v1beta2 Deployment is deprecated in v1.9+, unavailable in v1.16+; use apps/v1 Deployment"},
	"apps/v1beta2 ReplicaSet":                                 {func() any { return new(appsv1beta2.ReplicaSet) }, "apps/v1beta2 ReplicaSet is deprecated in v1.9+, unavailable in v1.16+; use apps/v1 ReplicaSet"},
	"coordination.k8s.io/v1beta1 Lease":                       {func() any { return new(coordinationv1beta1.Lease) }, "coordination.k8s.io/v1beta1 Lease is deprecated in v1.19+, unavailable in v1.22+; use coordination.k8s.io/v1 Lease"},
	"scheduling.k8s.io/v1beta1 PriorityClass":                 {func() any { return new(schedulingv1beta1.PriorityClass) }, "scheduling.k8s.io/v1beta1 PriorityClass is deprecated in v1.14+, unavailable in v1.22+; use scheduling.k8s.io/v1 PriorityClass"},
	"scheduling.k8s.io/v1alpha1 PriorityClass":                {func() any { return new(schedulingv1beta1.PriorityClass) }, "scheduling.k8s.io/v1alpha1 PriorityClass is deprecated in v1.14+, unavailable in v1.22+; use scheduling.k8s.io/v1 PriorityClass"},
	"storagemigration.k8s.io/v1beta1 StorageVersionMigration": {func() any { return new(storagemigrationv1beta1.StorageVersionMigration) }, "storagemigration.k8s.io/v1beta1 StorageVersionMigration is deprecated in v1.37+, unavailable in v1.40+; use storagemigration.k8s.io/v1 StorageVersionMigration"},
	"discovery.k8s.io/v1beta1 EndpointSlice":                  {func() any { return new(discoveryv1beta1.EndpointSlice) }, "discovery.k8s.io/v1beta1 EndpointSlice is deprecated in v1.21+, unavailable in v1.25+; use discovery.k8s.io/v1 EndpointSlice"},
	"events.k8s.io/v1 Event":                                  {func() any { return new(eventsv1.Event) }, ""},
	"events.k8s.io/v1beta1 Event":                             {func() any { return new(eventsv1beta1.Event) }, "events.k8s.io/v1beta1 Event is deprecated in v1.22+, unavailable in v1.25+"},
}

// filler fills objects with what JSON keeps.
func filler(seed int64) *randfill.Filler {
	own := func(serializer.CodecFactory) []any {
		return []any{
			func(q *resource.Quantity, c randfill.Continue) {
				*q = *resource.NewQuantity(c.Int63n(1000), resource.DecimalSI)
				_ = q.String()
			},
			func(v *intstr.IntOrString, c randfill.Continue) {
				if *v = intstr.FromInt32(c.Int31n(100)); c.Bool() {
					*v = intstr.FromString("25%")
				}
			},
			func(e *corev1.SecurityContext, c randfill.Continue) { c.FillNoCustom(e) },
			func(e *discoveryv1beta1.Endpoint, c randfill.Continue) {
				c.FillNoCustom(e)
				if e.NodeName != nil { // its topology repeats it
					e.Topology = map[string]string{corev1.LabelHostname: *e.NodeName, corev1.LabelTopologyZone: c.String(9), "a": "b"}
				}
			},
			func(s *metav1.LabelSelector, c randfill.Continue) {
				s.MatchLabels = map[string]string{"a": fmt.Sprint(c.Intn(9))}
			},
		}
	}
	return fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, own), rand.NewSource(seed), serializer.NewCodecFactory(runtime.NewScheme()))
}

// generic is a document without what the filler's objects need not keep: managedFields travel beside the object.
func generic(t *testing.T, doc []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func eachOlder(t *testing.T, f func(t *testing.T, d *pintle.Definition, v *pintle.Version, object func() any)) {
	seen := 0
	for _, d := range All() {
		for i := range d.Versions {
			v := &d.Versions[i]
			if v.Storage || d.Resource == api.CustomResourceDefinitions {
				continue // the earlier CustomResourceDefinition is another document, tested where it is defined
			}
			name := v.APIVersion() + " " + d.KindOf(v)
			o, ok := older[name]
			if !ok {
				t.Errorf("%s is not among those tested", name)
				continue
			}
			seen++
			t.Run(name, func(t *testing.T) { f(t, d, v, o.object) })
		}
	}
	if seen < len(older) {
		t.Errorf("%d of %d versions are served", seen, len(older))
	}
}

func TestOlderVersionsWarn(t *testing.T) {
	eachOlder(t, func(t *testing.T, d *pintle.Definition, v *pintle.Version, _ func() any) {
		if want := older[v.APIVersion()+" "+d.KindOf(v)].warning; v.Warning != want {
			t.Errorf("warning %q, want %q", v.Warning, want)
		}
		if !v.Served || !schemas.Exists(v.Model) || !schemas.Exists(v.Model+"List") || len(v.Columns) == 0 {
			t.Errorf("served %t, model %s, %d columns", v.Served, v.Model, len(v.Columns))
		}
	})
}

// TestOlderVersionsRoundTrip stores objects of the version's own type and shows them again, and the other way around.
func TestOlderVersionsRoundTrip(t *testing.T) {
	const rounds = 30
	eachOlder(t, func(t *testing.T, d *pintle.Definition, v *pintle.Version, object func() any) {
		f := filler(1)
		for range rounds {
			o := object()
			f.Fill(o)
			meta, err := pintle.TypedObject(o)
			if err != nil {
				t.Fatal(err)
			}
			meta.Meta.ManagedFields = nil
			sent, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			in, problems, err := v.Codec.Decode(sent, false)
			if err != nil || len(problems) > 0 {
				t.Fatalf("%v, %q", err, problems)
			}
			stored := encode(t, d.Storage(), in)
			again, _, err := d.Storage().Codec.Decode(stored, true)
			if err != nil {
				t.Fatal(err)
			}
			shown := encode(t, v, again)
			want := generic(t, sent)
			want["apiVersion"], want["kind"] = v.APIVersion(), d.KindOf(v)
			if diff := cmp.Diff(want, generic(t, shown)); diff != "" {
				t.Fatalf("shown in another way than sent (-want +got):\n%s", diff)
			}
			back, _, err := v.Codec.Decode(shown, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := encode(t, d.Storage(), back); !bytes.Equal(got, stored) {
				t.Fatalf("stored %s, after a round trip %s", stored, got)
			}
			if v.AsStored && (v.Except == "" || !bytes.Contains(stored, []byte(v.Except))) {
				head := len(`{"kind":"","apiVersion":""`)
				if got, want := shown[head+len(d.KindOf(v)+v.APIVersion()):], stored[head+len(d.KindOf(v)+d.Storage().APIVersion()):]; !bytes.Equal(got, want) {
					t.Fatalf("not as stored: %s, want %s", got, want)
				}
			}
		}
	})
}

func encode(t *testing.T, v *pintle.Version, o *pintle.Object) []byte {
	t.Helper()
	b, err := v.Codec.Encode(nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOlderVersionsProtobuf reads messages of the version's own type as what the server reads them.
func TestOlderVersionsProtobuf(t *testing.T) {
	type message interface {
		Marshal() ([]byte, error)
		Unmarshal([]byte) error
	}
	eachOlder(t, func(t *testing.T, d *pintle.Definition, v *pintle.Version, object func() any) {
		f := filler(2)
		for range 20 {
			o := object()
			f.Fill(o)
			want, err := o.(message).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			var read message
			if c, ok := v.Codec.(pintle.MessageCodec); ok {
				read = c.NewMessage().(message)
			} else {
				empty, _, err := v.Codec.Decode([]byte("{}"), true)
				if err != nil {
					t.Fatal(err)
				}
				read = empty.Value.(message)
			}
			if err := read.Unmarshal(want); err != nil {
				t.Fatal(err)
			}
			if got, err := read.Marshal(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v\n%x\nwant\n%x", err, got, want)
			}
		}
	})
}
