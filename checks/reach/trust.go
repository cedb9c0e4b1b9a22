package reach

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

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

// Believe verifies the chain that a server showed, as crypto/tls does: the error
// is a *tls.CertificateVerificationError.
func (tr Trust) Believe(chain []*x509.Certificate) error {
	if !tr.Verify || len(chain) == 0 {
		return nil
	}
	o := x509.VerifyOptions{Roots: tr.Roots, DNSName: tr.Name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	return nil
}

// inspectors are makers of proxies that open TLS, as they stand in the
// certificates that these make: lower case.
var inspectors = []string{
	"zscaler", "netskope", "forcepoint", "websense", "smoothwall", "sophos", "fortinet", "fortigate", "palo alto",
	"blue coat", "bluecoat", "skyhigh", "mcafee web", "umbrella", "barracuda", "check point", "watchguard", "sonicwall",
	"lightspeed", "iboss", "untangle", "squid", "mitmproxy", "securly", "censornet", "clearswift",
}

// Inspector is who made the certificates of a chain, where that is known as a
// proxy that opens TLS; empty: it is not.
func Inspector(chain []*x509.Certificate) string {
	for _, c := range chain {
		for _, name := range append([]string{c.Issuer.CommonName}, c.Issuer.Organization...) {
			lower := strings.ToLower(name)
			if slices.ContainsFunc(inspectors, func(i string) bool { return strings.Contains(lower, i) }) {
				return name
			}
		}
	}
	return ""
}

// TrustOptions are the options that TrustOf reads.
func TrustOptions() checks.Schema {
	return checks.Schema{
		"server_name": {Type: "string", Doc: "the name that the certificate must have; not given: the target's host"},
		"verify":      {Type: "bool", Doc: "refuse a certificate that is not trusted, not of that name, or out of date", Default: true},
		"roots":       {Type: "string", Doc: "PEM file of the trusted authorities; not given: the system's"},
	}
}

// Config is that of a client which believes as tr does. Without a Name it is that
// of the host that the connection is made to, which the caller has to set then.
func (tr Trust) Config() *tls.Config {
	return &tls.Config{ServerName: tr.Name, RootCAs: tr.Roots, InsecureSkipVerify: !tr.Verify}
}
