package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	"pintle.dev/auth"
)

// Kubeconfig returns a kubeconfig for a user of the cluster: the file's text, with a client certificate inside.
func (s *System) Kubeconfig(user string, groups ...string) ([]byte, error) {
	cert, key, err := s.authority.Issue(auth.Leaf{User: user, Groups: groups})
	if err != nil {
		return nil, err
	}
	return kubeconfig(s.URL(), user, s.authority.PEM, cert, key), nil
}

// kubeconfig is the text of a kubeconfig with one user, whose certificate and key are inside.
func kubeconfig(server, user string, ca, cert, key []byte) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: pintle
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: pintle
  context:
    cluster: pintle
    user: %s
current-context: pintle
`, server, b64(ca), user, b64(cert), b64(key), user)
}

// writeKubeconfig writes the administrator's kubeconfig (A3).
func (s *System) writeKubeconfig(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the directory of the kubeconfig: %w", err)
	}
	text, err := s.Kubeconfig(auth.UserAdmin, auth.GroupMasters)
	if err != nil {
		return err
	}
	return auth.WriteFile(path, text, 0o600)
}
