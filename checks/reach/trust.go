package reach

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/ginnel/ginnel/checks"
)

// Trust says whose certificate to believe.
type Trust struct {
	Verify bool
	Roots  *x509.CertPool // nil: the system's
	Name   string         // that the certificate must have
}

// TrustOf reads the options verify, server_name and roots; host is the name where
// none is given. An error is a *checks.OptionError.
func TrustOf(t checks.Target, host string) (Trust, error) {
	tr := Trust{Verify: t.BoolOption("verify"), Name: t.StringOption("server_name")}
	if tr.Name == "" {
		tr.Name = host
	}
	file := t.StringOption("roots")
	if file == "" {
		return tr, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return tr, &checks.OptionError{Option: "roots", Err: err, Hint: "a PEM file that the agent may read"}
	}
	tr.Roots = x509.NewCertPool()
	if !tr.Roots.AppendCertsFromPEM(pem) {
		return tr, &checks.OptionError{Option: "roots", Err: fmt.Errorf("%s holds no certificate in PEM", file)}
	}
	return tr, nil
}

// Believe verifies the chain that a server showed.
func (tr Trust) Believe(chain []*x509.Certificate) error {
	if !tr.Verify {
		return nil
	}
	o := x509.VerifyOptions{Roots: tr.Roots, DNSName: tr.Name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	return err
}

// TrustOptions are the options that TrustOf reads.
func TrustOptions() checks.Schema {
	return checks.Schema{
		"server_name": {Type: "string", Doc: "the name that the certificate must have; not given: the target's host"},
		"verify":      {Type: "bool", Doc: "refuse a certificate that is not trusted, not of that name, or out of date", Default: true},
		"roots":       {Type: "string", Doc: "PEM file of the trusted authorities; not given: the system's"},
	}
}

// Config is that of a client which believes as tr does.
func (tr Trust) Config() *tls.Config {
	return &tls.Config{
		ServerName:         tr.Name,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection:   func(s tls.ConnectionState) error { return tr.Believe(s.PeerCertificates) },
	}
}
