package uplink

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/wire"
)

// canned is a way to a collector that does what it says, without sockets, so
// that time can be the test's.
type canned struct {
	posts atomic.Int64
	do    func(r *http.Request) (status int, kind string, body []byte, err error)
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	c.posts.Add(1)
	status, kind, body, err := c.do(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {kind}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r}, nil
}

// over is an uplink of id that goes by c; its loops end with the test.
func (c *canned) over(t *testing.T, o Options) *Uplink {
	t.Helper()
	o.Snapshot = up
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	u.http.now.client.Transport = c
	return u
}

func answer(t *testing.T, m *protobufs.ServerToAgent) []byte {
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	return raw
}

// said is the message in a request.
func said(t *testing.T, r *http.Request) *protobufs.AgentToServer {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	var m protobufs.AgentToServer
	if err := errors.Join(err, proto.Unmarshal(raw, &m)); err != nil {
		t.Error(err)
	}
	return &m
}

// placed is an identity whose collectors are those given.
func placed(t *testing.T, urls ...string) *identity.Identity {
	t.Helper()
	id := newAuthority(t).identity(urls[0], time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour))
	path := filepath.Join(id.Dir(), "enrolment.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("['"+urls[0]+"']"), []byte("['"+strings.Join(urls, "', '")+"']"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err = identity.Open(id.Dir()); err != nil || len(id.Collector()) != len(urls) {
		t.Fatalf("collectors %q: %v", id.Collector(), err)
	}
	return id
}

// Whatever a collector does wrong, and however long, a gateway calls no more
// often than its pace: two loops, one collector, an hour.
func TestNoStorm(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*http.Request) (int, string, []byte, error)
		slot bool
		most int64 // of an hour
	}{
		{"503 for ever", func(*http.Request) (int, string, []byte, error) { return 503, "text/plain", nil, nil }, false, 400},
		{"503 for ever, with a slot", func(*http.Request) (int, string, []byte, error) { return 503, "text/plain", nil, nil }, true, 2*3600/20 + 10},
		{"garbage", func(*http.Request) (int, string, []byte, error) { return 200, opampType, []byte{0xff, 0xff}, nil }, false, 400},
		{"a login page", func(*http.Request) (int, string, []byte, error) { return 200, "text/html", []byte("<html>"), nil }, false, 400},
		{"accepted, then dropped", func(*http.Request) (int, string, []byte, error) { return 0, "", nil, io.ErrUnexpectedEOF }, true, 2*3600/20 + 10},
		{"refused", func(*http.Request) (int, string, []byte, error) {
			return 403, "application/json", []byte(`{"code":"certificate_expired","error":"expired"}`), nil
		}, false, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := placed(t, "https://192.0.2.1")
			if tt.slot {
				if err := os.WriteFile(filepath.Join(id.Dir(), linkFile), []byte(`{"slot_seconds": 7, "window_seconds": 20}`), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				c := &canned{do: tt.do}
				q := &queue{}
				q.put(1)
				u := c.over(t, Options{Identity: id, Queue: q})
				go u.Control(t.Context(), func() {})
				go u.Deliver(t.Context(), func() {})
				for range 3600 {
					time.Sleep(time.Second)
					u.Wake() // news does not make it hotter
				}
				if n := c.posts.Load(); n > tt.most || n < 60 {
					t.Errorf("%d requests in an hour, at most %d are right and at least 60", n, tt.most)
				}
			})
		})
	}
}

// A lost collector is tried at the slot, which is known after a restart too, and
// found again within a window of its return.
func TestSlotAfterALoss(t *testing.T) {
	id := placed(t, "https://192.0.2.1")
	synctest.Test(t, func(t *testing.T) {
		var lost atomic.Bool
		c := &canned{do: func(*http.Request) (int, string, []byte, error) {
			if lost.Load() {
				return 0, "", nil, io.ErrUnexpectedEOF
			}
			told, _ := json.Marshal(wire.Told{Slot: 7.5, Window: 30})
			r := beat()
			r.ConnectionSettings.Opamp.HeartbeatIntervalSeconds = 25
			r.CustomMessage = &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Centre, Data: told}
			return 200, opampType, answer(t, r), nil
		}}
		go c.over(t, Options{Identity: id}).Control(t.Context(), func() {})
		time.Sleep(time.Second)
		if n := c.posts.Load(); n != 1 {
			t.Fatalf("%d posts at first", n)
		}

		lost.Store(true)
		again := &canned{do: c.do} // started anew, it has the pace from disk
		u := again.over(t, Options{Identity: id})
		if u.link.heartbeat() != 25*time.Second || u.link.slot() != (slot{7500 * time.Millisecond, 30 * time.Second}) {
			t.Fatalf("kept: %v, %+v", u.link.heartbeat(), u.link.slot())
		}
		go u.Control(t.Context(), func() {})
		time.Sleep(time.Minute)
		tries := again.posts.Load()
		time.Sleep(10 * time.Minute)
		if n := again.posts.Load() - tries; n != 20 {
			t.Errorf("%d tries in 20 windows", n)
		}
		lost.Store(false)
		back := time.Now()
		for u.Status().Error != "" {
			time.Sleep(10 * time.Millisecond)
		}
		if d := time.Since(back); d > 31*time.Second {
			t.Errorf("found again after %v", d)
		}
		if at := time.Now().UnixMilli() % 30_000; at < 7500 || at > 7600 {
			t.Errorf("tried at %d ms of the window, not at 7500", at)
		}
	})
}

// The preferred collectors come first, then the pack's, then whichever answered
// in a former life; one that is lost is left, and gone back to when it is there.
func TestFallback(t *testing.T) {
	id := placed(t, "https://pack.example.net", "https://spare.example.net/")
	old := `{"collectors": ["https://old.example.net", "https://pack.example.net"]}`
	if err := os.WriteFile(filepath.Join(id.Dir(), linkFile), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var lives atomic.Value
		var asked atomic.Value
		asked.Store([]string{})
		c := &canned{do: func(r *http.Request) (int, string, []byte, error) {
			asked.Store(append(slices.Clone(asked.Load().([]string)), r.URL.Hostname()))
			if !strings.Contains(lives.Load().(string), r.URL.Hostname()) {
				return 401, "application/json", []byte(`{"code":"gateway_unknown","error":"who?"}`), nil
			}
			return 200, opampType, answer(t, beat()), nil
		}}
		lives.Store("old.example.net")
		var preferred atomic.Value
		preferred.Store([]string{"https://new.example.net"})
		u := c.over(t, Options{Identity: id, Preferred: func() []string { return preferred.Load().([]string) }})
		go u.Control(t.Context(), func() {})
		time.Sleep(10 * time.Second)
		want := []string{"new.example.net", "pack.example.net", "spare.example.net", "old.example.net", "old.example.net"}
		if got := asked.Load().([]string); len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Fatalf("asked %q, want %q first", got, want)
		}
		if s := u.Status(); s.URL != "https://old.example.net" || s.Error != "" {
			t.Errorf("status: %+v", s)
		}
		lives.Store("new.example.net") // and the old one dies
		time.Sleep(30 * time.Second)
		if s := u.Status(); s.URL != "https://new.example.net" || s.Error != "" {
			t.Errorf("after the move: %+v", s)
		}
		preferred.Store([]string{}) // a later config does not name it: it is kept
		time.Sleep(30 * time.Second)
		if s := u.Status(); s.URL != "https://new.example.net" || s.Error != "" {
			t.Errorf("after it was taken out of the config: %+v", s)
		}
		text, err := os.ReadFile(filepath.Join(id.Dir(), linkFile))
		if err != nil || !strings.Contains(string(text), `"collectors":["https://new.example.net","https://old.example.net","https://pack.example.net"]`) {
			t.Errorf("on disk: %s, %v", text, err)
		}
		lives.Store("new.example.net pack.example.net")
		time.Sleep(homeAfter + time.Minute)
		if s := u.Status(); s.URL != "https://pack.example.net" {
			t.Errorf("the first is there again, and %+v is called", s)
		}
	})
}

// The pace changes with every rollout; the disk is written seldom.
func TestSeldomWritten(t *testing.T) {
	id := placed(t, "https://192.0.2.1")
	synctest.Test(t, func(t *testing.T) {
		l, err := openLink(id.Dir())
		if err != nil {
			t.Fatal(err)
		}
		writes, last := 0, time.Time{}
		for i := range 2000 { // an hour, wavering
			if err := l.commanded(func(k *kept) { k.Heartbeat = float64(10 + i%2) }); err != nil {
				t.Fatal(err)
			}
			if l.written != last {
				writes, last = writes+1, l.written
			}
			time.Sleep(1800 * time.Millisecond)
		}
		if writes > 7 || writes < 2 {
			t.Errorf("written %d times in an hour", writes)
		}
	})
	if err := os.WriteFile(filepath.Join(id.Dir(), linkFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLink(id.Dir())
	if err == nil || l.heartbeat() != firstHeartbeat || l.slot() != (slot{}) {
		t.Errorf("a broken file: %v, %v, %+v", err, l.heartbeat(), l.slot())
	}
	l.now = kept{Heartbeat: 1e9, Slot: -3, Window: 1e9}
	if l.heartbeat() != mostHeartbeat || l.slot() != (slot{0, mostWindow}) {
		t.Errorf("out of bounds: %v, %+v", l.heartbeat(), l.slot())
	}
}

// A gateway whose clock is behind does not know that its certificate has expired;
// the collector does, and gives a new one, once.
func TestExpiredByTheCollectorsWord(t *testing.T) {
	a := newAuthority(t)
	id := a.identity("https://192.0.2.1", time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour))
	old := id.Certificate()
	synctest.Test(t, func(t *testing.T) {
		var requests, heard atomic.Int64
		c := &canned{}
		c.do = func(r *http.Request) (int, string, []byte, error) {
			m := said(t, r)
			reply := &protobufs.ServerToAgent{}
			switch {
			case m.GetConnectionSettingsRequest() != nil:
				requests.Add(1)
				cert := a.device(id, old.NotBefore.Add(time.Minute), old.NotAfter)
				reply.ConnectionSettings = &protobufs.ConnectionSettingsOffers{Opamp: &protobufs.OpAMPConnectionSettings{Certificate: &protobufs.TLSCertificate{Cert: pemOf(cert)}}}
			case id.Certificate().Equal(old):
				return 403, "application/json", []byte(`{"code":"certificate_expired","error":"expired"}`), nil
			case m.GetAgentDescription() != nil:
				heard.Add(1)
			}
			return 200, opampType, answer(t, reply), nil
		}
		go c.over(t, Options{Identity: id}).Control(t.Context(), func() {})
		time.Sleep(5 * time.Second)
		if requests.Load() != 1 || heard.Load() != 1 || id.Certificate().Equal(old) {
			t.Errorf("%d requests, the full state was heard %d times", requests.Load(), heard.Load())
		}
	})
}

// A collector that gives certificates that nobody asked for is not followed into a
// loop, nor has the disk written to.
func TestCertificateThatWasNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		id := a.identity("https://192.0.2.1", time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour))
		old := id.Certificate()
		c := &canned{do: func(r *http.Request) (int, string, []byte, error) {
			reply := beat()
			reply.ConnectionSettings.Opamp.HeartbeatIntervalSeconds = 30
			reply.ConnectionSettings.Opamp.Certificate = &protobufs.TLSCertificate{Cert: pemOf(a.device(id, old.NotBefore.Add(time.Minute), old.NotAfter))}
			return 200, opampType, answer(t, reply), nil
		}}
		go c.over(t, Options{Identity: id}).Control(t.Context(), func() {})
		time.Sleep(10 * time.Minute)
		if n := c.posts.Load(); n > 25 || !id.Certificate().Equal(old) {
			t.Errorf("%d messages in ten minutes; another certificate: %v", n, !id.Certificate().Equal(old))
		}
	})
}

// A clock that is years ahead finds every certificate old. It does not ask for
// one with each message.
func TestWrongClockAsksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		id := a.identity("https://192.0.2.1", time.Now().Add(-47*time.Hour), time.Now().Add(-time.Hour))
		var requests atomic.Int64
		c := &canned{do: func(r *http.Request) (int, string, []byte, error) {
			reply := beat()
			m := said(t, r)
			if m.GetConnectionSettingsRequest() != nil {
				requests.Add(1)
				from := a.cert.NotBefore
				reply.ConnectionSettings.Opamp.Certificate = &protobufs.TLSCertificate{Cert: pemOf(a.device(id, from, from.Add(time.Minute)))}
			}
			return 200, opampType, answer(t, reply), nil
		}}
		go c.over(t, Options{Identity: id}).Control(t.Context(), func() {})
		time.Sleep(30 * time.Minute)
		if n := requests.Load(); n != 1 {
			t.Errorf("%d certificates in half an hour", n)
		}
	})
}

// What stands in the way with a CA of its own is let through where the host says
// so, by extra_ca, and only there.
func TestExtraCA(t *testing.T) {
	theirs, ours := newAuthority(t), newAuthority(t)
	s := theirs.serve(opampHandler(t, func(*protobufs.AgentToServer) *protobufs.ServerToAgent { return beat() }))
	id := ours.identity(s.URL, time.Now(), time.Now().Add(time.Hour))
	for _, extra := range [][]byte{nil, pemOf(theirs.cert)} {
		u, err := New(Options{Identity: id, ExtraCA: extra, Snapshot: up})
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&talk{u: u}).turn(t.Context(), s.URL)
		_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
		if (extra == nil) != (kindOf(err) == Foreign) || (extra == nil) != unverified {
			t.Errorf("with %d bytes of extra CA: %v", len(extra), err)
		}
		u.http.renew()
	}
}
