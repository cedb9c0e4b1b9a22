package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/wire"
)

// helm is a Steering that takes every offer as applied, or refuses each.
type helm struct {
	refuse string // why; empty: it does not
	mu     sync.Mutex
	nonce  string
	heard  []wire.Told
	offers [][]byte
	status OfferStatus
}

func (h *helm) Say(s *wire.Said) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Boot, s.Nonce = "boot", h.nonce
}

func (h *helm) Hear(_ context.Context, t wire.Told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, t)
}

func (h *helm) Offer(_ context.Context, hash, b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offers = append(h.offers, b)
	h.status = OfferStatus{Hash: hash, State: Applied}
	if h.refuse != "" {
		h.status.State, h.status.Message = Failed, h.refuse
	}
}

func (h *helm) Status() OfferStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

func (h *helm) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// beat is an answer with the shortest heartbeat.
func beat() *protobufs.ServerToAgent {
	return &protobufs.ServerToAgent{ConnectionSettings: &protobufs.ConnectionSettingsOffers{
		Opamp: &protobufs.OpAMPConnectionSettings{HeartbeatIntervalSeconds: 1}}}
}

func offering(hash, b []byte) *protobufs.AgentRemoteConfig {
	return &protobufs.AgentRemoteConfig{ConfigHash: hash, Config: &protobufs.AgentConfigMap{
		ConfigMap: map[string]*protobufs.AgentConfigFile{wire.BundleFile: {Body: b}}}}
}

// log is what a collector was told, one line a message.
type talkLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *talkLog) add(m *protobufs.AgentToServer) {
	var said wire.Said
	if err := json.Unmarshal(m.GetCustomMessage().GetData(), &said); err != nil {
		said.Boot = err.Error()
	}
	status := "-"
	if s := m.GetRemoteConfigStatus(); s != nil {
		status = fmt.Sprintf("%s %q %s", s.GetStatus(), s.GetLastRemoteConfigHash(), s.GetErrorMessage())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s/%s %s nonce=%q status: %s", m.GetCustomMessage().GetCapability(), m.GetCustomMessage().GetType(), said.Boot, said.Nonce, status))
}

func (l *talkLog) has(line string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.Contains(l.lines, line)
	}
}

// What the centre sends reaches Steering, and what Steering says the centre:
// status only when it is news.
func TestSteering(t *testing.T) {
	a := newAuthority(t)
	var log talkLog
	var asked atomic.Int64
	s := a.serve(opampHandler(t, func(m *protobufs.AgentToServer) *protobufs.ServerToAgent {
		log.add(m)
		if want := capabilities | steered; m.GetCapabilities() != uint64(want) {
			t.Errorf("capabilities %b, want %b", m.GetCapabilities(), want)
		}
		r := beat()
		switch asked.Add(1) {
		case 1:
			r.CustomMessage = &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Centre, Data: []byte(`{"list":"aGk="}`)}
			r.RemoteConfig = offering([]byte("hash"), []byte("a bundle"))
		case 2:
			r.CustomMessage = &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Centre, Data: []byte(`[]`)}
		}
		return r
	}))
	h := &helm{}
	u := running(t, Options{Identity: a.identity(s.URL, time.Now(), time.Now().Add(time.Hour)), Steering: h})
	eventually(t, "it is applied", log.has(`io.ginnel.control/gateway boot nonce="" status: RemoteConfigStatuses_APPLIED "hash" `))
	eventually(t, "no news is no status", log.has(`io.ginnel.control/gateway boot nonce="" status: -`))
	h.set(func() { h.nonce, h.status.State, h.status.Message = "17", Failed, "no route" })
	u.Wake()
	eventually(t, "it has failed", log.has(`io.ginnel.control/gateway boot nonce="17" status: RemoteConfigStatuses_FAILED "hash" no route`))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.offers) != 1 || string(h.offers[0]) != "a bundle" || len(h.heard) != 1 || string(h.heard[0].List) != "hi" {
		t.Errorf("offers %q, heard %+v", h.offers, h.heard)
	}
	if got := log.lines[0]; got != `io.ginnel.control/gateway boot nonce="" status: RemoteConfigStatuses_UNSET "" ` {
		t.Errorf("at first it said %s", got)
	}
}

// A config may be as large as a bundle, what is beside it as any other answer;
// and of what is larger no more is read than it takes to know.
func TestSizesOfAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bundle int
		beside int
		good   bool
	}{
		{"the largest bundle", bundle.MaxSize, 0, true},
		{"a larger one", bundle.MaxSize + maxAnswer, 0, false},
		{"much beside it", 10, maxAnswer, false},
		{"100 MB", 100 << 20, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := proto.Marshal(&protobufs.ServerToAgent{RemoteConfig: offering([]byte("hash"), make([]byte, tt.bundle)),
				CustomMessage: &protobufs.CustomMessage{Data: make([]byte, tt.beside)}})
			if err != nil {
				t.Fatal(err)
			}
			for _, said := range []bool{true, false} {
				took := exchange(t, raw, said, tt.good)
				if most := int64(maxOffer + 1<<20); took > most { // TLS comes on top
					t.Errorf("length said: %v: %d bytes were read, at most %d are right", said, took, most)
				}
			}
		})
	}
}

// counted counts what is read of a connection.
type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// exchange has raw sent as an answer, whose length is said or not, and gives how
// many bytes were read for it. What sockets hold besides is the kernel's choice.
func exchange(t *testing.T, raw []byte, said, good bool) (took int64) {
	t.Helper()
	a := newAuthority(t)
	s := a.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", opampType)
		if said {
			w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		}
		io.Copy(w, io.LimitReader(bytes.NewReader(raw), int64(len(raw))))
	}))
	id := a.identity(s.URL, time.Now(), time.Now().Add(time.Hour))
	conf, err := id.TLSConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTransport(conf, "")
	if err != nil {
		t.Fatal(err)
	}
	defer tr.renew()
	rt, read := tr.now.client.Transport.(*http.Transport), new(atomic.Int64)
	dial := rt.DialContext
	rt.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return counted{c, read}, err
	}
	_, err = tr.opamp(t.Context(), s.URL, &protobufs.AgentToServer{}, nil)
	if good && err != nil || !good && kindOf(err) != Broken {
		t.Errorf("length said: %v: got %v", said, err)
	}
	return read.Load()
}

// After Fresh nothing goes over a connection that was there before, also not
// when an exchange was on its way; and that was nobody's failure.
func TestFresh(t *testing.T) {
	a := newAuthority(t)
	var mu sync.Mutex
	seen := map[string]string{} // nonce -> the connection's other end
	stall := make(chan struct{})
	var stalled atomic.Bool
	s := a.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		opampHandler(t, func(m *protobufs.AgentToServer) *protobufs.ServerToAgent {
			var said wire.Said
			if err := json.Unmarshal(m.GetCustomMessage().GetData(), &said); err != nil {
				t.Error(err)
			}
			mu.Lock()
			seen[said.Nonce] = r.RemoteAddr
			mu.Unlock()
			if said.Nonce == "stalls" {
				stalled.Store(true)
				<-stall
			}
			return beat()
		})(w, r)
	}))
	h := &helm{}
	u := running(t, Options{Identity: a.identity(s.URL, time.Now(), time.Now().Add(time.Hour)), Steering: h})
	t.Cleanup(func() { close(stall) })
	at := func(nonce string) string {
		mu.Lock()
		defer mu.Unlock()
		return seen[nonce]
	}
	say := func(nonce string) func() bool {
		h.set(func() { h.nonce = nonce })
		u.Wake()
		return func() bool { return at(nonce) != "" }
	}
	eventually(t, "it was heard", say(""))
	eventually(t, "it was heard again", say("same"))
	if at("same") != at("") {
		t.Error("a connection is not kept")
	}
	u.Fresh()
	eventually(t, "it was heard over another", say("idle"))
	if at("idle") == at("same") {
		t.Error("an idle connection outlived Fresh")
	}
	say("stalls")
	eventually(t, "one is on its way", stalled.Load)
	h.set(func() { h.nonce = "after" })
	u.Fresh()
	began := time.Now()
	eventually(t, "the next goes at once", func() bool { return at("after") != "" })
	if took := time.Since(began); took > 10*time.Second || at("after") == at("stalls") {
		t.Errorf("after %v, over %s; the one that stalls is %s", took, at("after"), at("stalls"))
	}
	if s := u.Status(); s.Error != "" {
		t.Errorf("it complains: %s", s.Error)
	}
}

// A collector that is lost during a trial is asked for the receipt more often
// than at other times.
func TestTrialHurries(t *testing.T) {
	l := listen(t, func(c net.Conn) { c.Close() })
	a := newAuthority(t)
	u, err := New(Options{Identity: a.identity("https://"+l.Addr().String(), time.Now(), time.Now().Add(time.Hour)), Snapshot: up, Steering: &helm{nonce: "17"}})
	if err != nil {
		t.Fatal(err)
	}
	k := &talk{u: u}
	if d := k.hurry(time.Hour, 0); d != time.Hour {
		t.Errorf("without a trial the pause is %v", d)
	}
	if _, err := k.turn(t.Context(), u.base()); err == nil {
		t.Fatal("a collector that drops has answered")
	}
	if d := k.hurry(time.Hour, 0); d != trialPause {
		t.Errorf("with a trial the pause is %v", d)
	}
	if d := k.hurry(11*time.Minute, 10*time.Minute); d != 10*time.Minute {
		t.Errorf("with a trial, and the wish of 10 min, the pause is %v", d)
	}
	k.asked = k.asked.Add(-trialTime)
	if d := k.hurry(time.Hour, 0); d != time.Hour {
		t.Errorf("with a trial that is held for long the pause is %v", d)
	}
}
