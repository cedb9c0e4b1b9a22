package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/ginnel/ginnel/agent/internal/durable"
)

// record is what enrolment leaves beside the key and the certificate.
type record struct {
	Site      string    `toml:"site"`
	Name      string    `toml:"name"`
	Postcode  string    `toml:"postcode"`
	Gateway   string    `toml:"gateway"`
	Networks  []string  `toml:"networks"`
	Collector []string  `toml:"collector"`
	Enrolled  time.Time `toml:"enrolled"`
	Signers   []string  `toml:"signers,multiline"`
	CA        string    `toml:"ca,multiline"`
}

func recordOf(p Pack, now time.Time) record {
	return record{p.Site.ID, p.Site.Name, p.Site.Postcode, p.Site.Gateway,
		append([]string{}, p.Site.Networks...), p.Collector, now.UTC().Truncate(time.Second), append([]string{}, p.Signers...), p.CA}
}

func (r record) site() Site { return Site{r.Site, r.Name, r.Postcode, r.Gateway, r.Networks} }

func (r record) text() ([]byte, error) {
	body, err := toml.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("record the enrolment: %w", err)
	}
	return append([]byte("# Written by ginnel enrol; not to be edited.\n"), body...), nil
}

func (i *Identity) readRecord() error {
	path := i.path(recordFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r record
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&r); err != nil {
		return fault(fmt.Errorf("%s: it cannot be read: %w", path, err), "enrol anew with a new site pack")
	}
	as := Pack{Site: r.site(), Collector: r.Collector, CA: r.CA, Expires: r.Enrolled, Signers: r.Signers}
	if err := as.Validate(); err != nil {
		return fault(fmt.Errorf("%s: %w", path, err), "enrol anew with a new site pack")
	}
	i.record = r
	return nil
}

func (i *Identity) readCertificate() error {
	path := i.path(certificateFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	chain, err := parseCertificates(text)
	if err != nil {
		return fault(fmt.Errorf("%s: %w", path, err), "enrol anew with a new site pack")
	}
	if i.key == nil || !i.key.PublicKey.Equal(chain[0].PublicKey) {
		return fault(fmt.Errorf("%s: it does not belong to the device key", path), "enrol anew with a new site pack")
	}
	i.chain = chain
	return nil
}

// SaveCertificate takes the certificate that the collector made of NewCSR, as
// a PEM chain with the leaf first. It is kept only if it is of our key and uid
// and leads to the CA of the pack, and is durable when SaveCertificate returns.
func (i *Identity) SaveCertificate(text []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	chain, err := parseCertificates(text)
	if err != nil {
		return fmt.Errorf("refused the collector's certificate for us: %w", err)
	}
	if err := i.judge(chain); err != nil {
		return fmt.Errorf("refused the collector's certificate for us: %w", err)
	}
	var clean bytes.Buffer
	for _, c := range chain {
		if err := pem.Encode(&clean, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return fmt.Errorf("save the certificate: %w", err)
		}
	}
	if err := durable.WriteFile(i.path(certificateFile), clean.Bytes(), 0o600); err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	i.chain = chain
	return nil
}

// judge says what is wrong with a certificate chain for this gateway. Its dates
// are not judged by the host's clock, which may be the wrong one.
func (i *Identity) judge(chain []*x509.Certificate) error {
	leaf := chain[0]
	if i.key == nil {
		return errors.New("there is no device key")
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !i.key.PublicKey.Equal(pub) {
		return errors.New("it is not for our device key")
	}
	if got := InstanceOf(leaf); got != i.uid.String() {
		return fmt.Errorf("it is for instance %q, we are %q", got, i.uid)
	}
	if got := leaf.Subject.CommonName; got != i.record.Gateway {
		return fmt.Errorf("it is for gateway %q, we are %q", got, i.record.Gateway)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	own, err := parseCertificates([]byte(i.record.CA))
	if err != nil {
		return fmt.Errorf("the collector's CA: %w", err)
	}
	for _, c := range own {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between,
		CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// InstanceOf is the instance uid in a certificate's URI SANs; empty: none.
func InstanceOf(c *x509.Certificate) string { return URN(c.URIs, InstanceURN) }

// URN is what follows prefix in the one URI that has it; empty: none, or two.
func URN(uris []*url.URL, prefix string) string {
	found := ""
	for _, u := range uris {
		if rest, ok := strings.CutPrefix(u.String(), prefix); ok {
			if found != "" {
				return ""
			}
			found = rest
		}
	}
	return found
}
