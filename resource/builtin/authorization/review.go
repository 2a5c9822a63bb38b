// Package authorization defines the kinds of the authorization.k8s.io API group: questions, which package auth answers.
package authorization

import (
	authorizationv1 "k8s.io/api/authorization/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// LocalSubjectAccessReviews defines authorization.k8s.io LocalSubjectAccessReview.
func LocalSubjectAccessReviews() *resource.Definition {
	d := review(api.LocalSubjectAccessReviews, "LocalSubjectAccessReview", "localsubjectaccessreview")
	d.Namespaced = true
	return resource.Typed[authorizationv1.LocalSubjectAccessReview]{Definition: d}.Define()
}

// SelfSubjectAccessReviews defines authorization.k8s.io SelfSubjectAccessReview.
func SelfSubjectAccessReviews() *resource.Definition {
	return resource.Typed[authorizationv1.SelfSubjectAccessReview]{
		Definition: review(api.SelfSubjectAccessReviews, "SelfSubjectAccessReview", "selfsubjectaccessreview"),
	}.Define()
}

// SelfSubjectRulesReviews defines authorization.k8s.io SelfSubjectRulesReview.
func SelfSubjectRulesReviews() *resource.Definition {
	return resource.Typed[authorizationv1.SelfSubjectRulesReview]{
		Definition: review(api.SelfSubjectRulesReviews, "SelfSubjectRulesReview", "selfsubjectrulesreview"),
	}.Define()
}

// SubjectAccessReviews defines authorization.k8s.io SubjectAccessReview.
func SubjectAccessReviews() *resource.Definition {
	return resource.Typed[authorizationv1.SubjectAccessReview]{
		Definition: review(api.SubjectAccessReviews, "SubjectAccessReview", "subjectaccessreview"),
	}.Define()
}

func review(r api.Resource, kind, singular string) resource.Definition {
	return resource.Definition{
		Resource: r, Kind: kind, Singular: singular, Transient: true, Verbs: []api.Verb{api.Create},
		Versions: []resource.Version{{Group: r.Group, Name: "v1", Storage: true, Served: true}},
	}
}
