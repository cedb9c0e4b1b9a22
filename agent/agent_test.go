package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/run"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

const site = `gateway = "avocet-1"

[[network]]
name           = "kestrel"
address        = ["100.64.0.7/32"]
lan            = ["192.168.10.0/24"]
probe_interval = "500ms"

[[network.hub]]
name        = "hub-north"
public_key  = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
endpoints   = ["192.0.2.10:51820"]
allowed_ips = ["100.64.0.1/32", "198.51.100.0/24"]

[[check]]
name     = "records"
kind     = "answer"
network  = "kestrel"
target   = "198.51.100.20:443"
interval = "1s"
`

// answering is a kind whose checks say what the test wants.
func answering(verdict func() checks.Verdict) func(name string) checks.Kind {
	return func(name string) checks.Kind {
		return checks.Kind{Name: name, Schema: checks.Schema{"count": {Type: "int"}}, New: func(checks.Target) (checks.Check, error) {
			return checks.Func(func(context.Context) checks.Result {
				r := checks.Result{Verdict: verdict(), Start: time.Now(), Sent: 1}
				if r.Verdict == checks.OK {
					r.Received, r.RTT = 1, []time.Duration{12 * time.Millisecond}
				} else {
					r.Reason = checks.Timeout
				}
				return r
			}), nil
		}}
	}
}

// rig is an agent on a host that a test made.
type rig struct {
	t       *testing.T
	paths   agent.Paths
	host    *tunnelstest.Host
	manager *tunnels.Manager
	agent   *agent.Agent
	silent  atomic.Bool // the hub answers no echo
	at      string      // where the hub is; empty: wherever it is looked for
	stop    func()
	// offers is what a reload finds offered; nil: what was at the start.
	offers func(context.Context) (checks.Registry, error)
}

// start runs an agent; text is its desired config, unless it is empty.
func start(t *testing.T, root, text string) *rig {
	t.Helper()
	return startAt(t, root, text, "")
}

// startAt is start where the hub is at an address, and nowhere else.
func startAt(t *testing.T, root, text, at string) *rig {
	t.Helper()
	return startOn(t, root, text, at, config.Host{})
}

// startOn is startAt on a host with settings of its own.
func startOn(t *testing.T, root, text, at string, host config.Host) *rig {
	t.Helper()
	r := &rig{t: t, at: at, paths: agent.DefaultPaths(root), host: new(tunnelstest.Host)}
	if err := os.MkdirAll(r.paths.Etc, 0o755); err != nil {
		t.Fatal(err)
	}
	r.write(text)
	r.manager = &tunnels.Manager{Host: r.host}
	kind := answering(func() checks.Verdict {
		if r.silent.Load() || r.at != "" && r.at != r.endpoint() {
			return checks.Failed
		}
		return checks.OK
	})
	registry, err := checks.NewRegistry(kind("answer"), agent.TunnelKind(agent.LookAt(r.manager), nil, kind("icmp")))
	if err != nil {
		t.Fatal(err)
	}
	r.agent, err = agent.New(agent.Options{
		Paths: r.paths, Host: host, Version: "test", Tunnels: r.manager, Registry: registry, Log: slog.New(slog.DiscardHandler),
		Offers: func(ctx context.Context) (checks.Registry, error) {
			if r.offers == nil {
				return registry, nil
			}
			return r.offers(ctx)
		},
		Collisions: func(_ context.Context, c *config.Config, _ tunnels.Spec) (config.Problems, error) {
			lan := tunnels.Link{Name: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.77.1/24")}}
			return config.HostCollisions(c, config.HostFacts{Links: []tunnels.Link{lan}}), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- run.Run(ctx, r.agent.Tasks(), func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("the agent ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the agent was not ready within 30 s")
	}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rig) write(text string) {
	r.t.Helper()
	if text == "" {
		return
	}
	if err := os.WriteFile(r.paths.Desired(), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for a snapshot that f likes.
func (r *rig) until(what string, f func(s local.Client) bool) {
	r.t.Helper()
	c := local.Client{Path: r.paths.Socket()}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if f(c) {
			return
		}
	}
	s, err := c.Snapshot(r.t.Context())
	r.t.Fatalf("never came: %s; last: %+v, %v", what, s, err)
}

func (r *rig) untilUp() {
	r.t.Helper()
	r.until("up", func(c local.Client) bool {
		s, err := c.Snapshot(r.t.Context())
		return err == nil && s.State == checks.Up
	})
}

func TestAgentWithoutConfigOwnsNothing(t *testing.T) {
	r := start(t, t.TempDir(), "")
	s := r.agent.Snapshot()
	if s.State != checks.UnknownState || s.Gateway != "" || s.Collector.URL != "" {
		t.Errorf("snapshot = %+v", s)
	}
	if n := r.host.Looks(); n != 0 {
		t.Errorf("the host was looked at %d times: without a config nothing of it is ours", n)
	}
	if err := r.agent.Reload(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reload without a config = %v", err)
	}
	r.write(site)
	if err := r.agent.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.untilUp()
}

func TestAgentMeasuresAndRemembers(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.untilUp()
	s := r.agent.Snapshot()
	if len(s.Tunnels) != 1 || s.Tunnels[0].Hub != "hub-north" || s.Tunnels[0].State != checks.Up || s.Tunnels[0].RTTp50 == nil {
		t.Errorf("tunnels = %+v", s.Tunnels)
	}
	if len(s.Checks) != 1 || s.Checks[0].State != checks.Up {
		t.Errorf("checks = %+v", s.Checks)
	}
	r.stop()
	if len(r.host.State().Devices) != 1 {
		t.Errorf("after a stop the host has %+v: stop is not withdraw", r.host.State())
	}

	again := start(t, root, "")
	again.untilUp()
	now := time.Now()
	rep, err := again.agent.Report(t.Context(), report.Period{Year: now.Year(), Month: now.Month(), Until: now.Add(time.Second)})
	if err != nil || len(rep.Services) != 1 || rep.Blocks == 0 {
		t.Errorf("report of what the former agent measured = %+v, %v", rep, err)
	}
}

func TestRefusedConfigChangesNothing(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.untilUp()
	before := r.host.State()

	for name, tt := range map[string]struct{ text, want string }{
		"a mistake":        {strings.Replace(site, "allowed_ips", "alowed_ips", 1), "hint: allowed_ips"},
		"covers the LAN":   {strings.Replace(site, "198.51.100.0/24", "192.168.76.0/22", 1), "covers 192.168.77.0/24"},
		"another gateway":  {strings.Replace(site, "avocet-1", "bittern-1", 1), "bittern-1"},
		"not TOML, at all": {"[[", "desired.toml:1"},
	} {
		t.Run(name, func(t *testing.T) {
			r.write(tt.text)
			err := r.agent.Reload(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("reload = %v, want it to say %q", err, tt.want)
			}
			if c := r.agent.Snapshot().Config; c.Error == "" || c.Code != "GN-CONF-01" {
				t.Error("the status does not show it")
			}
			if got := r.host.State(); len(got.Devices) != len(before.Devices) || len(got.Routes) != len(before.Routes) {
				t.Errorf("the host changed: %+v", got)
			}
		})
	}

	// The file is still wrong when the agent starts the next time: it runs
	// what ran last.
	r.write("[[")
	r.stop()
	again := start(t, root, "")
	again.untilUp()
	if s := again.agent.Snapshot(); s.Config.Error == "" || s.Config.Hash == "" {
		t.Errorf("config = %+v, want the last good one and what is wrong with the new", s.Config)
	}
}

// A program of checks.d that is gone must not take the tunnels along, neither at
// a reload nor at the next start.
func TestKindThatIsNotHereDisablesItsCheckOnly(t *testing.T) {
	root := t.TempDir()
	r := start(t, root, site)
	r.untilUp()
	r.write(strings.Replace(site, `"answer"`, `"anser"`, 1))
	if err := r.agent.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	without := func(r *rig) {
		t.Helper()
		r.until("the tunnel up, and the check left out", func(c local.Client) bool {
			s, err := c.Snapshot(t.Context())
			return err == nil && len(s.Tunnels) == 1 && s.Tunnels[0].State == checks.Up &&
				s.Checks[0].State == checks.UnknownState && strings.Contains(s.Headline, `"anser"`)
		})
	}
	without(r)
	r.stop()
	without(start(t, root, ""))
}

func TestDownIsUndoneByReload(t *testing.T) {
	r := start(t, t.TempDir(), site)
	r.untilUp()
	if err := (local.Client{Path: r.paths.Socket()}).Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.host.State(); len(s.Devices) != 0 || len(s.Rules) == 0 {
		t.Errorf("after down: %d devices, %d rules; want 0 and some", len(s.Devices), len(s.Rules))
	}
	// at once, and not only when the probes have failed often enough
	if s := r.agent.Snapshot(); s.State != checks.Down || !strings.Contains(s.Headline, "ginnel reload") ||
		s.Checks[0].State != checks.UnknownState || s.Checks[0].WaitsFor != "kestrel" {
		t.Errorf("after down: %+v", s)
	}
	if w, err := r.agent.Why(t.Context(), "kestrel"); err != nil || w.State != checks.Down || strings.Contains(w.Means, "not affected") {
		t.Errorf("why after down: %+v, %v", w, err)
	}
	if err := r.agent.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.until("the device again", func(local.Client) bool { return len(r.host.State().Devices) == 1 })
}

func TestKeysAreMadeOnceAndKept(t *testing.T) {
	paths := agent.DefaultPaths(t.TempDir())
	first, err := paths.Key("kestrel")
	if err != nil {
		t.Fatal(err)
	}
	again, err := paths.Key("kestrel")
	if err != nil || again.Public() != first.Public() {
		t.Errorf("the second time: %v, %v", again.Public(), err)
	}
	info, err := os.Stat(filepath.Join(paths.Var, "keys", "kestrel.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
}

func TestDeadHubIsRefusedAtOnce(t *testing.T) {
	r := start(t, t.TempDir(), site)
	r.untilUp()
	through := func() (n int) {
		for _, route := range r.host.State().Routes {
			if !route.Unreachable {
				n++
			}
		}
		return n
	}
	if got := through(); got != 2 {
		t.Fatalf("%d prefixes lead into the tunnel, want 2", got)
	}
	r.host.Change(func(s *tunnels.State) {
		s.Devices[0].Peers[0].Seen.LastHandshake = time.Now()
	})
	r.manager.Wake()
	r.silent.Store(true)
	r.until("refusals but for the hub's own address", func(local.Client) bool { return through() == 1 })
	r.until("the cause is named", func(local.Client) bool { return r.agent.Snapshot().Code == "GN-HUB-02" })
	s := r.agent.Snapshot()
	if s.State != checks.Down || !strings.Contains(s.Headline, "hub-north does not answer") || s.Tunnels[0].Code != "GN-HUB-02" {
		t.Errorf("state %s: %s; tunnel %+v", s.State, s.Headline, s.Tunnels[0])
	}
	for _, c := range s.Checks {
		if c.Network != "" && (c.WaitsFor != c.Network || c.Code != "") {
			t.Errorf("check %s is an alarm of its own: %+v", c.Name, c)
		}
	}
	if w, err := r.agent.Why(t.Context(), "kestrel"); err != nil || w.Code != why.HubSilent || w.Owner != why.Centre {
		t.Errorf("why = %+v, %v", w, err)
	}
	r.silent.Store(false)
	r.until("the routes again", func(local.Client) bool { return through() == 2 })
}
