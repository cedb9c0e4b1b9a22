package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ginnelctl": func() {
		os.Exit(run(context.Background(), os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			c := newCollector(e.WorkDir)
			e.Defer(c.Close)
			e.Setenv("GINNEL_COLLECTOR", c.URL)
			e.Setenv("GINNEL_KEYSTORE", filepath.Join(e.WorkDir, "packs"))
			e.Setenv("EXPIRES", time.Now().UTC().AddDate(0, 0, 14).Format("Mon 2 Jan 2006"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"match-token": matchToken, "match-secret": matchSecret, "mode": mode},
	})
}

// newCollector is a collector's API as far as ginnelctl uses it. What it is
// asked to add it writes to added.json in dir.
func newCollector(dir string) *httptest.Server {
	var mu sync.Mutex
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /api/v1/ca", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, centre.CA{URL: "https://collector.example.net:8443", PEM: testCA})
	})
	mux.HandleFunc("POST /api/v1/sites", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		raw, _ := io.ReadAll(r.Body)
		if strings.Contains(string(raw), `"gateway":"egret-1"`) {
			answer(w, 400, centre.Problem{Error: "gateway: egret-1 is of site egret", Hint: "each gateway has a name of its own"})
			return
		}
		if err := os.WriteFile(filepath.Join(dir, "added.json"), raw, 0o600); err != nil {
			answer(w, 500, centre.Problem{Error: err.Error()})
			return
		}
		answer(w, 200, centre.Site{ID: "avocet"})
	})
	county := county()
	mux.HandleFunc("GET /api/v1/sites", func(w http.ResponseWriter, _ *http.Request) {
		var list []centre.Site
		for _, s := range county {
			list = append(list, s.Site)
		}
		answer(w, 200, list)
	})
	mux.HandleFunc("GET /api/v1/sites/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range county {
			if s.ID == r.PathValue("id") {
				answer(w, 200, s)
				return
			}
		}
		answer(w, 404, centre.Problem{Error: "site " + r.PathValue("id") + ": not found"})
	})
	mux.HandleFunc("GET /api/v1/sites/{id}/report", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "report of "+r.PathValue("id")+" for "+r.FormValue("month")+" as "+r.FormValue("format")+"\n")
	})
	return httptest.NewServer(mux)
}

// county is three invented sites: one half down, one up, one never seen.
func county() []centre.SiteDetail {
	at := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	return []centre.SiteDetail{
		{
			Site: centre.Site{ID: "avocet", Name: "Avocet Surgery", Networks: []string{"kestrel", "heron"}, State: checks.DegradedState, Since: at, Code: "GN-HUB-02",
				Headline: "heron is down since 13:55: hub-south does not answer.", LastSeen: at, Gateways: []centre.Gateway{{Name: "avocet-1", Current: true}}},
			Snapshots: []centre.Snapshot{{Snapshot: block.Snapshot{Gateway: "avocet-1", State: checks.DegradedState,
				Tunnels: []block.TunnelSnapshot{
					{Network: "kestrel", Role: "site", Hub: "hub-north", State: checks.Up, HandshakeAge: new(41.2), Figures: block.Figures{RTTp50: new(0.0112), Loss: new(0.0)}},
					{Network: "heron", Role: "site", Hub: "hub-south", State: checks.Down, HandshakeAge: new(1020.0)},
				},
				Checks: []block.CheckSnapshot{{Name: "records", Network: "kestrel", State: checks.Up}, {Name: "internet", State: checks.Up}, {Name: "results", Network: "heron", State: checks.UnknownState}},
			}}},
		},
		{
			Site: centre.Site{ID: "north", Name: "Hub north", Networks: []string{"kestrel"}, State: checks.Up, LastSeen: at, Gateways: []centre.Gateway{{Name: "hub-north", Current: true}}},
			Snapshots: []centre.Snapshot{{Snapshot: block.Snapshot{Gateway: "hub-north", Tunnels: []block.TunnelSnapshot{
				{Network: "kestrel", Role: "hub", State: checks.Up, Peers: 6, PeersUp: 5, HandshakeAge: new(9.0)}}}}},
		},
		{
			Site: centre.Site{ID: "bittern", Name: "Bittern Practice", Networks: []string{"kestrel"}, State: checks.UnknownState, LastSeen: at, Gateways: []centre.Gateway{{Name: "bittern-1"}}},
			Snapshots: []centre.Snapshot{{Snapshot: block.Snapshot{Gateway: "bittern-1", Tunnels: []block.TunnelSnapshot{
				{Network: "kestrel", Role: "site", Hub: "hub-north", State: checks.Up, Figures: block.Figures{RTTp50: new(0.009)}}}}}},
		},
		{Site: centre.Site{ID: "dunlin", Name: "Dunlin House", Networks: []string{"heron"}, State: checks.UnknownState, Gateways: []centre.Gateway{{Name: "dunlin-1", Enrolled: at}}}},
		{Site: centre.Site{ID: "curlew", Name: "Curlew Clinic", Networks: []string{"kestrel"}, State: checks.UnknownState}},
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	if err := writeSites(&out, county(), now, time.UTC); err != nil {
		t.Fatal(err)
	}
	want := `
SITE     NETWORK  HUB        TUNNEL   HANDSHAKE  RTT    LOSS   CHECKS  STATE
avocet   kestrel  hub-north  up       41 s       11 ms  0.0 %  2/2     degraded
         heron    hub-south  down     17 min     -      -      0/1
north    kestrel  5/6 sites  up       9 s        -      -      -       up
bittern  kestrel  hub-north  unknown  -          -      -      -       unknown
dunlin   heron    -          -        -          -      -      -       unknown
curlew   kestrel  -          -        -          -      -      -       unknown

Look at these
  avocet     heron is down since 13:55: hub-south does not answer (GN-HUB-02)
  bittern    not heard of since Tue 13:55
  dunlin     enrolled, but not heard of yet: ginnel status, at the gateway
  curlew     waits for its gateway: sudo ginnel enrol PACK
`
	if d := cmp.Diff(want, "\n"+out.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for line := range strings.Lines(out.String()) {
		if len(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("over 80 columns: %s", line)
		}
	}
}

func TestLastMonth(t *testing.T) {
	for at, want := range map[string]string{
		"2026-11-01T00:30:00Z": "2026-10",
		"2026-06-30T23:30:00Z": "2026-06", // July in London by then
		"2026-06-30T22:30:00Z": "2026-05",
		"2027-01-15T12:00:00Z": "2026-12",
	} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := lastMonth(now); got != want || err != nil {
			t.Errorf("at %s: %s, %v; want %s", at, got, err, want)
		}
	}
}

// matchToken PACK REQUEST: the request has the hash of the pack's token, and
// the token itself is in the pack alone.
func matchToken(ts *testscript.TestScript, neg bool, args []string) {
	pack, err := identity.ReadPack(ts.MkAbs(args[0]))
	ts.Check(err)
	raw := ts.ReadFile(args[1])
	var sent centre.NewSite
	ts.Check(json.Unmarshal([]byte(raw), &sent))
	hash := pack.Token.Hash()
	if got := sent.TokenSHA256; got != hexOf(hash[:]) {
		ts.Fatalf("hash sent %s, of the pack %x", got, hash)
	}
	if strings.Contains(raw, pack.Token.Reveal()) || !sent.Expires.Equal(pack.Expires) {
		ts.Fatalf("the token, or another expiry than %v, was sent: %s", pack.Expires, raw)
	}
}

// matchSecret PACK REQUEST STORE: the secret of the pack is in the key store,
// and was not sent.
func matchSecret(ts *testscript.TestScript, neg bool, args []string) {
	pack, err := identity.ReadPack(ts.MkAbs(args[0]))
	ts.Check(err)
	if text := pack.Secret.Reveal(); text == "" || strings.Contains(ts.ReadFile(args[1]), text) || !strings.Contains(ts.ReadFile(args[2]), text) {
		ts.Fatalf("no secret, or it was sent, or it is not kept")
	}
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := st.Mode().String(); got != args[0] {
		ts.Fatalf("%s: mode %s, want %s", args[1], got, args[0])
	}
}
