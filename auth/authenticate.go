package auth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pintle.dev/api"
)

// Authenticator tells who sends a request: by client certificate, by bearer token, or nobody (anonymous).
type Authenticator struct {
	Authority *Authority
	Tokens    *Tokens

	// Log is told why a credential was refused; clients only learn that it was.
	Log func(msg string, args ...any)
}

// TLS is the server configuration whose connections Authenticate understands: client certificates are asked for, and
// judged by Authenticate rather than by the handshake, so that a bad one gets a 401 that says so.
func (a *Authenticator) TLS(s *Serving) *tls.Config {
	return &tls.Config{
		GetCertificate: s.GetCertificate,
		ClientAuth:     tls.RequestClientCert,
		ClientCAs:      a.Authority.Pool(),
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		// Small records at the start of a connection would make each event of a watch two or three writes.
		DynamicRecordSizingDisabled: true,
	}
}

type connectionKey struct{}

// connection holds what has been verified about a TLS connection.
type connection struct {
	identity atomic.Pointer[identity]
}

type identity struct {
	user    *api.User // nil: no certificate was given
	expires time.Time
}

// ConnContext is for http.Server: it gives each connection a place to remember its verified certificate.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(connection))
}

var anonymous = &api.User{Name: UserAnonymous, Groups: []string{GroupUnauthenticated}}

// Authenticate returns who sends r, after impersonation. A credential that is given but bad is a 401, never anonymous.
func (a *Authenticator) Authenticate(r *http.Request) (*api.User, error) {
	u, err := a.credential(r)
	if err != nil {
		return nil, err
	}
	// Header keys are canonical: one look at the map tells whether anyone is impersonated.
	for k := range r.Header {
		if strings.HasPrefix(k, "Impersonate-") {
			return impersonate(u, r.Header)
		}
	}
	return u, nil
}

func (a *Authenticator) credential(r *http.Request) (*api.User, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return a.certificate(r)
	}
	h := r.Header.Get("Authorization")
	if h == "" {
		return anonymous, nil
	}
	scheme, token, _ := strings.Cut(h, " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, unauthorized()
	}
	u, err := a.Tokens.Verify(r.Context(), strings.TrimSpace(token))
	if err != nil {
		a.logf("refused a bearer token", "from", r.RemoteAddr, "err", err)
		return nil, unauthorized()
	}
	return u, nil
}

func (a *Authenticator) certificate(r *http.Request) (*api.User, error) {
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	if conn != nil {
		if id := conn.identity.Load(); id != nil && a.Authority.Now().Before(id.expires) {
			return id.user, nil
		}
	}
	cs := r.TLS.PeerCertificates
	opts := x509.VerifyOptions{Roots: a.Authority.Pool(), Intermediates: x509.NewCertPool(), CurrentTime: a.Authority.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, c := range cs[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := cs[0].Verify(opts)
	if err == nil && cs[0].Subject.CommonName == "" {
		err = errors.New("the subject has no common name, which would be the user's")
	}
	if err != nil {
		a.logf("refused a client certificate", "from", r.RemoteAddr, "subject", cs[0].Subject, "err", err)
		return nil, unauthorized()
	}
	fingerprint := sha256.Sum256(cs[0].Raw)
	u := &api.User{
		Name:   cs[0].Subject.CommonName,
		Groups: append(slices.Clone(cs[0].Subject.Organization), GroupAuthenticated),
		Extra:  map[string][]string{extraCredential: {"X509SHA256=" + hex.EncodeToString(fingerprint[:])}},
	}
	if conn != nil {
		conn.identity.Store(&identity{user: u, expires: cs[0].NotAfter})
	}
	return u, nil
}

func (a *Authenticator) logf(msg string, args ...any) {
	if a.Log != nil {
		a.Log(msg, args...)
	}
}

func unauthorized() *api.Error {
	return api.NewError(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
}

// impersonate applies the Impersonate-* headers. Only members of system:masters may use them.
func impersonate(u *api.User, h http.Header) (*api.User, error) {
	name := h.Get("Impersonate-User")
	if name == "" {
		return nil, api.BadRequest("requested %v without impersonating a user", impersonationHeaders(h))
	}
	if !u.InGroup(GroupMasters) {
		return nil, api.Forbidden(api.Resource{Name: "users"}, name, deniedReason(u, "impersonate", `resource "users"`, "", "at the cluster scope"))
	}
	as := &api.User{Name: name, UID: h.Get("Impersonate-Uid"), Groups: slices.Clone(h.Values("Impersonate-Group"))}
	for k, vs := range h {
		if extra, ok := strings.CutPrefix(k, "Impersonate-Extra-"); ok {
			if key, err := url.PathUnescape(strings.ToLower(extra)); err == nil {
				if as.Extra == nil {
					as.Extra = map[string][]string{}
				}
				as.Extra[key] = append(as.Extra[key], vs...)
			}
		}
	}
	if ns, _, ok := splitServiceAccount(name); ok && len(as.Groups) == 0 {
		as.Groups = []string{GroupServiceAccounts, GroupServiceAccounts + ":" + ns}
	}
	own := GroupAuthenticated
	if name == UserAnonymous {
		own = GroupUnauthenticated
	}
	if !as.InGroup(own) {
		as.Groups = append(as.Groups, own)
	}
	return as, nil
}

func impersonationHeaders(h http.Header) []string {
	var names []string
	for k := range h {
		if strings.HasPrefix(k, "Impersonate-") {
			names = append(names, textproto.CanonicalMIMEHeaderKey(k))
		}
	}
	slices.Sort(names)
	return names
}

func splitServiceAccount(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, serviceAccountUserPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}
