package agent_test

import (
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
			kind := agent.TunnelKind(look, checks.Kind{Name: "icmp"})
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
