package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"pintle.dev/api"
)

// A continue token is upstream's: the base64 form of the revision a list was taken at and the least key not yet given,
// relative to the list's scope. It names no resource; used with another list it continues there from that key.
type continueToken struct {
	Version  string `json:"v"`
	Revision int64  `json:"rv"` // -1: the newest, once the original has been forgotten
	Start    string `json:"start"`
	// Given counts the objects on the pages before, so that the rest need not be counted; Pintle's own.
	Given int `json:"n,omitempty"`
}

const tokenVersion = "meta.k8s.io/v1"

// The texts of an expired list, with and without a way on.
const (
	listExpired     = "The resourceVersion for the provided list is too old."
	continueExpired = "The provided continue parameter is too old to display a consistent list result. " +
		"You can start a new list without the continue parameter, or use the continue token in this response to " +
		"retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - " +
		"objects that were created, modified, or deleted between the time the first chunk was returned and now may " +
		"show up in the list."
)

// encodeContinue makes the token of the page after the object last, in a list of namespace ("": all).
func encodeContinue(rev int64, namespace string, last api.Key, given int) string {
	start := last.Name + "\x00"
	if namespace == "" && last.Namespace != "" {
		start = last.Namespace + "/" + start
	}
	b, err := json.Marshal(continueToken{tokenVersion, rev, start, given})
	if err != nil {
		panic(fmt.Sprintf("encoding a continue token: %v", err)) // plain fields always encode
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeContinue reads a token for a list of namespace ("": all) of a namespaced resource or of a cluster-scoped one.
// after is the last key already given. The errors are upstream's 400s.
func decodeContinue(token, namespace string, namespaced bool) (t continueToken, after api.Key, err error) {
	invalid := func(format string, args ...any) (continueToken, api.Key, error) {
		return t, api.Key{}, api.BadRequest("invalid continue token: continue key is not valid: %s", fmt.Sprintf(format, args...))
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return invalid("%v", err)
	}
	if err := json.Unmarshal(data, &t); err != nil {
		// The library names the type, which is another package's upstream.
		return invalid("%s", strings.Replace(err.Error(), "server.continueToken", "storage.continueToken", 1))
	}
	switch {
	case t.Version != tokenVersion:
		return invalid("server does not recognize this encoded version %s", t.Version)
	case t.Revision == 0 || t.Revision < -1 || t.Given < 0:
		return invalid("incorrect encoded start resourceVersion (version %s)", tokenVersion)
	case t.Start == "":
		return invalid("encoded start key empty (version %s)", tokenVersion)
	}
	// As upstream, a key that path.Clean would change is no key.
	if rooted := "/" + strings.TrimPrefix(t.Start, "/"); path.Clean(rooted) != rooted {
		return invalid("%s", t.Start)
	}
	start := strings.TrimPrefix(t.Start, "/")
	after.Namespace = namespace
	if namespace == "" && namespaced {
		after.Namespace, start, _ = strings.Cut(start, "/")
	}
	after.Name = strings.TrimSuffix(start, "\x00")
	return t, after, nil
}
