package uplink

import (
	"compress/gzip"
	"context"
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
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/checks"
)

// authority signs what the tests need. The real one is in the collector.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	a.cert = a.sign(a.cert, &key.PublicKey)
	return a
}

func (a *authority) sign(c *x509.Certificate, key any) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// identity is an enrolled gateway, whose certificate has the given dates.
func (a *authority) identity(collector string, from, until time.Time) *identity.Identity {
	a.t.Helper()
	id, err := identity.Open(a.t.TempDir())
	if err != nil {
		a.t.Fatal(err)
	}
	if err := id.Prepare(); err != nil {
		a.t.Fatal(err)
	}
	err = id.Adopt(identity.Pack{Site: identity.Site{ID: "avocet", Name: "Avocet Surgery", Gateway: "avocet-1"},
		Collector: []string{collector}, CA: string(pemOf(a.cert)), Expires: time.Now()}, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	if err := id.SaveCertificate(pemOf(a.device(id, from, until))); err != nil {
		a.t.Fatal(err)
	}
	return id
}

// device certifies the key of a request by id.
func (a *authority) device(id *identity.Identity, from, until time.Time) *x509.Certificate {
	a.t.Helper()
	text, err := id.NewCSR()
	if err != nil {
		a.t.Fatal(err)
	}
	b, _ := pem.Decode(text)
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		a.t.Fatal(err)
	}
	name, err := url.Parse(identity.InstanceURN + id.UID().String())
	if err != nil {
		a.t.Fatal(err)
	}
	return a.sign(&x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "avocet-1"}, URIs: []*url.URL{name},
		NotBefore: from, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, csr.PublicKey)
}

// serve is a collector that does what h does.
func (a *authority) serve(h http.Handler) *httptest.Server {
	a.t.Helper()
	return a.serveAs(h, func(*httptest.Server) {})
}

// serveAs changes the server before it starts.
func (a *authority) serveAs(h http.Handler, change func(*httptest.Server)) *httptest.Server {
	a.t.Helper()
	leaf := a.sign(&x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, &a.key.PublicKey)
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: a.key}}, ClientAuth: tls.RequireAnyClientCert}
	change(s)
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s
}

// opampHandler answers messages.
func opampHandler(t *testing.T, reply func(*protobufs.AgentToServer) *protobufs.ServerToAgent) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		var m protobufs.AgentToServer
		if err != nil || proto.Unmarshal(raw, &m) != nil {
			t.Errorf("a message that cannot be read: %v", err)
		}
		out, err := proto.Marshal(reply(&m))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", opampType)
		w.Write(out)
	}
}

func up() block.Snapshot { return block.Snapshot{Gateway: "avocet-1", State: checks.Up} }

// running is an uplink whose loops run until the test ends.
func running(t *testing.T, o Options) *Uplink {
	t.Helper()
	o.Snapshot = up
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context, func()) error{u.Control, u.Deliver} {
		wg.Go(func() {
			if err := loop(ctx, func() {}); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	return u
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// A server that accepts and drops was dialled 2,326 times in three seconds by
// opamp-go's WebSocket client. Each try here costs at least leastPause.
func TestAcceptThenDropIsNoHotLoop(t *testing.T) {
	var dials atomic.Int64
	l := listen(t, func(c net.Conn) { dials.Add(1); c.Close() })
	a := newAuthority(t)
	q := &queue{}
	q.put(1)
	u := running(t, Options{Identity: a.identity("https://"+l.Addr().String(), time.Now(), time.Now().Add(time.Hour)), Queue: q})
	begin := time.Now()
	eventually(t, "both loops have tried", func() bool { return dials.Load() >= 4 })
	for range 50 { // news must not make it hotter
		u.Wake()
		time.Sleep(40 * time.Millisecond)
	}
	most := 2 * (int64(time.Since(begin)/leastPause) + 1)
	if n := dials.Load(); n > most {
		t.Errorf("%d dials in %v, at most %d are right", n, time.Since(begin), most)
	}
	if q.Len() != 1 {
		t.Error("a block was freed")
	}
}

// A server that asks for the full state each time is told it at heartbeats.
func TestAskingForEverAgainIsNoHotLoop(t *testing.T) {
	var asked, full atomic.Int64
	a := newAuthority(t)
	s := a.serve(opampHandler(t, func(m *protobufs.AgentToServer) *protobufs.ServerToAgent {
		asked.Add(1)
		if m.GetAgentDescription() != nil {
			full.Add(1)
		}
		return &protobufs.ServerToAgent{Flags: uint64(protobufs.ServerToAgentFlags_ServerToAgentFlags_ReportFullState),
			ConnectionSettings: &protobufs.ConnectionSettingsOffers{Opamp: &protobufs.OpAMPConnectionSettings{HeartbeatIntervalSeconds: 1}}}
	}))
	begin := time.Now()
	running(t, Options{Identity: a.identity(s.URL, time.Now(), time.Now().Add(time.Hour))})
	eventually(t, "some messages came", func() bool { return asked.Load() >= 3 })
	if n, most := asked.Load(), int64(time.Since(begin)/(900*time.Millisecond))+2; n > most || full.Load() < n-1 {
		t.Errorf("%d messages in %v, at most %d are right; %d were full", n, time.Since(begin), most, full.Load())
	}
}

// A gateway promises nothing that a collector could use against it, and asks
// for a new certificate at two thirds of the old one's life.
func TestPromisesAndRenewal(t *testing.T) {
	never := protobufs.AgentCapabilities_AgentCapabilities_AcceptsPackages | protobufs.AgentCapabilities_AgentCapabilities_AcceptsRestartCommand |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsOtherConnectionSettings
	if (capabilities|steered)&never != 0 || capabilities&steered != 0 {
		t.Errorf("capabilities %b", capabilities)
	}
	a := newAuthority(t)
	var id *identity.Identity
	var requests atomic.Int64
	s := a.serve(opampHandler(t, func(m *protobufs.AgentToServer) *protobufs.ServerToAgent {
		r := &protobufs.ServerToAgent{ConnectionSettings: &protobufs.ConnectionSettingsOffers{Opamp: &protobufs.OpAMPConnectionSettings{HeartbeatIntervalSeconds: 1}}}
		if m.GetConnectionSettingsRequest() == nil {
			return r
		}
		cert := a.device(id, time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
		if requests.Add(1) == 1 { // for another device first: refused by the gateway, which asks again
			other := a.identity("https://192.0.2.1", time.Now(), time.Now().Add(time.Hour))
			cert = a.device(other, time.Now(), time.Now().Add(time.Hour))
		}
		r.ConnectionSettings.Opamp.Certificate = &protobufs.TLSCertificate{Cert: pemOf(cert)}
		return r
	}))
	id = a.identity(s.URL, time.Now().Add(-40*time.Minute), time.Now().Add(10*time.Minute))
	old := id.Certificate()
	begin := time.Now()
	u := running(t, Options{Identity: id})
	eventually(t, "it is renewed", func() bool { return !id.Certificate().Equal(old) })
	if n := requests.Load(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	if at := u.Heard(); !at.After(begin) || !strings.Contains(at.String(), "m=+") {
		t.Errorf("heard at %v, want a time that the host's clock cannot move", at)
	}
	again, err := identity.Open(id.Dir())
	if err != nil || !again.Certificate().Equal(id.Certificate()) {
		t.Errorf("the new certificate is not on disk: %v", err)
	}
}
