package volume

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"pintle.dev/api"
	"pintle.dev/client"
)

// tokenKey is one token of a pod's service account.
type tokenKey struct {
	uid      types.UID
	audience string
	seconds  int64
}

// token is a token and when to ask for the next: after four fifths of its life, or a day, with a little jitter.
type token struct {
	text    string
	refresh time.Time
}

// tokenLife is the life of a token that names none, in seconds.
const tokenLife = 3600

// token adds a service account token, bound to the pod.
func (s *sources) token(p *corev1.ServiceAccountTokenProjection, def os.FileMode) error {
	seconds := int64(tokenLife)
	if p.ExpirationSeconds != nil {
		seconds = *p.ExpirationSeconds
	}
	k := tokenKey{s.pod.UID, p.Audience, seconds}
	s.m.mu.Lock()
	t, ok := s.m.tokens[k]
	s.m.mu.Unlock()
	if !ok || time.Now().After(t.refresh) {
		next, err := s.request(p.Audience, seconds)
		if err != nil {
			return err
		}
		t = next
		s.m.mu.Lock()
		s.m.tokens[k] = t
		s.m.mu.Unlock()
	}
	f := file{data: []byte(t.text), mode: def}
	if s.m.root {
		f.uid = soleUser(s.pod)
		if f.uid != nil || fsGroup(s.pod) != nil {
			f.mode = 0o600
		}
	}
	s.files[path.Clean(p.Path)] = f
	return nil
}

func (s *sources) request(audience string, seconds int64) (token, error) {
	spec := authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds, BoundObjectRef: &authenticationv1.BoundObjectReference{
		Kind: "Pod", APIVersion: "v1", Name: s.pod.Name, UID: s.pod.UID,
	}}
	if audience != "" {
		spec.Audiences = []string{audience}
	}
	asked := time.Now()
	got, err := client.RequestToken(s.ctx, s.m.cfg.Client, api.Key{Namespace: s.pod.Namespace, Name: s.pod.Spec.ServiceAccountName}, spec)
	if err != nil {
		return token{}, fmt.Errorf("failed to fetch token: %w", said("serviceaccount", s.pod.Spec.ServiceAccountName, err))
	}
	life := time.Duration(seconds) * time.Second
	if exp := got.ExpirationTimestamp; !exp.IsZero() {
		life = exp.Sub(asked)
	}
	jitter := time.Duration(rand.Int64N(int64(10 * time.Second)))
	return token{got.Token, asked.Add(min(life*4/5, 24*time.Hour) - jitter)}, nil
}

// soleUser is the user all containers of a pod run as; nil when they differ or do not say.
func soleUser(pod *corev1.Pod) *int64 {
	var user *int64
	for _, cs := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range cs {
			u := (*int64)(nil)
			if sc := pod.Spec.SecurityContext; sc != nil {
				u = sc.RunAsUser
			}
			if sc := cs[i].SecurityContext; sc != nil && sc.RunAsUser != nil {
				u = sc.RunAsUser
			}
			if u == nil || user != nil && *user != *u {
				return nil
			}
			user = u
		}
	}
	return user
}
