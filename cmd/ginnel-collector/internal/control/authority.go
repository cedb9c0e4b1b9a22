package control

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
)

// Lives of the certificates.
const (
	caLife     = 20 * 365 * 24 * time.Hour
	serverLife = 30 * 24 * time.Hour
	deviceLife = 90 * 24 * time.Hour
	backdate   = time.Hour // for gateways whose clocks are behind
	caBackdate = 48 * time.Hour
)

// authority is the collector's CA.
type authority struct {
	names []string // of the listener
	now   func() time.Time
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	pem   []byte
	pool  *x509.CertPool

	mu     sync.Mutex // guards server
	server *tls.Certificate
}

// openAuthority reads ca.key and ca.crt in dir. Both are made when neither is
// there. The key is written first, so a certificate without a key is a loss,
// never a first start that was cut off.
func openAuthority(dir string, names []string, now func() time.Time) (*authority, error) {
	a := &authority{names: names, now: now}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keyPath, certPath := filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.crt")
	keyText, keyErr := os.ReadFile(keyPath)
	certText, certErr := os.ReadFile(certPath)
	missing := func(err error) bool { return errors.Is(err, fs.ErrNotExist) }
	switch {
	case missing(keyErr) && missing(certErr):
		if err := a.makeKey(keyPath); err != nil {
			return nil, err
		}
		return a, a.makeCertificate(certPath)
	case missing(keyErr):
		return nil, fmt.Errorf("%s is missing, %s is there; restore it from the backup: a new one would lock out every gateway", keyPath, certPath)
	case keyErr != nil:
		return nil, keyErr
	}
	if err := a.readKey(keyPath, keyText); err != nil {
		return nil, err
	}
	if missing(certErr) {
		return a, a.makeCertificate(certPath)
	}
	if certErr != nil {
		return nil, certErr
	}
	return a, a.useCertificate(certPath, certText)
}

func (a *authority) makeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	a.key = key
	return writeNew(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func (a *authority) readKey(path string, text []byte) error {
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: mode %04o, others may read it; it must be 0600", path, st.Mode().Perm())
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s: it is not a PEM", path)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := any.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return fmt.Errorf("%s: it is not an ECDSA key in PKCS#8", path)
	}
	a.key = key
	return nil
}

// makeCertificate certifies the key by itself. The random part of its name
// tells two collectors' CAs apart.
func (a *authority) makeCertificate(path string) error {
	serial, now := newSerial(), a.now()
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Ginnel CA " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore:    now.Add(-caBackdate), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &a.key.PublicKey, a.key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := writeNew(path, text, 0o644); err != nil {
		return err
	}
	return a.useCertificate(path, text)
}

func (a *authority) useCertificate(path string, text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("%s: it is not a certificate in PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if pub, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !a.key.PublicKey.Equal(pub) {
		return fmt.Errorf("%s: it does not belong to the key beside it", path)
	}
	a.cert, a.pem, a.pool = cert, pem.EncodeToMemory(block), x509.NewCertPool()
	a.pool.AddCert(cert)
	return nil
}

// serverCertificate is the listener's, made anew after two thirds of its life,
// or when the clock was set back before it.
// It is kept in memory only: gateways trust the CA, not this one.
func (a *authority) serverCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	if a.server != nil && !now.Before(a.server.Leaf.NotBefore) && now.Before(a.server.Leaf.NotBefore.Add(serverLife*2/3)) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: a.names[0]},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range a.names {
		if ip, err := netip.ParseAddr(n); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	leaf, err := a.sign(t, &key.PublicKey, serverLife)
	if err != nil {
		return nil, err
	}
	a.server = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return a.server, nil
}

// device certifies a gateway's device key, PEM.
func (a *authority) device(gateway, uid string, key *ecdsa.PublicKey) ([]byte, *x509.Certificate, error) {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: gateway},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, urn := range []string{identity.InstanceURN + uid, identity.GatewayURN + gateway} {
		u, err := url.Parse(urn)
		if err != nil {
			return nil, nil, err
		}
		t.URIs = append(t.URIs, u)
	}
	leaf, err := a.sign(t, key, deviceLife)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), leaf, nil
}

// clock is the collector's, which cannot be before its CA was made: what was
// dated so would lead to a CA that was not valid yet.
func (a *authority) clock() time.Time {
	now := a.now()
	if made := a.cert.NotBefore.Add(caBackdate); now.Before(made) {
		return made
	}
	return now
}

func (a *authority) sign(t *x509.Certificate, key *ecdsa.PublicKey, life time.Duration) (*x509.Certificate, error) {
	now := a.clock()
	t.SerialNumber, t.KeyUsage, t.BasicConstraintsValid = newSerial(), x509.KeyUsageDigitalSignature, true
	t.NotBefore, t.NotAfter = now.Add(-backdate), now.Add(life)
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", t.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// verify says whether a client's chain is of our CA, as of when it was given:
// whether it has expired is for the caller to ask.
func (a *authority) verify(chain []*x509.Certificate) error {
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.pool, CurrentTime: chain[0].NotBefore.Add(backdate),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// newSerial is a random serial number of 127 bits (RFC 5280 4.1.2.2: positive,
// at most 20 bytes).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// writeNew writes a file that must not be there yet, durably.
func writeNew(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := bytes.NewReader(text).WriteTo(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
