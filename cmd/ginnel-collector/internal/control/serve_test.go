package control

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/wire"
)

// request is what a test sends, unlike any uplink.
type request struct {
	tls  *tls.Config // nil: trusts the rig, shows no certificate
	head map[string]string
	kind string // content type; empty: OpAMP's
	body []byte
}

func (r *rig) anonymous() *tls.Config {
	return &tls.Config{RootCAs: r.server.ca.pool, MinVersion: tls.VersionTLS12}
}

func (r *rig) ask(q request) (status int, code string, err error) {
	if q.tls == nil {
		q.tls = r.anonymous()
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "https://"+r.addr+Path, bytes.NewReader(q.body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if q.kind != "" {
		req.Header.Set("Content-Type", q.kind)
	}
	for k, v := range q.head {
		req.Header.Set(k, v)
	}
	resp, err := r.client(q.tls).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	var said struct{ Code, Error string }
	if resp.StatusCode != 200 && (json.Unmarshal(body, &said) != nil || said.Error == "") {
		return resp.StatusCode, "", fmt.Errorf("%d without a reason: %q", resp.StatusCode, body)
	}
	return resp.StatusCode, said.Code, nil
}

func message(t *testing.T, m *protobufs.AgentToServer) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func csrMessage(t *testing.T, id *identity.Identity, uid uuid.UUID) []byte {
	t.Helper()
	csr, err := id.NewCSR()
	if err != nil {
		t.Fatal(err)
	}
	return message(t, &protobufs.AgentToServer{InstanceUid: uid[:], ConnectionSettingsRequest: &protobufs.ConnectionSettingsRequest{
		Opamp: &protobufs.OpAMPConnectionSettingsRequest{CertificateRequest: &protobufs.CertificateRequest{Csr: csr}}}})
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	id := r.enrolled("avocet")
	known, err := id.TLSConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.Prepare(); err != nil {
		t.Fatal(err)
	}
	uid, freshUID := id.UID(), fresh.UID()
	token := map[string]string{"Authorization": "Bearer " + r.pack("bittern", time.Hour).Token.Reveal()}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 64<<20))
	z.Close()
	big := message(t, &protobufs.AgentToServer{InstanceUid: uid[:], CustomMessage: &protobufs.CustomMessage{Data: make([]byte, maxMessage)}})
	tests := []struct {
		name   string
		q      request
		status int
		code   string
	}{
		{"no certificate, no token", request{body: csrMessage(t, fresh, freshUID)}, 401, "token_missing"},
		{"no certificate, no token of a kind", request{body: csrMessage(t, fresh, freshUID), head: map[string]string{"Authorization": "Bearer hello"}}, 401, "token_missing"},
		{"a token and no request", request{head: token, body: message(t, &protobufs.AgentToServer{InstanceUid: freshUID[:]})}, 400, "csr_bad"},
		{"a token, and status instead", request{head: token, body: message(t, &protobufs.AgentToServer{InstanceUid: freshUID[:], Health: &protobufs.ComponentHealth{}})}, 400, "csr_bad"},
		{"request of another instance", request{head: token, body: csrMessage(t, fresh, uid)}, 400, "csr_bad"},
		{"request of another key over mutual TLS", request{tls: known, body: csrMessage(t, fresh, freshUID)}, 403, "uid_other"},
		{"message of another instance", request{tls: known, body: message(t, &protobufs.AgentToServer{InstanceUid: freshUID[:]})}, 403, "uid_other"},
		{"word that is none", request{tls: known, body: message(t, &protobufs.AgentToServer{InstanceUid: uid[:],
			CustomMessage: &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Gateway, Data: []byte("[1]")}})}, 400, "bad_message"},
		{"over a MiB", request{tls: known, body: big}, 413, "too_large"},
		{"over a MiB once unpacked", request{tls: known, head: map[string]string{"Content-Encoding": "gzip"}, body: bomb.Bytes()}, 413, "too_large"},
		{"gzip that is none", request{tls: known, head: map[string]string{"Content-Encoding": "gzip"}, body: []byte("x")}, 400, "bad_message"},
		{"a WebSocket", request{tls: known, kind: "text/plain", head: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}}, 415, "not_opamp"},
		{"good", request{tls: known, body: message(t, &protobufs.AgentToServer{InstanceUid: uid[:]})}, 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, code, err := r.ask(tt.q)
			if err != nil || status != tt.status || code != tt.code {
				t.Errorf("got %d %q, %v; want %d %q", status, code, err, tt.status, tt.code)
			}
		})
	}
	if _, err := r.store.Gateway(t.Context(), "bittern-1"); err == nil {
		t.Error("a refused request has enrolled a gateway")
	}
}

// Bytes that are no message are answered by the library, and end nothing.
func TestNonsenseIsRefused(t *testing.T) {
	r := newRig(t)
	known, err := r.enrolled("avocet").TLSConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := r.ask(request{tls: known, body: []byte("\xff\xff\xff")}); status != 400 {
		t.Errorf("got %d", status)
	}
}

// A certificate by another CA does not get through the handshake, and would
// not be believed if it did.
func TestForeignCertificate(t *testing.T) {
	r, other := newRig(t), newRig(t)
	r.enrolled("avocet")
	foreign, err := other.enrolled("avocet").TLSConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := foreign.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	tlsConfig := r.anonymous()
	tlsConfig.GetClientCertificate = foreign.GetClientCertificate // shown, whatever the server would accept
	if status, code, err := r.ask(request{tls: tlsConfig}); err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("got %d %q, %v", status, code, err)
	}
	q := httptest.NewRequest(http.MethodPost, Path, nil)
	q.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}
	if name, err := r.server.Gateway(q); name != "" || codeOf(err) != "certificate_foreign" {
		t.Errorf("behind a listener that verifies nothing: %q, %v", name, err)
	}
	q.TLS = nil
	if name, err := r.server.Gateway(q); name != "" || codeOf(err) != "tls_required" {
		t.Errorf("without TLS: %q, %v", name, err)
	}
	q.TLS = &tls.ConnectionState{}
	if name, err := r.server.Gateway(q); name != "" || codeOf(err) != "certificate_required" {
		t.Errorf("without a certificate: %q, %v", name, err)
	}
}

// Somebody who guesses tokens fills neither the log nor the audit.
func TestGuessesAreLimitedInTheAudit(t *testing.T) {
	r := newRig(t)
	for range limitBurst + 30 {
		r.server.logRefusal(t.Context(), &exchange{request: httptest.NewRequest(http.MethodPost, Path, nil), refusal: tokenRefusal(errTest)})
		r.server.logRefusal(t.Context(), &exchange{request: httptest.NewRequest(http.MethodPost, Path, nil), refusal: &Refusal{401, "token_unknown", "no", ""}})
	}
	if n := len(r.events("enrol refused")); n < limitBurst || n > limitBurst+2 {
		t.Errorf("%d entries, want about %d", n, limitBurst)
	}
	r.clock(time.Minute)
	r.server.logRefusal(t.Context(), &exchange{request: httptest.NewRequest(http.MethodPost, Path, nil), refusal: &Refusal{401, "token_unknown", "no", ""}})
	if n := len(r.events("enrol refused")); n < limitBurst+1 {
		t.Error("a minute later nothing is written either")
	}
}

var errTest = fmt.Errorf("the store is ill")

func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	a, err := openAuthority(dir, []string{"collector.example.net", "192.0.2.5"}, clock)
	if err != nil {
		t.Fatal(err)
	}
	first, err := a.serverCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"collector.example.net", "192.0.2.5"} {
		if _, err := first.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: a.pool, CurrentTime: now}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	now = now.Add(19 * 24 * time.Hour)
	if same, _ := a.serverCertificate(nil); same != first {
		t.Error("made anew too early")
	}
	now = now.Add(2 * 24 * time.Hour)
	if fresh, _ := a.serverCertificate(nil); fresh == first || !fresh.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("not made anew after two thirds of its life")
	}

	again, err := openAuthority(dir, []string{"collector.example.net"}, clock)
	if err != nil || !bytes.Equal(a.pem, again.pem) {
		t.Fatalf("opened again: %v; the same certificate: %v", err, again != nil && bytes.Equal(a.pem, again.pem))
	}
	key, cert := filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.crt")
	if st, err := os.Stat(key); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", st.Mode(), err)
	}

	// A first start that was cut off between the two files is finished.
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	third, err := openAuthority(dir, []string{"collector.example.net"}, clock)
	if err != nil || !third.key.Equal(a.key) {
		t.Fatalf("with the key only: %v", err)
	}
	// A lost key is said, never replaced.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := openAuthority(dir, []string{"collector.example.net"}, clock); err == nil || !strings.Contains(err.Error(), "restore it from the backup") {
		t.Errorf("with the certificate only: %v", err)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made")
	}
	// Another key beside the certificate.
	foreign, err := openAuthority(t.TempDir(), []string{"x"}, clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&authority{key: foreign.key}).useCertificate(cert, a.pem); err == nil {
		t.Error("a certificate of another key was taken")
	}
}

func TestURLIsJudged(t *testing.T) {
	for _, bad := range []string{"", "http://collector.example.net", "collector.example.net:8443", "https://"} {
		if _, err := New(Options{Dir: t.TempDir(), URL: bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// codeOf is the code of a refusal; empty where err is none.
func codeOf(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}
