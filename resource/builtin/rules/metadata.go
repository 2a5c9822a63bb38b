package rules

import (
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Metadata checks the metadata of an object by the rules of all kinds, apimachinery's ValidateObjectMetaAccessor. name is
// the kind's rule for names, nil for DNS subdomains.
func Metadata(m *metav1.ObjectMeta, namespaced bool, name apivalidation.ValidateNameFunc, at *field.Path) field.ErrorList {
	if name == nil {
		name = subdomainName
	}
	placed := m.Namespace == ""
	if namespaced {
		placed = all(m.Namespace, 63, lower|digit|dash, lower|digit)
	}
	if placed && m.Name != "" && len(name(m.Name, false)) == 0 && (m.GenerateName == "" || len(name(m.GenerateName, true)) == 0) &&
		len(m.Finalizers) == 0 && wellFormed(m) {
		return nil
	}
	return apivalidation.ValidateObjectMetaAccessor(m, namespaced, name, at)
}

// subdomainName is apimachinery's NameIsDNSSubdomain. The prefix of a generated name may end in a dash.
func subdomainName(name string, prefix bool) []string {
	if subdomain(name) || prefix && subdomain(strings.TrimSuffix(name, "-")) {
		return nil
	}
	return apivalidation.NameIsDNSSubdomain(name, prefix)
}

// MetadataUpdate checks what an update makes of metadata, apimachinery's ValidateObjectMetaAccessorUpdate.
func MetadataUpdate(m, old *metav1.ObjectMeta, at *field.Path) field.ErrorList {
	alive := m.DeletionTimestamp == nil && old.DeletionTimestamp == nil &&
		m.DeletionGracePeriodSeconds == nil && old.DeletionGracePeriodSeconds == nil
	if alive && m.ResourceVersion != "" && m.Generation >= old.Generation && m.Name == old.Name && m.Namespace == old.Namespace &&
		m.UID == old.UID && m.CreationTimestamp.Equal(&old.CreationTimestamp) && wellFormed(m) {
		return nil
	}
	return apivalidation.ValidateObjectMetaAccessorUpdate(m, old, at)
}

// wellFormed reports metadata in which both certainly find nothing wrong but perhaps in names and finalizers.
func wellFormed(m *metav1.ObjectMeta) bool {
	if m.Generation < 0 || len(m.ManagedFields) > 0 {
		return false
	}
	for k, v := range m.Labels {
		if !qualifiedName(k) || v != "" && !all(v, 63, lower|upper|digit|dash|dot|underscore, lower|upper|digit) {
			return false
		}
	}
	size := 0
	for k, v := range m.Annotations {
		if size += len(k) + len(v); !qualifiedName(k) {
			return false
		}
	}
	controllers := 0
	for i := range m.OwnerReferences {
		o := &m.OwnerReferences[i]
		if o.Controller != nil && *o.Controller {
			controllers++
		}
		if o.APIVersion == "" || strings.Count(o.APIVersion, "/") > 1 || strings.HasSuffix(o.APIVersion, "/") ||
			o.Kind == "" || o.Kind == "Event" || o.Name == "" || o.UID == "" {
			return false
		}
	}
	return size <= apivalidation.TotalAnnotationSizeLimitB && controllers <= 1
}
