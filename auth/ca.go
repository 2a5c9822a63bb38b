package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// How long certificates live. Leaves are issued anew once renewAt of their life has passed.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	renewAt       = 0.8
	// backdate makes certificates valid for machines whose clock is a little behind.
	backdate = 5 * time.Minute
)

// Authority is the cluster's certificate authority and the key that signs service account tokens.
type Authority struct {
	TokenKey *ecdsa.PrivateKey
	// Now is the clock that certificates are issued and judged by.
	Now func() time.Time

	key crypto.Signer
	own atomic.Pointer[authorityCertificate]
	dir string // "" when it lives in memory only
}

// authorityCertificate is the certificate of an authority, of which it has several in its life.
type authorityCertificate struct {
	parsed *x509.Certificate
	pem    []byte
}

// NewAuthority makes an authority that lives in memory only.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	tokenKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the token key: %w", err)
	}
	a := &Authority{TokenKey: tokenKey, Now: time.Now, key: key}
	return a, a.certify(pkix.Name{CommonName: fmt.Sprintf("pintle-ca@%d", time.Now().Unix())})
}

// certify signs a new certificate for the authority by itself.
func (a *Authority) certify(name pkix.Name) error {
	serial, err := serialNumber()
	if err != nil {
		return err
	}
	now := a.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber:          serial,
		Subject:               name,
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, &x509.Certificate{Subject: name}, a.key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("signing the authority's certificate: %w", err)
	}
	return a.use(der)
}

func (a *Authority) use(der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("parsing the authority's certificate: %w", err)
	}
	a.own.Store(&authorityCertificate{cert, encodePEM("CERTIFICATE", der)})
	return nil
}

// Certificate is the authority's present certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.own.Load().parsed }

// PEM is the authority's present certificate, PEM encoded.
func (a *Authority) PEM() []byte { return a.own.Load().pem }

// Renew replaces the authority's certificate once most of its life has passed, and says whether it did. Key and name
// stay, so what was issued before is good under the new certificate, and what is issued now under the old one for as
// long as that lasts: those who trust it have years to learn of the new.
func (a *Authority) Renew() (bool, error) {
	old := a.own.Load()
	if !Due(old.parsed, a.Now()) {
		return false, nil
	}
	if err := a.certify(old.parsed.Subject); err != nil {
		return false, err
	}
	if a.dir == "" {
		return true, nil
	}
	if err := WriteFile(filepath.Join(a.dir, fileCert), a.PEM(), 0o644); err != nil {
		a.own.Store(old)
		return false, fmt.Errorf("renewing the authority's certificate: %w", err)
	}
	return true, nil
}

// The files of an authority, in its directory.
const (
	fileCert  = "ca.crt"
	fileKey   = "ca.key"
	fileToken = "sa.key"
)

// LoadAuthority reads the authority kept in dir, making it first when there is none. A part of one is an error: a new
// one in its place would be foreign to every kubeconfig and token there is.
func LoadAuthority(dir string) (*Authority, error) {
	var there, missing []string
	for _, name := range []string{fileCert, fileKey, fileToken} {
		switch _, err := os.Stat(filepath.Join(dir, name)); {
		case err == nil:
			there = append(there, name)
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, name)
		default:
			return nil, fmt.Errorf("looking for the cluster's certificates: %w", err)
		}
	}
	switch {
	case there == nil:
		return createAuthority(dir)
	case missing != nil:
		return nil, fmt.Errorf("%s is missing beside %s in %s: bring it back from a copy, or remove that directory to have a new authority made, which no kubeconfig or token issued so far will fit",
			strings.Join(missing, " and "), strings.Join(there, " and "), dir)
	}
	certPath := filepath.Join(dir, fileCert)
	cert, err := readPEM(certPath, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, fileKey))
	if err != nil {
		return nil, err
	}
	tokenKey, err := readKey(filepath.Join(dir, fileToken))
	if err != nil {
		return nil, err
	}
	a := &Authority{TokenKey: tokenKey, Now: time.Now, key: key, dir: dir}
	if err := a.use(cert); err != nil {
		return nil, damaged(certPath, err)
	}
	c := a.Certificate()
	if err := c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		return nil, damaged(certPath, fmt.Errorf("it is not signed with its own key: %w", err))
	}
	if !key.PublicKey.Equal(c.PublicKey) {
		return nil, fmt.Errorf("%s does not belong to %s in %s: bring both back from the same copy", fileKey, fileCert, dir)
	}
	return a, nil
}

// createAuthority makes an authority and keeps it in dir.
func createAuthority(dir string) (*Authority, error) {
	a, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	return a, a.Save(dir)
}

// Save writes the authority beside dir and gives it the name when it is complete. dir must not exist.
func (a *Authority) Save(dir string) error {
	key, token, err := a.keys()
	if err != nil {
		return err
	}
	made := dir + ".new"
	if err := errors.Join(os.RemoveAll(made), os.MkdirAll(made, 0o700)); err != nil {
		return fmt.Errorf("making the directory for certificates: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{fileCert, a.PEM(), 0o644}, {fileToken, token, 0o600}, {fileKey, key, 0o600}} {
		if err := WriteFile(filepath.Join(made, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	if err := syncDir(made); err != nil {
		return err
	}
	if err := os.Rename(made, dir); err != nil {
		return fmt.Errorf("naming the directory for certificates: %w", err)
	}
	a.dir = dir
	return syncDir(filepath.Dir(dir))
}

func (a *Authority) keys() (key, token []byte, err error) {
	if key, err = encodeKey(a.key.(*ecdsa.PrivateKey)); err != nil {
		return nil, nil, err
	}
	token, err = encodeKey(a.TokenKey)
	return key, token, err
}

// Bundle is all of the authority, keys included, for a backup: certificate, key and token key, PEM encoded.
func (a *Authority) Bundle() ([]byte, error) {
	key, token, err := a.keys()
	return slices.Concat(a.PEM(), key, token), err
}

// ParseBundle reads what Bundle wrote.
func ParseBundle(bundle []byte) (*Authority, error) {
	var blocks [3][]byte
	for i, kind := range []string{"CERTIFICATE", "EC PRIVATE KEY", "EC PRIVATE KEY"} {
		b, rest := pem.Decode(bundle)
		if b == nil || b.Type != kind {
			return nil, fmt.Errorf("the authority's bundle has no %s as block %d", kind, i+1)
		}
		blocks[i], bundle = b.Bytes, rest
	}
	key, err := x509.ParseECPrivateKey(blocks[1])
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	token, err := x509.ParseECPrivateKey(blocks[2])
	if err != nil {
		return nil, fmt.Errorf("the token key: %w", err)
	}
	a := &Authority{TokenKey: token, Now: time.Now, key: key}
	return a, a.use(blocks[0])
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}

// Pool holds the authority's certificate alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Certificate())
	return p
}

// Leaf is what a certificate is issued for: a client (User, Groups) or a server (Hosts: names and addresses), or both.
type Leaf struct {
	User   string
	Groups []string
	Hosts  []string
}

// Issue signs a new certificate with a key of its own, both PEM encoded.
func (a *Authority) Issue(l Leaf) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key for %s: %w", l.User, err)
	}
	if certPEM, err = a.Sign(l, key.Public()); err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	return certPEM, keyPEM, err
}

// Sign signs a new certificate for somebody who has a key already, PEM encoded.
func (a *Authority) Sign(l Leaf, key crypto.PublicKey) ([]byte, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now, issuer := a.Now(), a.Certificate()
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: l.User, Organization: l.Groups},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if t.NotAfter.After(issuer.NotAfter) {
		t.NotAfter = issuer.NotAfter
	}
	if len(l.Hosts) > 0 {
		if len(l.Groups) == 0 { // a server and nothing else
			t.ExtKeyUsage = nil
		}
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		for _, h := range l.Hosts {
			if ip := net.ParseIP(h); ip != nil {
				t.IPAddresses = append(t.IPAddresses, ip)
			} else {
				t.DNSNames = append(t.DNSNames, h)
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate for %s: %w", l.User, err)
	}
	return encodePEM("CERTIFICATE", der), nil
}

// Serving is a certificate for a TLS server that renews itself: a handshake that finds it past renewAt of its life
// makes a new one. The zero value is not usable.
type Serving struct {
	authority *Authority
	leaf      Leaf

	mu   sync.Mutex
	cert *tls.Certificate
}

// Serve returns a self-renewing server certificate for the given names and addresses.
func (a *Authority) Serve(hosts []string) *Serving {
	return &Serving{authority: a, leaf: Leaf{User: "pintle", Hosts: hosts}}
}

// GetCertificate is for tls.Config.
func (s *Serving) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert != nil && !Due(s.cert.Leaf, s.authority.Now()) {
		return s.cert, nil
	}
	certPEM, keyPEM, err := s.authority.Issue(s.leaf)
	if err == nil {
		var c tls.Certificate
		if c, err = tls.X509KeyPair(certPEM, keyPEM); err == nil {
			s.cert = &c
		}
	}
	if err != nil && s.cert != nil && s.authority.Now().Before(s.cert.Leaf.NotAfter) {
		return s.cert, nil // still good; the next handshake tries again
	}
	return s.cert, err
}

// Due reports whether a certificate has lived long enough to be replaced.
func Due(c *x509.Certificate, now time.Time) bool {
	life := c.NotAfter.Sub(c.NotBefore)
	return now.After(c.NotBefore.Add(time.Duration(float64(life) * renewAt)))
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func encodePEM(kind string, der []byte) []byte {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a bytes.Buffer does not fail
	return b.Bytes()
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return encodePEM("EC PRIVATE KEY", der), nil
}

// readPEM reads a file that holds one PEM block. Letters that decoding passes over, as the spare bits at the end of
// base64, must be as they were written too: a file that differs at all is not to be trusted with a cluster.
func readPEM(path, kind string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	b, _ := pem.Decode(data)
	if b == nil || b.Type != kind {
		return nil, damaged(path, fmt.Errorf("it holds no PEM block of type %q", kind))
	}
	if text := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")); !bytes.Contains(text, encodePEM(kind, b.Bytes)) {
		return nil, damaged(path, errors.New("its text is not the encoding of what it holds"))
	}
	return b.Bytes, nil
}

// damaged is the error of a file of the authority that is not as it was written.
func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged (%w): bring it back from a copy, or remove its directory to have a new authority made", path, err)
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(path, "EC PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	k, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, damaged(path, err)
	}
	switch again, err := x509.MarshalECPrivateKey(k); {
	case err != nil:
		return nil, damaged(path, err)
	case !bytes.Equal(again, der): // parsing does not look at the public half
		return nil, damaged(path, errors.New("its private and its public key are no pair"))
	}
	return k, nil
}
