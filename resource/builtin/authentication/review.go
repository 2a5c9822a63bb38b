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
		Definition: resource.Question(api.SelfSubjectReviews, "SelfSubjectReview", "selfsubjectreview"),
	}.Define()
}

// TokenReviews defines authentication.k8s.io TokenReview.
func TokenReviews() *resource.Definition {
	return resource.Typed[authenticationv1.TokenReview]{
		Definition: resource.Question(api.TokenReviews, "TokenReview", "tokenreview"),
	}.Define()
}
