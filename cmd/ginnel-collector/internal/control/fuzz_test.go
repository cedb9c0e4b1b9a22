package control

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
)

// FuzzMessage has a gateway with a good certificate say anything at all: it is
// understood or refused, and is never a fault of the collector's.
func FuzzMessage(f *testing.F) {
	st, err := sqlite.Open(f.Context(), filepath.Join(f.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	fatal(f, err)
	f.Cleanup(func() { st.Close() })
	s, err := New(Options{Store: st, Dir: filepath.Join(f.TempDir(), "ca"), URL: "https://collector.example.net"})
	fatal(f, err)
	f.Cleanup(func() { s.Close() })
	now := time.Now()
	fatal(f, st.AddSite(f.Context(), store.Site{ID: "avocet", Name: "Avocet", Gateway: "avocet-1", Networks: []string{"kestrel"}, TokenHash: [32]byte{1}, TokenExpires: now.Add(time.Hour), Added: now}))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(f, err)
	pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	fatal(f, err)
	uid := uuid.New()
	_, err = st.RedeemToken(f.Context(), [32]byte{1}, uid.String(), pkix, now)
	fatal(f, err)
	_, leaf, err := s.ca.device("avocet-1", uid.String(), &key.PublicKey)
	fatal(f, err)

	for _, m := range []*protobufs.AgentToServer{
		{},
		{InstanceUid: uid[:], SequenceNum: 7, Health: &protobufs.ComponentHealth{Status: "up", ComponentHealthMap: map[string]*protobufs.ComponentHealth{"tunnels": {Healthy: true}}}},
		{InstanceUid: uid[:], RemoteConfigStatus: &protobufs.RemoteConfigStatus{LastRemoteConfigHash: []byte("x"), Status: 99}},
		{InstanceUid: uid[:], EffectiveConfig: &protobufs.EffectiveConfig{ConfigMap: &protobufs.AgentConfigMap{ConfigMap: map[string]*protobufs.AgentConfigFile{"sha256:x": nil}}}},
		{InstanceUid: uid[:], CustomMessage: &protobufs.CustomMessage{Capability: wire.Capability, Type: "said", Data: []byte(`{"snapshot": {"tunnels": [null], "clock": 1e999}}`)}},
		{InstanceUid: uid[:], ConnectionSettingsRequest: &protobufs.ConnectionSettingsRequest{Opamp: &protobufs.OpAMPConnectionSettingsRequest{CertificateRequest: &protobufs.CertificateRequest{Csr: []byte("-----BEGIN")}}}},
	} {
		body, err := proto.Marshal(m)
		fatal(f, err)
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		z.Write(body)
		z.Close()
		f.Add(body, false)
		f.Add(zipped.Bytes(), true)
		f.Add(zipped.Bytes()[:zipped.Len()/2], true)
	}
	f.Fuzz(func(t *testing.T, body []byte, zipped bool) {
		r := httptest.NewRequest("POST", Path, bytes.NewReader(body))
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
		r.Header.Set("Content-Type", "application/x-protobuf")
		if zipped {
			r.Header.Set("Content-Encoding", "gzip")
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code == 200 {
			var answer protobufs.ServerToAgent
			if err := proto.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.GetInstanceUid()) > 0 && !bytes.Equal(answer.GetInstanceUid(), uid[:]) {
				t.Errorf("answered %v, %v", &answer, err)
			}
		}
	})
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
