package agent_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/local"
)

// collector enrols whoever comes, with a CA of its own. The real one is in
// cmd/ginnel-collector.
type collector struct {
	t     *testing.T
	key   *ecdsa.PrivateKey
	ca    *x509.Certificate
	url   string
	heard atomic.Int64 // messages by its certificates, but for the one of the enrolment
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{t: t, key: key}
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test CA"}}
	c.ca = ca
	c.ca = c.sign(ca, &key.PublicKey)
	server := c.sign(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, &key.PublicKey)
	clients := x509.NewCertPool()
	clients.AddCert(c.ca)
	s := httptest.NewUnstartedServer(c)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: key}}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients}
	s.StartTLS()
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

func (c *collector) sign(cert *x509.Certificate, key any) *x509.Certificate {
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, cert, c.ca, key, c.key)
	if err != nil {
		c.t.Error(err)
	}
	cert, err = x509.ParseCertificate(der)
	if err != nil {
		c.t.Error(err)
	}
	return cert
}

func (c *collector) pem(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var m protobufs.AgentToServer
	if r.Header.Get("Content-Encoding") == "" && err == nil {
		err = proto.Unmarshal(raw, &m)
	}
	if err != nil {
		c.t.Error(err)
	}
	reply := &protobufs.ServerToAgent{}
	if b, _ := pem.Decode(m.GetConnectionSettingsRequest().GetOpamp().GetCertificateRequest().GetCsr()); b != nil {
		csr, err := x509.ParseCertificateRequest(b.Bytes)
		if err != nil {
			c.t.Error(err)
			return
		}
		cert := c.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "avocet-1"}, URIs: csr.URIs, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, csr.PublicKey)
		reply.ConnectionSettings = &protobufs.ConnectionSettingsOffers{Opamp: &protobufs.OpAMPConnectionSettings{Certificate: &protobufs.TLSCertificate{Cert: c.pem(cert)}}}
	} else if len(r.TLS.VerifiedChains) > 0 {
		c.heard.Add(1)
	}
	if raw, err = proto.Marshal(reply); err != nil {
		c.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(raw) // the gateway is gone
}

func (c *collector) pack() []byte {
	text, err := identity.Pack{Site: identity.Site{ID: "avocet", Name: "Avocet Surgery", Gateway: "avocet-1"}, Collector: []string{c.url},
		CA: string(c.pem(c.ca)), Expires: time.Now().Add(time.Hour), Token: identity.NewToken(), Secret: identity.NewSecret()}.Text()
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// A gateway that is enrolled once more, by the pack of another collector, talks to
// that one, without a restart.
func TestEnrolledAtAnotherCollector(t *testing.T) {
	r := start(t, t.TempDir(), site)
	first, second := newCollector(t), newCollector(t)
	for _, c := range []*collector{first, second} {
		if err := r.agent.Enrol(t.Context(), c.pack(), func(local.Progress) {}); err != nil {
			t.Fatal(err)
		}
		enrolled := c.heard.Load()
		r.until("the collector is told", func(local.Client) bool {
			return c.heard.Load() > enrolled && r.agent.Snapshot().Collector.URL == c.url
		})
	}
}

// A setting of the host that leads to no centre is told, and takes nothing else
// with it.
func TestSiteRunsWithoutAWayToTheCentre(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	if err := r.agent.Enrol(t.Context(), newCollector(t).pack(), func(local.Progress) {}); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = startOn(t, root, site, "", config.Host{ExtraCA: filepath.Join(root, "nothing.pem")})
	r.untilUp()
	r.until("it tells why the centre hears nothing", func(local.Client) bool {
		c := r.agent.Snapshot().Collector
		return c.URL != "" && strings.Contains(c.Error, "nothing.pem")
	})
	r.stop()
}
