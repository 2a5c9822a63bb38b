package auth

import (
	"context"
	"errors"

	"github.com/golang-jwt/jwt/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// ReviewSelf answers a SelfSubjectReview: who the caller is taken for, impersonation included (KEP-3325).
func ReviewSelf(_ context.Context, r *api.Request, _ *authenticationv1.SelfSubjectReview) (*authenticationv1.SelfSubjectReview, error) {
	return &authenticationv1.SelfSubjectReview{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Now()},
		Status:     authenticationv1.SelfSubjectReviewStatus{UserInfo: userInfo(r.User)},
	}, nil
}

// Review answers a TokenReview: whom a token stands for, when it is meant for one of spec.audiences (the API server's
// when there are none). That a token is refused is an answer, not an error.
func (t *Tokens) Review(ctx context.Context, _ *api.Request, tr *authenticationv1.TokenReview) (*authenticationv1.TokenReview, error) {
	if tr.Spec.Token == "" {
		return nil, api.BadRequest("token is required for TokenReview in authentication")
	}
	audiences := tr.Spec.Audiences
	if len(audiences) == 0 {
		audiences = []string{Issuer}
	}
	u, meant, err := t.verify(ctx, tr.Spec.Token, audiences)
	if err != nil {
		tr.Status = authenticationv1.TokenReviewStatus{Error: refusal(err)}
		return tr, nil
	}
	tr.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: userInfo(u), Audiences: meant}
	return tr, nil
}

// refusal is why a token was refused, as upstream words it: of what is no token of this cluster it says no more than that.
func refusal(err error) string {
	const invalid = "invalid bearer token"
	if errors.Is(err, jwt.ErrTokenMalformed) || errors.Is(err, jwt.ErrTokenInvalidIssuer) {
		return invalid
	}
	return "[" + invalid + ", " + err.Error() + "]"
}

func userInfo(u *api.User) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: u.Name, UID: u.UID, Groups: u.Groups}
	for k, vs := range u.Extra {
		if info.Extra == nil {
			info.Extra = map[string]authenticationv1.ExtraValue{}
		}
		info.Extra[k] = vs
	}
	return info
}
