package client

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// Caller is a Client that can also make the calls whose answer is an object that is not stored, such as a token.
type Caller interface {
	// Call makes a change and returns what it was answered with: a pointer to the typed object.
	Call(ctx context.Context, c Change) (any, error)
}

// RequestToken asks for a token of a service account.
func RequestToken(ctx context.Context, c Client, account api.Key, spec authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequestStatus, error) {
	caller, ok := c.(Caller)
	if !ok {
		return nil, fmt.Errorf("requesting a token of %s: a %T makes no calls", account, c)
	}
	o, err := caller.Call(ctx, Change{
		Verb: api.Create, Resource: api.ServiceAccounts, Version: "v1", Subresource: "token", Key: account,
		Object: &authenticationv1.TokenRequest{
			TypeMeta:   metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"},
			ObjectMeta: metav1.ObjectMeta{Namespace: account.Namespace, Name: account.Name},
			Spec:       spec,
		},
	})
	if err != nil {
		return nil, err
	}
	t, ok := o.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, fmt.Errorf("requesting a token of %s: answered with %T", account, o)
	}
	return &t.Status, nil
}
