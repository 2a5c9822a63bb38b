// Package auth establishes who asks and whether they may: the cluster's certificate authority and the certificates it
// issues, service account tokens, the authentication of HTTP requests, and authorization.
//
// It knows no request path: server calls Authenticate once a request (a TLS identity is verified once a connection) and
// Authorize in the chain. Invariants:
//
//   - A1 A certificate or token that has expired, or that another authority signed, authenticates nobody.
//   - A2 A token bound to a service account or pod dies with that object: it is checked against the current snapshot.
//   - A3 Private keys and kubeconfigs are written with mode 0600, each by rename, so none is ever seen half written.
//   - A4 What no rule allows is denied.
package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pintle.dev/api"
)

// Names of users and groups, as upstream has them.
const (
	GroupMasters         = "system:masters"
	GroupNodes           = "system:nodes"
	GroupAuthenticated   = "system:authenticated"
	GroupUnauthenticated = "system:unauthenticated"
	GroupServiceAccounts = "system:serviceaccounts"

	UserAnonymous         = "system:anonymous"
	UserAdmin             = "kubernetes-admin"
	UserServer            = "system:apiserver"
	UserControllerManager = "system:kube-controller-manager"
	UserScheduler         = "system:kube-scheduler"
	UserHollowNodes       = "system:hollow-nodes" // reads the pods of all simulated nodes at once

	// extraCredential is what tells one credential of a user from another, in the extra information about the user.
	extraCredential = "authentication.kubernetes.io/credential-id"

	nodeUserPrefix           = "system:node:"
	serviceAccountUserPrefix = "system:serviceaccount:"
)

// NodeUser is the user name of a node's agent.
func NodeUser(node string) string { return nodeUserPrefix + node }

// NodeOf is the node whose agent u is.
func NodeOf(u *api.User) (node string, ok bool) {
	node, ok = strings.CutPrefix(u.Name, nodeUserPrefix)
	return node, ok && node != "" && u.InGroup(GroupNodes)
}

// WriteFile writes data to a file by renaming a synced temporary one over it (A3).
func WriteFile(path string, data []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
