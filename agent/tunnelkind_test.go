package agent_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// A hub has nothing to probe; yet one whose port is taken is not up.
func TestHubThatCouldNotBeMadeIsNotUp(t *testing.T) {
	taken := "UDP port 51820: the port is taken"
	caller := tunnels.PeerStatus{Name: "avocet-1", Present: true, Seen: tunnels.Seen{LastHandshake: time.Now()}}
	for name, tt := range map[string]struct {
		status tunnels.Status
		want   checks.Verdict
	}{
		"well, nobody calls":      {tunnels.Status{Present: true}, checks.OK},
		"well, one calls":         {tunnels.Status{Present: true, Peers: []tunnels.PeerStatus{caller}}, checks.OK},
		"its port is taken":       {tunnels.Status{Present: true, Err: taken}, checks.Failed},
		"a step fails, one calls": {tunnels.Status{Present: true, Err: taken, Peers: []tunnels.PeerStatus{caller}}, checks.Degraded},
		"no device":               {tunnels.Status{Err: taken}, checks.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			look := func(string, string) (tunnels.Status, error) { return tt.status, nil }
			kind := agent.TunnelKind(look, nil, checks.Kind{Name: "icmp"})
			check, err := kind.New(checks.Target{Network: "kestrel", Options: map[string]any{"hub": ""}})
			if err != nil {
				t.Fatal(err)
			}
			r := check.Run(t.Context())
			if r.Verdict != tt.want || r.Valid() != nil {
				t.Errorf("%+v (%v), want %s", r, r.Valid(), tt.want)
			}
			if r.Verdict != checks.OK && r.Detail != taken {
				t.Errorf("detail %q, want %q", r.Detail, taken)
			}
		})
	}
}

// A session stays young for three minutes after its hub has died: that is no
// reason to call the tunnel up. A hub that drops echoes and sends else is well.
func TestMuteHub(t *testing.T) {
	for name, tt := range map[string]struct {
		grows int64 // bytes received from run to run
		at    string
		want  checks.Verdict
	}{
		"died before we began": {0, "192.0.2.10:51820", checks.Unknown},
		"drops echoes only":    {32, "192.0.2.10:51820", checks.OK},
		"was never called":     {0, "", checks.Failed}, // its name has no address
	} {
		t.Run(name, func(t *testing.T) {
			received := int64(1000)
			endpoint, _ := netip.ParseAddrPort(tt.at)
			look := func(string, string) (tunnels.Status, error) {
				received += tt.grows
				return tunnels.Status{Present: true, Peers: []tunnels.PeerStatus{{Name: "hub-north", Present: true,
					Endpoint: endpoint,
					Seen:     tunnels.Seen{LastHandshake: time.Now().Add(-time.Minute), Received: received}}}}, nil
			}
			silent := checks.Kind{Name: "icmp", New: func(checks.Target) (checks.Check, error) {
				return checks.Func(func(context.Context) checks.Result {
					return checks.Result{Verdict: checks.Failed, Reason: checks.Timeout, Start: time.Now(), Sent: 1}
				}), nil
			}}
			check, err := agent.TunnelKind(look, nil, silent).New(checks.Target{Network: "kestrel", Address: "100.64.0.1", Options: map[string]any{"hub": "hub-north"}})
			if err != nil {
				t.Fatal(err)
			}
			check.Run(t.Context())
			if r := check.Run(t.Context()); r.Verdict != tt.want || r.Valid() != nil {
				t.Errorf("%+v (%v), want %s", r, r.Valid(), tt.want)
			}
		})
	}
}

// A hub whose name has no address was never called: that is no hub that drops
// echoes.
func TestHubWithoutAnAddressIsDown(t *testing.T) {
	look := func(string, string) (tunnels.Status, error) {
		return tunnels.Status{Present: true, Peers: []tunnels.PeerStatus{{Name: "hub-north", Present: true}}}, nil
	}
	check, err := agent.TunnelKind(look, nil, echo(checks.Failed)).New(checks.Target{Network: "kestrel", Address: "100.64.0.1", Options: map[string]any{"hub": "hub-north"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := check.Run(t.Context()); r.Verdict != checks.Failed || r.Reason != checks.NotResolved {
		t.Errorf("%+v", r)
	}
}

// echo is the icmp kind with one answer.
func echo(v checks.Verdict) checks.Kind {
	return checks.Kind{Name: "icmp", New: func(checks.Target) (checks.Check, error) {
		return checks.Func(func(context.Context) checks.Result {
			r := checks.Result{Verdict: v, Start: time.Now(), Sent: 1}
			if v == checks.Failed {
				r.Reason = checks.Timeout
			}
			return r
		}), nil
	}}
}

// TestTunnelProbeHasItsDefaults: an echo of no size comes back changed.
func TestTunnelProbeHasItsDefaults(t *testing.T) {
	var made map[string]any
	probe := checks.Kind{Name: "icmp", Schema: checks.Schema{"count": {Type: "int", Default: 3}, "size": {Type: "int", Default: 56}},
		New: func(t checks.Target) (checks.Check, error) {
			made = t.Options
			return checks.Func(func(context.Context) checks.Result { return checks.Result{Verdict: checks.OK} }), nil
		}}
	kind := agent.TunnelKind(func(string, string) (tunnels.Status, error) { return tunnels.Status{}, nil }, nil, probe)
	if _, err := kind.Make(checks.Target{Network: "kestrel", Address: "100.64.0.1", Options: map[string]any{"hub": "hub-north", "count": int64(1)}}); err != nil {
		t.Fatal(err)
	}
	if made["count"] != int64(1) || made["size"] != int64(56) {
		t.Errorf("the echo has %v", made)
	}
}
