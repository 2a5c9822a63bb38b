package rules

import (
	"strings"
	"testing"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestMetadataAgreesWithApimachinery changes one thing at a time in metadata that is well formed.
func TestMetadataAgreesWithApimachinery(t *testing.T) {
	yes := true
	owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "u", Controller: &yes}
	base := metav1.ObjectMeta{
		Name: "web-1.x", GenerateName: "web-", Namespace: "default", UID: "uid", ResourceVersion: "1", Generation: 1,
		CreationTimestamp: metav1.Unix(1, 0), Labels: map[string]string{"app": "web", "example.com/Tier": ""},
		Annotations: map[string]string{"Example.com/a": "b", "example.com/c": "d"}, OwnerReferences: []metav1.OwnerReference{owner},
	}
	grace := int64(1)
	now := metav1.Unix(2, 0)
	owned := func(change func(o *metav1.OwnerReference)) func(m *metav1.ObjectMeta) {
		return func(m *metav1.ObjectMeta) { change(&m.OwnerReferences[0]) }
	}
	changes := map[string]func(m *metav1.ObjectMeta){
		"nothing":              func(m *metav1.ObjectMeta) {},
		"no name":              func(m *metav1.ObjectMeta) { m.Name = "" },
		"bad name":             func(m *metav1.ObjectMeta) { m.Name = "Web" },
		"long name":            func(m *metav1.ObjectMeta) { m.Name = strings.Repeat("a", 254) },
		"no generated name":    func(m *metav1.ObjectMeta) { m.GenerateName = "" },
		"bad generated name":   func(m *metav1.ObjectMeta) { m.GenerateName = "web_" },
		"two dashes":           func(m *metav1.ObjectMeta) { m.GenerateName = "web--" },
		"dot and dash":         func(m *metav1.ObjectMeta) { m.GenerateName = "web.-" },
		"only a dash":          func(m *metav1.ObjectMeta) { m.GenerateName = "-" },
		"no namespace":         func(m *metav1.ObjectMeta) { m.Namespace = "" },
		"bad namespace":        func(m *metav1.ObjectMeta) { m.Namespace = "a.b" },
		"negative generation":  func(m *metav1.ObjectMeta) { m.Generation = -1 },
		"earlier generation":   func(m *metav1.ObjectMeta) { m.Generation = 0 },
		"bad label":            func(m *metav1.ObjectMeta) { m.Labels["a b"] = "" },
		"bad label value":      func(m *metav1.ObjectMeta) { m.Labels["app"] = "-" },
		"bad annotation":       func(m *metav1.ObjectMeta) { m.Annotations["/"] = "" },
		"large annotations":    func(m *metav1.ObjectMeta) { m.Annotations["a"] = strings.Repeat("a", 256<<10) },
		"no version of owner":  owned(func(o *metav1.OwnerReference) { o.APIVersion = "" }),
		"bad version of owner": owned(func(o *metav1.OwnerReference) { o.APIVersion = "a/b/c" }),
		"half of a version":    owned(func(o *metav1.OwnerReference) { o.APIVersion = "apps/" }),
		"no kind of owner":     owned(func(o *metav1.OwnerReference) { o.Kind = "" }),
		"no name of owner":     owned(func(o *metav1.OwnerReference) { o.Name = "" }),
		"no uid of owner":      owned(func(o *metav1.OwnerReference) { o.UID = "" }),
		"owned by an event":    owned(func(o *metav1.OwnerReference) { o.APIVersion, o.Kind = "v1", "Event" }),
		"two controllers":      func(m *metav1.ObjectMeta) { m.OwnerReferences = append(m.OwnerReferences, owner) },
		"finalizer":            func(m *metav1.ObjectMeta) { m.Finalizers = []string{"a b"} },
		"managed fields":       func(m *metav1.ObjectMeta) { m.ManagedFields = []metav1.ManagedFieldsEntry{{Operation: "Eat"}} },
		"no revision":          func(m *metav1.ObjectMeta) { m.ResourceVersion = "" },
		"another uid":          func(m *metav1.ObjectMeta) { m.UID = "other" },
		"another birth":        func(m *metav1.ObjectMeta) { m.CreationTimestamp = now },
		"deleted":              func(m *metav1.ObjectMeta) { m.DeletionTimestamp = &now },
		"grace":                func(m *metav1.ObjectMeta) { m.DeletionGracePeriodSeconds = &grace },
		"upper case name":      func(m *metav1.ObjectMeta) { m.Name = "WEB" },
	}
	at := field.NewPath("metadata")
	for name, change := range changes {
		m := base.DeepCopy()
		change(m)
		same := func(what string, got, want field.ErrorList) {
			if got, want := got.ToAggregate(), want.ToAggregate(); (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
				t.Errorf("%s: %s: %v, want %v", name, what, got, want)
			}
		}
		for _, namespaced := range []bool{false, true} {
			same("create", Metadata(m, namespaced, nil, at), apivalidation.ValidateObjectMetaAccessor(m, namespaced, apivalidation.NameIsDNSSubdomain, at))
			same("create as a label", Metadata(m, namespaced, apivalidation.NameIsDNSLabel, at), apivalidation.ValidateObjectMetaAccessor(m, namespaced, apivalidation.NameIsDNSLabel, at))
		}
		same("update", MetadataUpdate(m, &base, at), apivalidation.ValidateObjectMetaAccessorUpdate(m, &base, at))
		same("update from it", MetadataUpdate(&base, m, at), apivalidation.ValidateObjectMetaAccessorUpdate(&base, m, at))
	}
}

func BenchmarkMetadata(b *testing.B) {
	yes := true
	m := &metav1.ObjectMeta{
		Name: "web-5d4f8c7b9-abcde", GenerateName: "web-5d4f8c7b9-", Namespace: "default", UID: "uid", ResourceVersion: "1",
		Labels:          map[string]string{"app": "web", "pod-template-hash": "5d4f8c7b9"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "u", Controller: &yes}},
	}
	at := field.NewPath("metadata")
	b.ReportAllocs()
	for b.Loop() {
		if Metadata(m, true, nil, at) != nil || MetadataUpdate(m, m, at) != nil {
			b.Fatal("refused")
		}
	}
}
