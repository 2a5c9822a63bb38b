// Package authentication defines the kinds of the authentication.k8s.io API group: questions, which package auth answers.
package authentication

import (
	authenticationv1 "k8s.io/api/authentication/v1"

	"pintle.dev/api"
	"pintle.dev/resource"
)

// SelfSubjectReviews defines authentication.k8s.io SelfSubjectReview.
func SelfSubjectReviews() *resource.Definition {
	return resource.Typed[authenticationv1.SelfSubjectReview]{
		Definition: review(api.SelfSubjectReviews, "SelfSubjectReview", "selfsubjectreview"),
	}.Define()
}

// TokenReviews defines authentication.k8s.io TokenReview.
func TokenReviews() *resource.Definition {
	return resource.Typed[authenticationv1.TokenReview]{
		Definition: review(api.TokenReviews, "TokenReview", "tokenreview"),
	}.Define()
}

func review(r api.Resource, kind, singular string) resource.Definition {
	return resource.Definition{
		Resource: r, Kind: kind, Singular: singular, Transient: true, Verbs: []api.Verb{api.Create},
		Versions: []resource.Version{{Group: r.Group, Name: "v1", Storage: true, Served: true}},
	}
}
