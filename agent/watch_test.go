package agent_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

// TestChecksBySocket runs and follows a check through the agent's socket, and
// reads back what was kept of it by the agent before.
func TestChecksBySocket(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.untilUp()
	c := local.Client{Path: r.paths.Socket()}
	s, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name, tunnel := s.Checks[0].Name, s.Tunnels[0].Network+"/"+s.Tunnels[0].Hub
	for _, n := range []string{name, tunnel} {
		if run, err := c.RunCheck(t.Context(), n); err != nil || run.Check != n || run.Verdict != checks.OK {
			t.Errorf("ran %s: %+v, %v", n, run, err)
		}
	}
	if _, err := c.RunCheck(t.Context(), "absent"); err == nil || !strings.Contains(err.Error(), `"absent"`) {
		t.Errorf("a check that there is not: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := 0
	err = c.WatchCheck(ctx, tunnel, func(run local.CheckRun) {
		if run.Check != tunnel {
			t.Errorf("watching %s we hear of %s", tunnel, run.Check)
		}
		if seen++; seen == 2 {
			cancel()
		}
	})
	if err != nil || seen < 2 {
		t.Errorf("watched %d runs, %v", seen, err)
	}
	r.stop()

	again := start(t, root, "")
	again.untilUp()
	h, err := c.History(t.Context(), tunnel, time.Now().Add(-time.Hour))
	if err != nil || len(h.Points) == 0 || h.Points[0].Sent == 0 || len(h.Edges) == 0 || h.Edges[len(h.Edges)-1].To != checks.Up && h.Edges[0].To != checks.Up {
		t.Errorf("history %+v, %v", h, err)
	}
	if h.Now == nil || h.Now.State != checks.Up || h.Now.Since.IsZero() {
		t.Errorf("now %+v", h.Now)
	}
}

// TestMetricsAreServed asks as a Prometheus does, and every metric of the
// dashboard is there.
func TestMetricsAreServed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	r := startOn(t, t.TempDir(), site, "", config.Host{Metrics: at})
	r.untilUp()
	answer, err := http.Get("http://" + at.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("status %d, %v, %s", answer.StatusCode, answer.Header, err)
	}
	if front, err := http.Get("http://" + at.String() + "/"); err != nil || front.StatusCode != http.StatusOK {
		t.Errorf("who opens the address in a browser gets %+v, %v", front, err)
	}
	dashboard, err := os.ReadFile("../packaging/grafana/ginnel-gateway.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Fatal("the dashboard is no JSON")
	}
	names := regexp.MustCompile(`\b(ginnel|probe)_[a-z_]+`).FindAllString(string(dashboard), -1)
	for _, name := range names {
		if !strings.Contains(string(body), "# TYPE "+name+" ") {
			t.Errorf("the dashboard shows %s, which is not served", name)
		}
	}
	if len(names) < 8 || !strings.Contains(string(body), `ginnel_tunnel_state{network="kestrel",hub="hub-north",state="up"} 1`) {
		t.Errorf("%d names; served:\n%s", len(names), body)
	}
}
