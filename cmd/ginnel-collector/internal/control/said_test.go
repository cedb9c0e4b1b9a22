package control

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// FuzzSaid has a gateway say anything at all in the middle of a rollout to it.
// The server answers, or refuses, and goes on; it has no fault of its own.
func FuzzSaid(f *testing.F) {
	st, err := sqlite.Open(f.Context(), filepath.Join(f.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { st.Close() })
	s, err := New(Options{Store: st, Dir: f.TempDir(), URL: "https://192.0.2.1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	uid, state := enrolHere(f, s, st)
	if _, err := s.StartRollout(f.Context(), alice, centre.NewRollout{Rings: []string{"hubs"}, Pushes: []centre.Push{{Gateway: "avocet-1", Bundle: desired("avocet-1", 15)}}}); err != nil {
		f.Fatal(err)
	}
	said, err := json.Marshal(wire.Said{Snapshot: block.Snapshot{At: time.Now(), State: checks.Up, Config: block.ConfigSnapshot{Mark: 1 << 63, State: "failed", Trial: &block.TrialSnapshot{}}},
		Boot: "b", Nonce: "n", Hash: strings.Repeat("ab", 32), List: 1 << 63})
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range []*protobufs.AgentToServer{
		{},
		{InstanceUid: uid, Capabilities: 1<<64 - 1, CustomMessage: &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Gateway, Data: said}},
		{InstanceUid: uid, RemoteConfigStatus: &protobufs.RemoteConfigStatus{LastRemoteConfigHash: []byte("x"), Status: 99, ErrorMessage: "inconclusive\n"}, AgentDescription: &protobufs.AgentDescription{}},
		{InstanceUid: uid, EffectiveConfig: &protobufs.EffectiveConfig{}, Health: &protobufs.ComponentHealth{ComponentHealthMap: map[string]*protobufs.ComponentHealth{"x": {}}}},
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte("\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(raw))
		q.Header.Set("Content-Type", "application/x-protobuf")
		q.TLS = state
		w := httptest.NewRecorder()
		s.serve(w, q)
		if w.Code >= 500 || w.Code == 200 && proto.Unmarshal(w.Body.Bytes(), &protobufs.ServerToAgent{}) != nil {
			t.Errorf("%d: %.100q", w.Code, w.Body)
		}
		s.step(t.Context())
	})
}

// enrolHere makes a gateway with a certificate, without a listener.
func enrolHere(f *testing.F, s *Server, st *sqlite.Store) ([]byte, *tls.ConnectionState) {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	if err := st.AddSite(f.Context(), store.Site{ID: "avocet", Name: "x", Gateway: "avocet-1", TokenHash: [32]byte{1}, TokenExpires: time.Now().Add(time.Hour)}); err != nil {
		f.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	const id = "019ab3c2-7f00-7000-8000-000000000001"
	if _, err := st.RedeemToken(f.Context(), [32]byte{1}, id, pkix, time.Now()); err != nil {
		f.Fatal(err)
	}
	_, leaf, err := s.ca.device("avocet-1", id, &key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	uid, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil {
		f.Fatal(err)
	}
	return uid, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
}
