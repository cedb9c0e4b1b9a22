package builtin

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

func TestHandshakeSuite(t *testing.T) {
	look := func(network, hub string) (Handshake, error) {
		switch hub {
		case "hub-north":
			return Handshake{Last: time.Now().Add(-41 * time.Second), Sent: 1000, Received: 1000}, nil
		case "hub-south":
			return Handshake{Sent: 2 * 148}, nil
		}
		return Handshake{}, errors.New("no such tunnel")
	}
	checktest.Run(t, checktest.Subject{
		Kind:     HandshakeKind(look),
		Good:     checks.Target{Network: "kestrel", Address: "hub-north"},
		Refusing: &checks.Target{Network: "kestrel", Address: "hub-east"}, RefusingReason: checks.NotRun,
		Silent: &checks.Target{Network: "kestrel", Address: "hub-south"}, SilentReason: checks.NoHandshake,
	})
	if _, err := HandshakeKind(look).Make(checks.Target{Address: "hub-north"}); err == nil {
		t.Error("a check without a network was made")
	}
}

func TestHandshake(t *testing.T) {
	now := time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)
	hub := netip.MustParseAddrPort("192.0.2.20:51820")
	other := netip.MustParseAddrPort("192.0.2.21:51820")
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	at := func(s int, h Handshake) (x sighting) { // a look s seconds ago
		x = sighting{Handshake: h, at: ago(s)}
		if !h.Last.IsZero() {
			x.age = x.at.Sub(h.Last)
		}
		return x
	}
	const keepalive = 25 * time.Second
	for _, test := range []struct {
		name    string
		looks   []sighting // the last is judged
		state   string
		verdict checks.Verdict
		reason  checks.Reason
		phase   checks.Phase
		detail  string
	}{
		{"fresh", []sighting{at(0, Handshake{Last: ago(41)})}, "fresh", checks.OK, "", "", "41s ago"},
		{"just fresh", []sighting{at(0, Handshake{Last: ago(179), Keepalive: keepalive})}, "fresh", checks.OK, "", "", "2m59s ago"},
		{"fresh, both ways", []sighting{at(30, Handshake{Last: ago(41), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(41), Sent: 9500, Received: 7500})},
			"fresh", checks.OK, "", "", "41s ago"},
		{"fresh, keepalives only", []sighting{at(60, Handshake{Last: ago(100), Sent: 500, Received: 500, Keepalive: keepalive}),
			at(30, Handshake{Last: ago(100), Sent: 564, Received: 500, Keepalive: keepalive}), at(0, Handshake{Last: ago(100), Sent: 596, Received: 500, Keepalive: keepalive})},
			"fresh", checks.OK, "", "", "1m40s ago"},
		{"fresh, a question just gone", []sighting{at(30, Handshake{Last: ago(41), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(41), Sent: 1500, Received: 500})},
			"fresh", checks.OK, "", "", "41s ago"},
		{"fresh, no answer", []sighting{at(60, Handshake{Last: ago(100), Sent: 500, Received: 500, Endpoint: hub}),
			at(30, Handshake{Last: ago(100), Sent: 1500, Received: 500, Endpoint: hub}), at(0, Handshake{Last: ago(100), Sent: 2500, Received: 500, Endpoint: hub})},
			"only goes", checks.Failed, checks.Timeout, checks.PhaseResponse, "packets go to 192.0.2.20:51820, and for 30s none has come back; the last handshake was 1m40s ago"},
		{"fresh, looked at again at once", []sighting{at(30, Handshake{Last: ago(100), Sent: 500, Received: 500}),
			at(3, Handshake{Last: ago(100), Sent: 1500, Received: 500}), at(0, Handshake{Last: ago(100), Sent: 2500, Received: 500})},
			"fresh", checks.OK, "", "", "1m40s ago"},
		{"fresh, answered late", []sighting{at(60, Handshake{Last: ago(100), Sent: 500, Received: 500}),
			at(30, Handshake{Last: ago(100), Sent: 1500, Received: 500}), at(0, Handshake{Last: ago(100), Sent: 2500, Received: 532})},
			"fresh", checks.OK, "", "", "1m40s ago"},
		{"nothing of ours leaves", []sighting{at(60, Handshake{Last: ago(100), Sent: 500, Received: 500}),
			at(30, Handshake{Last: ago(100), Sent: 500, Received: 1500}), at(0, Handshake{Last: ago(100), Sent: 500, Received: 2500})},
			"only comes", checks.Failed, checks.Unreachable, checks.PhaseRoute, "packets come, and for 30s none of ours has left this host"},
		{"only the hub's keepalives come", []sighting{at(60, Handshake{Last: ago(100), Sent: 500, Received: 500}),
			at(30, Handshake{Last: ago(100), Sent: 500, Received: 532}), at(0, Handshake{Last: ago(100), Sent: 500, Received: 564})},
			"fresh", checks.OK, "", "", "1m40s ago"},
		{"the peer has moved", []sighting{at(30, Handshake{Last: ago(90), Endpoint: hub}), at(0, Handshake{Last: ago(41), Endpoint: other})},
			"fresh", checks.OK, "", "", "41s ago; now at 192.0.2.21:51820, before at 192.0.2.20:51820"},
		{"old with keepalive", []sighting{at(0, Handshake{Last: ago(180), Keepalive: keepalive})}, "old", checks.Failed, checks.NoHandshake, checks.PhaseConnect,
			"the last handshake was 3m0s ago, with a keepalive of 25s"},
		{"keepalives do not leave", []sighting{at(30, Handshake{Last: ago(300), Sent: 500, Keepalive: keepalive}), at(0, Handshake{Last: ago(300), Sent: 500, Keepalive: keepalive})},
			"nothing goes", checks.Failed, checks.NoHandshake, checks.PhaseRoute, "nothing leaves this host though there is a keepalive; the last handshake was 5m0s ago"},
		{"idle, first look", []sighting{at(0, Handshake{Last: ago(7200), Sent: 500, Received: 500})}, "idle", checks.OK, "", "", "idle; the last handshake was 2h0m0s ago"},
		{"idle", []sighting{at(30, Handshake{Last: ago(7200), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(7200), Sent: 500, Received: 500})},
			"idle", checks.OK, "", "", "idle; the last handshake was 2h0m0s ago"},
		{"old, and asked once", []sighting{at(30, Handshake{Last: ago(7200), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(7200), Sent: 648, Received: 500})},
			"idle", checks.OK, "", "", "idle; the last handshake was 2h0m0s ago"},
		{"old, and insisting", []sighting{at(30, Handshake{Last: ago(7200), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(7200), Sent: 796, Received: 500, Endpoint: hub})},
			"only goes", checks.Failed, checks.NoHandshake, checks.PhaseConnect,
			"296 bytes sent to 192.0.2.20:51820 since the last look, none came back; the last handshake was 2h0m0s ago, so the keys agreed then"},
		{"old, yet both ways while it lasted", []sighting{at(30, Handshake{Last: ago(181), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(181), Sent: 948, Received: 900})},
			"idle", checks.OK, "", "", "idle; the last handshake was 3m1s ago"},
		{"old, and the hub calls in vain", []sighting{at(30, Handshake{Last: ago(7200), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(7200), Sent: 684, Received: 796})},
			"keys differ", checks.Failed, checks.NoHandshake, checks.PhaseConnect,
			"the hub calls and no session comes of it: the preshared key or a public key has changed, or our answers are lost; the last handshake was 2h0m0s ago"},
		{"old, and the hub calls once", []sighting{at(30, Handshake{Last: ago(7200), Sent: 500, Received: 500}), at(0, Handshake{Last: ago(7200), Sent: 592, Received: 648})},
			"idle", checks.OK, "", "", "idle; the last handshake was 2h0m0s ago"},
		{"a new device under the same name", []sighting{at(30, Handshake{Sent: 500, Received: 500}), at(0, Handshake{Last: ago(7200), Sent: 400})},
			"idle", checks.OK, "", "", "idle; the last handshake was 2h0m0s ago"},
		{"none though asked", []sighting{at(0, Handshake{Sent: 296, Endpoint: hub})}, "only goes", checks.Failed, checks.NoHandshake, checks.PhaseConnect,
			"296 bytes sent to 192.0.2.20:51820, no handshake yet: the hub is off, UDP to it is blocked, or it has another key for us"},
		{"none, just asked for", []sighting{at(0, Handshake{Sent: 148})}, "asking", checks.Unknown, checks.NotRun, "", "no handshake yet; the first has just been asked for"},
		{"none, the hub calls in vain", []sighting{at(0, Handshake{Sent: 184, Received: 296})}, "keys differ", checks.Failed, checks.NoHandshake, checks.PhaseConnect,
			"the hub calls and no session comes of it: the preshared key differs, or our answers are lost; no handshake yet"},
		{"none with keepalive, nothing leaves", []sighting{at(0, Handshake{Keepalive: keepalive})}, "nothing goes", checks.Failed, checks.NoHandshake, checks.PhaseRoute,
			"no handshake yet, and nothing leaves this host though there is a keepalive"},
		{"none, nobody asked", []sighting{at(0, Handshake{})}, "unused", checks.Unknown, checks.NotRun, "", "no handshake yet, and nothing sent that needs one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before sighting
			var got judgement
			for _, s := range test.looks {
				s.compare(before)
				got = judgeHandshake(s, before)
				before = s
			}
			if want := (judgement{test.state, test.verdict, test.reason, test.phase, test.detail}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestHandshakeAge(t *testing.T) {
	first := time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		last      time.Time
		ago, want time.Duration
	}{
		"seen 41 s after, looked at again after 30 s": {first.Add(-41 * time.Second), 30 * time.Second, 71 * time.Second},
		"of the future: the clock was set back":       {first.Add(time.Hour), 30 * time.Second, 30 * time.Second},
	} {
		if got := handshakeAge(test.last, first, test.ago); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestHandshakeRemembers: the second look sees what was sent since the first.
func TestHandshakeRemembers(t *testing.T) {
	h := Handshake{Last: time.Now().Add(-time.Hour), Sent: 500, Received: 500, Device: "gn-heron-s", Endpoint: netip.MustParseAddrPort("192.0.2.20:51820")}
	c, err := HandshakeKind(func(string, string) (Handshake, error) { return h, nil }).Make(checks.Target{Network: "heron", Address: "hub-south"})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c.Run(t.Context()), checks.OK, "", "")
	h.Sent += 2 * 148
	r := c.Run(t.Context())
	expect(t, r, checks.Failed, checks.NoHandshake, checks.PhaseConnect)
	sent, _ := valueOf(r, "sent")
	age, _ := valueOf(r, "handshake_age")
	if sent != 296 || age < 3600 || age > 3660 || r.Path != "gn-heron-s" {
		t.Errorf("got %+v", r)
	}
	if got, want := r.Steps[1].Detail, "only goes; handshake 1h0m0s ago"; got != want {
		t.Errorf("the step says %q, want %q", got, want)
	}
	expect(t, c.Run(t.Context()), checks.OK, "", "")
}
