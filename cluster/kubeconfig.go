package cluster

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pintle.dev/auth"
)

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

// writeKubeconfig writes the administrator's kubeconfig (A3), if one is wanted.
func (s *System) writeKubeconfig() error {
	path := s.config.Kubeconfig
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("making the directory of the kubeconfig: %w", err)
	}
	cert, key, err := s.authority.Issue(auth.Leaf{User: auth.UserAdmin, Groups: []string{auth.GroupMasters}})
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	if err := auth.WriteFile(path, kubeconfig(s.URL(), auth.UserAdmin, s.authority.PEM(), cert, key), 0o600); err != nil {
		return err
	}
	s.admin = pair.Leaf
	return nil
}

// keepCertificates renews what expires, until ctx ends. The server's own certificate renews itself in handshakes.
func (s *System) keepCertificates(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.renewCertificates(); err != nil {
			s.log.Error("a certificate is not renewed; it is tried again", "every", renewEvery, "err", err)
		}
	}
}

// renewCertificates renews the authority's certificate and the administrator's where they are due.
func (s *System) renewCertificates() error {
	renewed, err := s.authority.Renew()
	if err != nil {
		return err
	}
	if renewed {
		s.log.Info("renewed the certificate of the cluster's authority", "expires", s.authority.Certificate().NotAfter)
	}
	if s.admin == nil || !renewed && !auth.Due(s.admin, s.authority.Now()) {
		return nil
	}
	if err := s.writeKubeconfig(); err != nil {
		return err
	}
	s.log.Info("renewed the administrator's certificate", "kubeconfig", s.config.Kubeconfig, "expires", s.admin.NotAfter)
	return nil
}
