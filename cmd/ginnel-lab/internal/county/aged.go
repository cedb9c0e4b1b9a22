package county

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// certificate is where a gateway has its certificate.
const certificate = "/var/lib/ginnel/identity/certificate.pem"

// AgeCA gives a collector that has not been started yet a CA that is so old.
func (c *Collector) AgeCA(by time.Duration) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	made := time.Now().Add(-by)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Ginnel CA of old"},
		NotBefore: made, NotAfter: made.AddDate(20, 0, 0), KeyUsage: x509.KeyUsageCertSign,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true}
	public, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(data, 0o700),
		os.WriteFile(filepath.Join(data, "ca.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
		os.WriteFile(filepath.Join(data, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o644))
}

// DateCertificate puts other dates on a gateway's certificate, as if it had been
// switched off since. Its agent must not run.
func (c *County) DateCertificate(a *Agent, from, until time.Time) error {
	text, err := a.Node.ReadFile(certificate)
	if err != nil {
		return err
	}
	leaf, err := parsed([]byte(text))
	if err != nil {
		return err
	}
	ca, key, err := authority()
	if err != nil {
		return err
	}
	leaf.NotBefore, leaf.NotAfter = from, until
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, leaf.PublicKey, key)
	if err != nil {
		return err
	}
	return a.Node.WriteFile(certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o600)
}

// CertificateUntil is when a gateway's certificate expires.
func (a *Agent) CertificateUntil() (time.Time, error) {
	text, err := a.Node.ReadFile(certificate)
	if err != nil {
		return time.Time{}, err
	}
	leaf, err := parsed([]byte(text))
	if err != nil {
		return time.Time{}, err
	}
	return leaf.NotAfter, nil
}

// authority is the collector's, from its own folder.
func authority() (*x509.Certificate, any, error) {
	text, err := os.ReadFile(filepath.Join(data, "ca.crt"))
	if err != nil {
		return nil, nil, err
	}
	ca, err := parsed(text)
	if err != nil {
		return nil, nil, err
	}
	if text, err = os.ReadFile(filepath.Join(data, "ca.key")); err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, errors.New("ca.key is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	return ca, key, err
}

func parsed(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%d bytes are no PEM", len(text))
	}
	return x509.ParseCertificate(block.Bytes)
}

// StartAgentAt starts the agent with a clock that is so far ahead. It is the
// build that .ci/wrong-clock makes.
func (a *Agent) StartAgentAt(ahead time.Duration) error {
	return a.start("env", "GINNEL_CLOCK="+strconv.Itoa(int(ahead.Seconds())), wrongClock, "run")
}

var wrongClock = filepath.Join(netns.Bin, "clock", "ginnel")
