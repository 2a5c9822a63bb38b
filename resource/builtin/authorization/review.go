// Package authorization defines the kinds of the authorization.k8s.io API group: questions, which package auth answers.
package authorization

import (
	authorizationv1 "k8s.io/api/authorization/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// LocalSubjectAccessReviews defines authorization.k8s.io LocalSubjectAccessReview.
func LocalSubjectAccessReviews() *resource.Definition {
	d := resource.Question(api.LocalSubjectAccessReviews, "LocalSubjectAccessReview", "localsubjectaccessreview")
	d.Namespaced = true
	return resource.Typed[authorizationv1.LocalSubjectAccessReview]{Definition: d}.Define()
}

// SelfSubjectAccessReviews defines authorization.k8s.io SelfSubjectAccessReview.
func SelfSubjectAccessReviews() *resource.Definition {
	return resource.Typed[authorizationv1.SelfSubjectAccessReview]{
		Definition: resource.Question(api.SelfSubjectAccessReviews, "SelfSubjectAccessReview", "selfsubjectaccessreview"),
	}.Define()
}

// SelfSubjectRulesReviews defines authorization.k8s.io SelfSubjectRulesReview.
func SelfSubjectRulesReviews() *resource.Definition {
	return resource.Typed[authorizationv1.SelfSubjectRulesReview]{
		Definition: resource.Question(api.SelfSubjectRulesReviews, "SelfSubjectRulesReview", "selfsubjectrulesreview"),
	}.Define()
}

// SubjectAccessReviews defines authorization.k8s.io SubjectAccessReview.
func SubjectAccessReviews() *resource.Definition {
	return resource.Typed[authorizationv1.SubjectAccessReview]{
		Definition: resource.Question(api.SubjectAccessReviews, "SubjectAccessReview", "subjectaccessreview"),
	}.Define()
}
