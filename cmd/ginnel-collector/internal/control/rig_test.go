package control

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
)

// rig is a collector on loopback: the real store, TLS and handlers.
type rig struct {
	t        *testing.T
	store    *sqlite.Store
	dir      string
	addr     string
	requests atomic.Int64
	// cut, where it says so, takes the answer away after the request was
	// served, as a line does that dies at the wrong moment.
	cut func(*http.Request) bool

	mu     sync.Mutex
	ahead  time.Duration // of the server's clock
	server *Server
	http   *http.Server
	rest   func() // ends what the server does besides answering
}

func newRig(t *testing.T) *rig {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: st, dir: filepath.Join(t.TempDir(), "ca"), addr: "127.0.0.1:0"}
	r.start()
	t.Cleanup(func() {
		r.stop()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.ahead)
}

func (r *rig) clock(ahead time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ahead = ahead
}

// start brings the collector up, at the same address as before.
func (r *rig) start() {
	r.t.Helper()
	var l net.Listener
	eventually(r.t, "the port is free", func() bool {
		var err error
		l, err = net.Listen("tcp", r.addr)
		return err == nil
	})
	r.addr = l.Addr().String()
	s, err := New(Options{Store: r.store, Dir: r.dir, URL: "https://" + r.addr, Heartbeat: time.Second, Now: r.now})
	if err != nil {
		r.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(Path, s.Handler())
	mux.Handle("POST /v1/blocks", ingest.New(r.store, s.Gateway, Refuse, slog.New(slog.DiscardHandler)))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Steer(ctx, func() {}); err != nil {
			r.t.Error(err)
		}
	})
	r.rest = func() { cancel(); wg.Wait() }
	r.server = s
	r.http = &http.Server{Handler: r.lossy(mux), TLSConfig: s.TLSConfig(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go r.http.ServeTLS(l, "", "")
}

func (r *rig) lossy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.requests.Add(1)
		if r.cut != nil && r.cut(q) {
			next.ServeHTTP(&lost{http.Header{}}, q)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, q)
	})
}

// lost is where answers go that never arrive.
type lost struct{ h http.Header }

func (l *lost) Header() http.Header         { return l.h }
func (l *lost) Write(b []byte) (int, error) { return len(b), nil }
func (l *lost) WriteHeader(int)             {}

func (r *rig) stop() {
	r.t.Helper()
	r.rest()
	if err := errors.Join(r.http.Close(), r.server.Close()); err != nil {
		r.t.Error(err)
	}
}

// pack adds a site and gives its pack.
func (r *rig) pack(site string, life time.Duration) identity.Pack {
	r.t.Helper()
	p := identity.Pack{
		Site:      identity.Site{ID: site, Name: "Avocet Surgery", Postcode: "ZZ1 1AA", Gateway: site + "-1", Networks: []string{"kestrel", "heron"}},
		Collector: []string{"https://" + r.addr}, CA: string(r.server.CA()),
		Expires: time.Now().Add(24 * time.Hour), Token: identity.NewToken(), Secret: identity.NewSecret(),
	}
	err := r.store.AddSite(r.t.Context(), store.Site{ID: site, Name: p.Site.Name, Gateway: p.Site.Gateway,
		Networks: p.Site.Networks, TokenHash: p.Token.Hash(), TokenExpires: r.now().Add(life), Added: r.now()})
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// enrolled is a gateway that has been enrolled.
func (r *rig) enrolled(site string) *identity.Identity {
	r.t.Helper()
	id, err := uplink.Enrol(r.t.Context(), uplink.Enrolment{Pack: r.pack(site, time.Hour), Dir: filepath.Join(r.t.TempDir(), "identity"), Version: "0.1.0"})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// events are the acts in the audit log, oldest first.
func (r *rig) events(act string) []store.Event {
	r.t.Helper()
	all, err := r.store.Events(r.t.Context(), 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e store.Event) bool { return e.Act != act })
}

// gateway is a running uplink with a state that the test sets.
type gateway struct {
	*uplink.Uplink
	state atomic.Value // checks.State
	stop  func()
}

func (r *rig) run(id *identity.Identity, change func(*uplink.Options)) *gateway {
	r.t.Helper()
	g := &gateway{}
	g.state.Store(checks.Up)
	o := uplink.Options{Identity: id, Version: "0.1.0", Slowest: 500 * time.Millisecond, Snapshot: func() block.Snapshot { return snapshot(g.state.Load().(checks.State)) },
		Effective: func() (string, string) { return "ab12", "gateway = \"avocet-1\"\n" }}
	if change != nil {
		change(&o)
	}
	var err error
	if g.Uplink, err = uplink.New(o); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context, func()) error{g.Control, g.Deliver} {
		wg.Go(func() {
			if err := loop(ctx, func() {}); err != nil {
				r.t.Error(err)
			}
		})
	}
	g.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	r.t.Cleanup(g.stop)
	return g
}

func snapshot(s checks.State) block.Snapshot {
	return block.Snapshot{
		Gateway: "somebody-else", State: s, Since: time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC), Headline: "hub-south does not answer", At: time.Now(),
		Tunnels: []block.TunnelSnapshot{{Network: "heron", Role: "site", Hub: "hub-south", State: s, Reason: "no_handshake"}},
		Checks:  []block.CheckSnapshot{{Name: "results", Kind: "tcp", State: checks.UnknownState, WaitsFor: "heron"}},
	}
}

// client speaks TLS to the rig with another configuration than the uplink's.
func (r *rig) client(t *tls.Config) *http.Client {
	rt := &http.Transport{TLSClientConfig: t}
	r.t.Cleanup(rt.CloseIdleConnections)
	return &http.Client{Transport: rt, Timeout: 10 * time.Second}
}

// eventually waits for a condition; the deadline is for a broken program, not
// a measure of a good one.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}
