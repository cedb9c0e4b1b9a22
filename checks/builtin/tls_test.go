package builtin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

// authority is a CA of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // of its certificate, in PEM
}

func newAuthority(t *testing.T) authority {
	return authorityOf(t, pkix.Name{CommonName: "county authority"})
}

func authorityOf(t *testing.T, name pkix.Name) authority {
	t.Helper()
	a := authority{key: newKey(t), file: filepath.Join(t.TempDir(), "roots.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: name, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(20 * 365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(a.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue makes a certificate for records.example.net and loopback.
func (a authority) issue(t *testing.T, from, until time.Duration) tls.Certificate {
	t.Helper()
	key := newKey(t)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"records.example.net"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS makes the server's half of a handshake, then reads until the end.
func serveTLS(t *testing.T, c *tls.Config) string {
	t.Helper()
	return serve(t, "127.0.0.1:0", func(conn net.Conn) {
		server := tls.Server(conn, c)
		if server.Handshake() == nil {
			mute(server)
		}
	})
}

func TestTLSSuite(t *testing.T) {
	a := newAuthority(t)
	options := map[string]any{"roots": a.file}
	checktest.Run(t, checktest.Subject{
		Kind: TLS(), Timed: true,
		Good:     checks.Target{Address: serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.issue(t, -time.Hour, 90*24*time.Hour)}}), Options: options},
		Refusing: &checks.Target{Address: nobody(t), Options: options},
		Silent:   &checks.Target{Address: serve(t, "127.0.0.1:0", mute), Options: options},
	})
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	const day = 24 * time.Hour
	server := func(from, until time.Duration, change ...func(*tls.Config)) string {
		c := &tls.Config{Certificates: []tls.Certificate{a.issue(t, from, until)}}
		for _, f := range change {
			f(c)
		}
		return serveTLS(t, c)
	}
	proxy := authorityOf(t, pkix.Name{CommonName: "site filter", Organization: []string{"Smoothwall"}})
	inspected := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{proxy.issue(t, -day, 90*day)}})
	good := server(-day, 90*day)
	old := server(-9*day, -day)
	near := server(-day, 9*day+time.Hour)
	wants := func(v uint16, auth tls.ClientAuthType) func(*tls.Config) {
		return func(c *tls.Config) { c.ClientAuth, c.MaxVersion = auth, v }
	}
	// hangsUp wants a certificate, and says no by closing the connection.
	strict := &tls.Config{Certificates: []tls.Certificate{a.issue(t, -day, 90*day)}, MaxVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}
	hangsUp := serve(t, "127.0.0.1:0", func(conn net.Conn) { tls.Server(silenced{conn}, strict).Handshake() })
	for _, test := range []struct {
		name    string
		address string
		options map[string]any
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		detail  string // part of it
	}{
		{"good", good, nil, checks.OK, "", "", "records.example.net until "},
		{"good by name", good, map[string]any{"server_name": "records.example.net"}, checks.OK, "", "", ""},
		{"another name", good, map[string]any{"server_name": "results.example.net"}, checks.Failed, checks.Certificate, checks.PhaseTLS, "not results.example.net"},
		{"another name, not verified", good, map[string]any{"server_name": "results.example.net", "verify": false}, checks.OK, "", "", ""},
		{"expired", old, nil, checks.Failed, checks.Certificate, checks.PhaseTLS, "expired"},
		{"expired, not verified", old, map[string]any{"verify": false}, checks.Degraded, checks.Certificate, checks.PhaseAssert, "which has passed"},
		{"near its end", near, nil, checks.Degraded, checks.Certificate, checks.PhaseAssert, "in 9 days"},
		{"near its end, not asked", near, map[string]any{"expiry_days": int64(9)}, checks.OK, "", "", ""},
		{"unknown authority", good, map[string]any{"roots": newAuthority(t).file}, checks.Failed, checks.Certificate, checks.PhaseTLS, "unknown authority"},
		{"wants a certificate, TLS 1.3", server(-day, 90*day, wants(tls.VersionTLS13, tls.RequireAnyClientCert)), nil, checks.OK, "", "", "wants a client certificate"},
		{"wants a certificate, TLS 1.2", server(-day, 90*day, wants(tls.VersionTLS12, tls.RequireAnyClientCert)), nil, checks.OK, "", "", "wants a client certificate"},
		{"wants a certificate, and hangs up", hangsUp, nil, checks.OK, "", "", "wants a client certificate"},
		{"wants a certificate, of an unknown authority", server(-day, 90*day, wants(tls.VersionTLS12, tls.RequireAnyClientCert)),
			map[string]any{"roots": newAuthority(t).file}, checks.Failed, checks.Certificate, checks.PhaseTLS, "unknown authority"},
		{"the wanted issuer", good, map[string]any{"issuer": "county"}, checks.OK, "", "", ""},
		{"another issuer", good, map[string]any{"issuer": "NHS"}, checks.Degraded, checks.Certificate, checks.PhaseAssert, "issued by county authority, not by NHS"},
		{"a proxy that is believed", inspected, map[string]any{"roots": proxy.file}, checks.Degraded, checks.Certificate, checks.PhaseAssert, "a proxy that opens TLS (Smoothwall) stands between"},
		{"a proxy that is not believed", inspected, nil, checks.Failed, checks.Certificate, checks.PhaseTLS, "a proxy that opens TLS (Smoothwall) answers in its place"},
		{"an old protocol", server(-day, 90*day, wants(tls.VersionTLS11, tls.NoClientCert)), nil, checks.Failed, checks.Protocol, checks.PhaseTLS, "protocol version"},
		{"no TLS", serve(t, "127.0.0.1:0", func(c net.Conn) { c.Write([]byte("220 mail.example.net ESMTP\r\n")); mute(c) }), nil,
			checks.Failed, checks.Protocol, checks.PhaseTLS, "does not speak TLS"},
		{"closes at once", serve(t, "127.0.0.1:0", func(net.Conn) {}), nil, checks.Failed, checks.Protocol, checks.PhaseTLS, ""},
		{"refused", nobody(t), nil, checks.Failed, checks.Refused, checks.PhaseConnect, "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := map[string]any{"roots": a.file}
			maps.Copy(options, test.options)
			r := check(t, TLS(), checks.Target{Address: test.address, Options: options})
			expect(t, r, test.verdict, test.reason, test.phase)
			if !strings.Contains(r.Detail, test.detail) {
				t.Errorf("detail %q is without %q", r.Detail, test.detail)
			}
			if (len(r.RTT) == 1) != (r.Verdict != checks.Failed) {
				t.Errorf("times %v", r.RTT)
			}
		})
	}
	r := check(t, TLS(), checks.Target{Address: serve(t, "127.0.0.1:0", mute), Timeout: short})
	expect(t, r, checks.Failed, checks.Timeout, checks.PhaseTLS)
}

// TestTLSSteps: the chain is shown, certificate by certificate, and how long the
// one that ends first is good for.
func TestTLSSteps(t *testing.T) {
	a := newAuthority(t)
	address := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.issue(t, -time.Hour, 90*24*time.Hour)}})
	r := check(t, TLS(), checks.Target{Address: address, Options: map[string]any{"roots": a.file}})
	if got := stepOf(r, "certificate 1"); !strings.HasPrefix(got, "records.example.net, by county authority, until ") {
		t.Errorf("certificate 1 is %q", got)
	}
	if got := stepOf(r, "tls"); !strings.HasPrefix(got, "TLS 1.3, TLS_") {
		t.Errorf("tls is %q", got)
	}
	if len(r.Values) != 1 || r.Values[0].Name != "certificate_left" || r.Values[0].Number < 89*86400 || r.Values[0].Number > 90*86400 {
		t.Errorf("values %+v", r.Values)
	}
}

func TestTLSRefusesRoots(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".absent"} {
		_, err := TLS().Make(checks.Target{Address: "192.0.2.1:443", Options: map[string]any{"roots": file}})
		if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != "roots" {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

// silenced sends no alert: the connection just ends.
type silenced struct{ net.Conn }

func (c silenced) Write(b []byte) (int, error) {
	const alert = 21 // RFC 5246 6.2.1
	if len(b) > 0 && b[0] == alert {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
