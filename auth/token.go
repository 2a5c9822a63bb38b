package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"pintle.dev/api"
	"pintle.dev/store"
)

// Issuer is the iss claim and the default audience of service account tokens.
const Issuer = "https://kubernetes.default.svc"

// Snapshot returns the newest state of the cluster.
type Snapshot func(ctx context.Context) (store.View, error)

// Tokens signs and verifies service account tokens (KEP-1205, bound service account tokens).
type Tokens struct {
	authority *Authority
	snapshot  Snapshot
	now       func() time.Time

	// verified remembers whose signature has been checked, by the token's hash: only the objects it is bound to are
	// looked up again. It is emptied when it has grown to maxVerified.
	mu       sync.Mutex
	verified map[[sha256.Size]byte]*claims
}

const maxVerified = 10_000

// NewTokens returns the issuer and verifier of an authority's tokens.
func NewTokens(a *Authority, s Snapshot) *Tokens {
	return &Tokens{authority: a, snapshot: s, now: time.Now, verified: map[[sha256.Size]byte]*claims{}}
}

// claims are upstream's private and registered claims.
type claims struct {
	jwt.RegisteredClaims
	Kubernetes bound `json:"kubernetes.io"`
}

type bound struct {
	Namespace      string `json:"namespace"`
	ServiceAccount ref    `json:"serviceaccount"`
	Pod            *ref   `json:"pod,omitempty"`
	Secret         *ref   `json:"secret,omitempty"`
	Node           *ref   `json:"node,omitempty"`
}

type ref struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// Grant is what a token is issued for.
type Grant struct {
	Namespace      string
	ServiceAccount *api.Record
	Pod, Secret    *api.Record // what the token is bound to besides; at most one
	Node           *api.Record // the pod's, for information
	Audiences      []string    // empty: the API server
	Lifetime       time.Duration
}

// Issue signs a token and says when it expires.
func (t *Tokens) Issue(g Grant) (token string, expires time.Time, err error) {
	now := t.now()
	expires = now.Add(g.Lifetime)
	if len(g.Audiences) == 0 {
		g.Audiences = []string{Issuer}
	}
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    Issuer,
			Subject:   serviceAccountUserPrefix + g.Namespace + ":" + g.ServiceAccount.Name(),
			Audience:  g.Audiences,
			ExpiresAt: jwt.NewNumericDate(expires),
			NotBefore: jwt.NewNumericDate(now),
			IssuedAt:  jwt.NewNumericDate(now),
			ID:        uuid.NewString(),
		},
		Kubernetes: bound{Namespace: g.Namespace, ServiceAccount: refTo(g.ServiceAccount)},
	}
	for _, b := range []struct {
		rec *api.Record
		to  **ref
	}{{g.Pod, &c.Kubernetes.Pod}, {g.Secret, &c.Kubernetes.Secret}, {g.Node, &c.Kubernetes.Node}} {
		if b.rec != nil {
			r := refTo(b.rec)
			*b.to = &r
		}
	}
	token, err = jwt.NewWithClaims(jwt.SigningMethodES256, c).SignedString(t.authority.TokenKey)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("signing a token for %s: %w", c.Subject, err)
	}
	return token, expires, nil
}

func refTo(r *api.Record) ref { return ref{Name: strings.Clone(r.Name()), UID: strings.Clone(r.UID())} }

// Verify returns the user whom a token stands for before the API server. The error says why the token is refused.
func (t *Tokens) Verify(ctx context.Context, token string) (*api.User, error) {
	u, _, err := t.verify(ctx, token, []string{Issuer})
	return u, err
}

// verify is Verify for somebody with the given audiences. meant are those that the token is meant for, at least one.
func (t *Tokens) verify(ctx context.Context, token string, audiences []string) (u *api.User, meant []string, err error) {
	c, err := t.parse(token)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range c.Audience {
		if slices.Contains(audiences, a) {
			meant = append(meant, a)
		}
	}
	if len(meant) == 0 {
		return nil, nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", []string(c.Audience), audiences)
	}
	if now := t.now(); !now.Before(c.ExpiresAt.Time) {
		return nil, nil, errors.New("token has expired")
	}
	v, err := t.snapshot(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("looking up what a token is bound to: %w", err)
	}
	b := c.Kubernetes
	for _, x := range []struct {
		res api.Resource
		ref *ref
	}{{api.ServiceAccounts, &b.ServiceAccount}, {api.Pods, b.Pod}, {api.Secrets, b.Secret}} {
		if x.ref == nil {
			continue
		}
		r := v.Get(x.res, api.Key{Namespace: b.Namespace, Name: x.ref.Name})
		if r == nil || r.UID() != x.ref.UID {
			return nil, nil, fmt.Errorf("token is bound to %s %s/%s (uid %s), which no longer exists", x.res.Name, b.Namespace, x.ref.Name, x.ref.UID)
		}
	}
	u = &api.User{
		Name:   serviceAccountUserPrefix + b.Namespace + ":" + b.ServiceAccount.Name,
		UID:    b.ServiceAccount.UID,
		Groups: []string{GroupServiceAccounts, GroupServiceAccounts + ":" + b.Namespace, GroupAuthenticated},
		Extra:  map[string][]string{extraCredential: {"JTI=" + c.ID}},
	}
	if b.Pod != nil {
		u.Extra["authentication.kubernetes.io/pod-name"] = []string{b.Pod.Name}
		u.Extra["authentication.kubernetes.io/pod-uid"] = []string{b.Pod.UID}
	}
	if b.Node != nil {
		u.Extra["authentication.kubernetes.io/node-name"] = []string{b.Node.Name}
		u.Extra["authentication.kubernetes.io/node-uid"] = []string{b.Node.UID}
	}
	return u, meant, nil
}

// parse checks of a token what no time and no snapshot changes.
func (t *Tokens) parse(token string) (*claims, error) {
	h := sha256.Sum256([]byte(token))
	t.mu.Lock()
	c := t.verified[h]
	t.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c = new(claims)
	_, err := jwt.ParseWithClaims(token, c, func(*jwt.Token) (any, error) { return t.authority.TokenKey.Public(), nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}), jwt.WithIssuer(Issuer), jwt.WithExpirationRequired(), jwt.WithTimeFunc(t.now))
	if err != nil {
		return nil, err
	}
	if c.Kubernetes.Namespace == "" || c.Kubernetes.ServiceAccount.Name == "" {
		return nil, errors.New("token names no service account")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.verified) >= maxVerified {
		clear(t.verified)
	}
	t.verified[h] = c
	return c, nil
}
