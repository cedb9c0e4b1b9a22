package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/ginnel/ginnel/agent/internal/durable"
)

// URNs that the certificates carry as URI SANs.
const (
	InstanceURN = "urn:ginnel:instance:" // and the instance uid
	GatewayURN  = "urn:ginnel:gateway:"  // and the gateway's name
)

func (i *Identity) readKey() error {
	path := i.path(keyFile)
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fault(fmt.Errorf("%s: mode %04o, others may read it", path, st.Mode().Perm()),
			"chmod 600 it; if others may have had it, remove the directory and enrol anew")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return fault(fmt.Errorf("%s: it is not a PKCS#8 PEM", path), "restore it, or remove the directory and enrol anew")
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := any.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return fault(fmt.Errorf("%s: it is not an ECDSA key", path), "restore it, or remove the directory and enrol anew")
	}
	i.key = key
	return nil
}

func (i *Identity) makeKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := durable.WriteFile(i.path(keyFile), text, 0o600); err != nil {
		return err
	}
	i.key = key
	return nil
}

// DevicePublic is the public half of the device key, PKIX in DER.
func (i *Identity) DevicePublic() ([]byte, error) { return x509.MarshalPKIXPublicKey(&i.key.PublicKey) }

func (i *Identity) readUID() error {
	path := i.path(uidFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	uid, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: it is not a UUID", path)
	}
	i.uid = uid
	return nil
}

func (i *Identity) makeUID() error {
	uid, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(i.path(uidFile), []byte(uid.String()+"\n"), 0o600); err != nil {
		return err
	}
	i.uid = uid
	return nil
}

// NewCSR makes a certificate signing request, PEM, for the device key with the
// instance uid as URI SAN.
func (i *Identity) NewCSR() ([]byte, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.key == nil || i.uid == uuid.Nil {
		return nil, errors.New("make a certificate request: there is no device key yet")
	}
	name, err := url.Parse(InstanceURN + i.uid.String())
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: i.uid.String()},
		URIs:    []*url.URL{name},
	}, i.key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
