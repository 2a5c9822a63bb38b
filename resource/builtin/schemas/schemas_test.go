package schemas

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/object"
)

var kinds = []any{
	corev1.Pod{}, corev1.Node{}, corev1.Service{}, corev1.Endpoints{}, corev1.ConfigMap{}, corev1.Secret{}, corev1.ServiceAccount{},
	corev1.Namespace{}, corev1.Event{}, corev1.PersistentVolume{}, corev1.PersistentVolumeClaim{}, corev1.ReplicationController{},
	corev1.ResourceQuota{}, corev1.LimitRange{}, corev1.PodTemplate{}, appsv1.Deployment{}, appsv1.ReplicaSet{}, appsv1.StatefulSet{},
	appsv1.DaemonSet{}, appsv1.ControllerRevision{}, batchv1.Job{}, batchv1.CronJob{}, autoscalingv2.HorizontalPodAutoscaler{},
	coordinationv1.Lease{}, discoveryv1.EndpointSlice{}, eventsv1.Event{}, flowcontrolv1.FlowSchema{}, networkingv1.Ingress{},
	networkingv1.NetworkPolicy{}, policyv1.PodDisruptionBudget{}, rbacv1.Role{}, rbacv1.ClusterRoleBinding{}, schedulingv1.PriorityClass{},
	storagev1.StorageClass{}, storagev1.VolumeAttachment{}, certificatesv1.CertificateSigningRequest{}, resourcev1.ResourceSlice{},
	admissionregistrationv1.ValidatingWebhookConfiguration{}, admissionregistrationv1.ValidatingAdmissionPolicy{},
	apiextensionsv1.CustomResourceDefinition{}, metav1.Status{}, metav1.DeleteOptions{},
}

// TestEveryFieldHasAShape walks the Go types beside the shapes: every JSON field exists, lists and maps are where Go
// has them, and strategic merge directives equal the struct tags.
func TestEveryFieldHasAShape(t *testing.T) {
	seen := map[reflect.Type]bool{}
	for _, k := range kinds {
		rt := reflect.TypeOf(k)
		if name := Name(rt); !Exists(name) {
			t.Errorf("%s does not exist", name)
			continue
		}
		walk(t, rt, Shape(Name(rt)).(*shape), seen)
	}
	if len(seen) < 400 {
		t.Errorf("only %d types were compared", len(seen))
	}
}

func walk(t *testing.T, rt reflect.Type, s *shape, seen map[reflect.Type]bool) {
	for rt.Kind() == reflect.Pointer {
		rt = rt.Elem()
	}
	if rt.Kind() != reflect.Struct || seen[rt] {
		return
	}
	seen[rt] = true
	for f := range jsonFields(rt) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !s.Has(name) {
			t.Errorf("%s has no field %s", rt, name)
			continue
		}
		ft := f.Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		sub := s.member(name)
		strategies := []string(nil)
		if p := f.Tag.Get("patchStrategy"); p != "" {
			strategies = strings.Split(p, ",")
		}
		if sub == nil {
			sub = new(shape)
		}
		if key, got := sub.Patch(); key != f.Tag.Get("patchMergeKey") || !slices.Equal(got, strategies) {
			t.Errorf("%s.%s: patch directive %q %q", rt, name, key, got)
		}
		switch ft.Kind() {
		case reflect.Map:
			if sub.kind != '%' {
				t.Errorf("%s.%s is no map", rt, name)
			}
			walkItem(t, ft.Elem(), sub.item, seen)
		case reflect.Slice:
			if ft.Elem().Kind() == reflect.Uint8 {
				continue
			}
			if sub.kind == 0 || sub.kind == '%' {
				t.Errorf("%s.%s is no list", rt, name)
			}
			for _, k := range sub.keys {
				if !sub.item.Has(k) {
					t.Errorf("%s.%s: items have no key %s", rt, name, k)
				}
			}
			walkItem(t, ft.Elem(), sub.item, seen)
		case reflect.Struct:
			walkItem(t, ft, sub, seen)
		}
	}
}

func walkItem(t *testing.T, rt reflect.Type, s *shape, seen map[reflect.Type]bool) {
	for rt.Kind() == reflect.Pointer {
		rt = rt.Elem()
	}
	if rt.Kind() != reflect.Struct || opaque[rt.Name()] {
		return
	}
	if s == nil || s.model == nil {
		t.Errorf("%s has no shape", rt)
		return
	}
	walk(t, rt, s, seen)
}

// opaque types are scalars, or any JSON.
var opaque = map[string]bool{
	"Time": true, "MicroTime": true, "Duration": true, "Quantity": true, "IntOrString": true, "RawExtension": true, "FieldsV1": true,
	"JSON": true, "JSONSchemaPropsOrArray": true, "JSONSchemaPropsOrBool": true, "JSONSchemaPropsOrStringArray": true,
}

func jsonFields(rt reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range rt.NumField() {
			f := rt.Field(i)
			name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "-" || !f.IsExported():
			case name == "" && f.Anonymous && (opts == "inline" || opts == ""):
				ft := f.Type
				if ft.Kind() == reflect.Pointer {
					ft = ft.Elem()
				}
				for sub := range jsonFields(ft) {
					if !yield(sub) {
						return
					}
				}
			default:
				if !yield(f) {
					return
				}
			}
		}
	}
}

func at(s object.Shape, path ...string) object.Shape {
	for _, p := range path {
		if s == nil {
			return nil
		}
		if p == "[]" {
			s = s.Item()
		} else {
			s = s.Field(p)
		}
	}
	return s
}

func TestShapes(t *testing.T) {
	pod := Shape("io.k8s.api.core.v1.Pod")
	ports := at(pod, "spec", "containers", "[]", "ports")
	if got := ports.Keys(); !slices.Equal(got, []string{"containerPort", "protocol"}) {
		t.Errorf("keys of container ports: %q", got)
	}
	if got := ports.KeyDefault("protocol"); got != `"TCP"` {
		t.Errorf("default protocol: %q", got)
	}
	if got := ports.KeyDefault("containerPort"); got != "0" {
		t.Errorf("default containerPort: %q", got)
	}
	if key, strategies := at(pod, "spec", "volumes").Patch(); key != "name" || !slices.Equal(strategies, []string{"merge", "retainKeys"}) {
		t.Errorf("patch of volumes: %q %q", key, strategies)
	}
	if !at(pod, "metadata", "finalizers").Set() {
		t.Error("finalizers are no set")
	}
	for _, path := range [][]string{{"spec", "nodeSelector"}, {"spec", "tolerations"}, {"spec", "imagePullSecrets", "[]"}} {
		if !at(pod, path...).Atomic() {
			t.Errorf("%q is not atomic", path)
		}
	}
	if at(pod, "metadata", "labels").Atomic() || at(pod, "spec").Atomic() {
		t.Error("labels or spec are atomic")
	}
	if at(pod, "spec", "nodeName") != nil || at(pod, "nothing") != nil {
		t.Error("a scalar and an unknown field have shapes")
	}
	if at(Shape("io.k8s.api.core.v1.Nothing"), "spec") != nil {
		t.Error("an unknown type has fields")
	}
}

func TestClosure(t *testing.T) {
	asked := []string{"io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.Deployment", "io.k8s.api.core.v1.Node"}
	docs, err := Closure(asked[:2]...)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"io.k8s.api.core.v1.Pod", "io.k8s.api.apps.v1.Deployment", "io.k8s.api.core.v1.Node"}; !slices.Equal(asked, want) {
		t.Errorf("the caller's names have become %q", asked)
	}
	for name, doc := range docs {
		for _, r := range References(doc) {
			if docs[r] == nil {
				t.Errorf("%s refers to %s, which is missing", name, r)
			}
		}
	}
	if docs["io.k8s.apimachinery.pkg.api.resource.Quantity"] == nil {
		t.Error("Quantity is missing")
	}
	if _, err := Closure("io.k8s.api.core.v1.Nothing"); err == nil {
		t.Error("no error for an unknown type")
	}
}

func BenchmarkFirstUse(b *testing.B) {
	for b.Loop() {
		models.Clear()
		packages.Clear()
		walkAll(Shape("io.k8s.api.core.v1.Pod").(*shape), 0)
	}
}

// walkAll touches everything a Pod could hold.
func walkAll(s *shape, depth int) {
	if s == nil || depth > 12 {
		return
	}
	walkAll(s.item, depth+1)
	if s.model == nil || s.model.fields != nil {
		return
	}
	for _, f := range s.model.load().fields {
		walkAll(f, depth+1)
	}
}
