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
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
)

// URNs that an operator's certificate carries as URI SANs. A certificate that
// has the first is never a gateway's, and one without it never an operator's.
const (
	OperatorURN     = "urn:ginnel:operator:"     // and the operator's name
	OrganisationURN = "urn:ginnel:organisation:" // and the one organisation's; absent: all
)

// OperatorCertificate is what an operator is given.
type OperatorCertificate struct {
	PEM    []byte // the key, its certificate and the CA's: one file for ginnelctl
	Serial string // in hex
	Until  time.Time
}

// NewOperatorCertificate makes a key and its certificate, signed by the CA in
// dir, which must be there. The collector may run or not.
func NewOperatorCertificate(dir, name, organisation string, life time.Duration) (OperatorCertificate, error) {
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); errors.Is(err, fs.ErrNotExist) {
		return OperatorCertificate{}, fmt.Errorf("%s has no authority: it is made when the collector first serves", dir)
	}
	ca, err := openAuthority(dir, nil, time.Now)
	if err != nil {
		return OperatorCertificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return OperatorCertificate{}, err
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		URIs:        []*url.URL{{Scheme: "urn", Opaque: OperatorURN[len("urn:"):] + name}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if organisation != "" {
		t.URIs = append(t.URIs, &url.URL{Scheme: "urn", Opaque: OrganisationURN[len("urn:"):] + organisation})
	}
	leaf, err := ca.sign(t, &key.PublicKey, life)
	if err != nil {
		return OperatorCertificate{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return OperatorCertificate{}, err
	}
	var text bytes.Buffer
	for _, b := range []*pem.Block{{Type: "PRIVATE KEY", Bytes: der}, {Type: "CERTIFICATE", Bytes: leaf.Raw}} {
		text.Write(pem.EncodeToMemory(b))
	}
	text.Write(ca.pem)
	return OperatorCertificate{PEM: text.Bytes(), Serial: SerialOf(leaf), Until: leaf.NotAfter}, nil
}

// SerialOf is a certificate's serial number in hex.
func SerialOf(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }

// OperatorOf reads name and organisation from an operator's certificate.
// Not ok: it is none.
func OperatorOf(c *x509.Certificate) (name, organisation string, ok bool) {
	name = identity.URN(c.URIs, OperatorURN)
	if name == "" || identity.URN(c.URIs, identity.GatewayURN) != "" || identity.InstanceOf(c) != "" {
		return "", "", false
	}
	for _, u := range c.URIs {
		if u.String() == OrganisationURN { // said, and left empty
			return "", "", false
		}
	}
	return name, identity.URN(c.URIs, OrganisationURN), true
}

// OperatorsTLS is for the pages' listener: it shows a certificate of the CA,
// or serverCert where that is not nil, and wants an operator's of the CA.
// Whether that operator was removed since is for each request to ask.
func (s *Server) OperatorsTLS(serverCert *tls.Certificate) *tls.Config {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.ca.pool,
		GetCertificate: s.ca.serverCertificate,
		VerifyConnection: func(c tls.ConnectionState) error {
			if _, _, ok := OperatorOf(c.PeerCertificates[0]); !ok {
				return fmt.Errorf("certificate of %q is no operator's", c.PeerCertificates[0].Subject.CommonName)
			}
			return nil
		},
	}
	if serverCert != nil {
		conf.GetCertificate, conf.Certificates = nil, []tls.Certificate{*serverCert}
	}
	return conf
}

// CheckAuthority says what is wrong with the CA in dir.
func CheckAuthority(dir string) error {
	for _, name := range []string{"ca.key", "ca.crt"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	_, err := openAuthority(dir, nil, time.Now)
	return err
}
