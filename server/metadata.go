package server

import (
	segment "k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"pintle.dev/resource"
	"pintle.dev/resource/builtin/rules"
)

// validateMetadata checks the metadata of w.New. Upstream has that of an update checked for all kinds, when names need
// only be fit for a path, and then by the kind; so most of what is wrong is listed several times.
func (q *request) validateMetadata(w *resource.Write) field.ErrorList {
	m, at := w.New.Meta, field.NewPath("metadata")
	if q.unfit != nil {
		claimed := *m
		claimed.ManagedFields = q.unfit
		m = &claimed
	}
	if w.Old == nil {
		name := q.d.ValidateName
		if q.v.ValidateName != nil {
			name = q.v.ValidateName
		}
		return append(rules.Metadata(m, q.d.Namespaced, name, at), q.unqualifiedFinalizers(m, at)...)
	}
	errs := rules.Metadata(m, q.d.Namespaced, segmentName, at)
	changed := rules.MetadataUpdate(m, w.Old.Meta, at)
	errs = append(errs, changed...)
	for _, rule := range q.metadataRules() {
		if rule == resource.ChangedMetadata {
			errs = append(errs, changed...)
		} else {
			errs = append(errs, rules.Metadata(m, q.d.Namespaced, q.d.ValidateName, at)...)
		}
		errs = append(errs, q.unqualifiedFinalizers(m, at)...)
	}
	return errs
}

// metadataRules are those by which the kind judges the metadata of an update. Subresources look only at what changed.
func (q *request) metadataRules() []resource.MetadataRule {
	if q.Subresource == "" && q.d.MetadataRules != nil {
		return q.d.MetadataRules
	}
	return []resource.MetadataRule{resource.ChangedMetadata}
}

// segmentName is the rule for names of objects that exist: they can stand in a path.
func segmentName(name string, prefix bool) []string {
	if prefix {
		return segment.IsPathSegmentPrefix(name)
	}
	return segment.IsPathSegmentName(name)
}

// unqualifiedFinalizers refuses names without a domain, other than the three that Kubernetes itself uses: upstream's rule
// for the metadata of most built-in kinds.
func (q *request) unqualifiedFinalizers(m *metav1.ObjectMeta, at *field.Path) field.ErrorList {
	if q.d.Custom || q.d.PlainFinalizers {
		return nil
	}
	return rules.StandardFinalizers(m, at)
}
