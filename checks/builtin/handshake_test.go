package builtin

import (
	"errors"
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
			return Handshake{Sent: 148}, nil
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
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	const keepalive = 25 * time.Second
	for _, test := range []struct {
		name    string
		now     Handshake
		before  *Handshake
		verdict checks.Verdict
		reason  checks.Reason
		detail  string
	}{
		{"fresh", Handshake{Last: ago(41)}, nil, checks.OK, "", "41s ago"},
		{"just fresh", Handshake{Last: ago(179), Keepalive: keepalive}, nil, checks.OK, "", "2m59s ago"},
		{"old with keepalive", Handshake{Last: ago(180), Keepalive: keepalive}, nil, checks.Failed, checks.NoHandshake,
			"the last handshake was 3m0s ago, with a keepalive of 25s"},
		{"idle, first look", Handshake{Last: ago(7200), Sent: 500, Received: 500}, nil, checks.OK, "", "idle; the last handshake was 2h0m0s ago"},
		{"idle", Handshake{Last: ago(7200), Sent: 500, Received: 500}, &Handshake{Sent: 500, Received: 500}, checks.OK, "", "idle; the last handshake was 2h0m0s ago"},
		{"old, and asking", Handshake{Last: ago(7200), Sent: 648, Received: 500}, &Handshake{Sent: 500, Received: 500}, checks.Failed, checks.NoHandshake,
			"148 bytes sent since the last look, none came back; the last handshake was 2h0m0s ago"},
		{"old, yet both ways", Handshake{Last: ago(181), Sent: 648, Received: 600}, &Handshake{Sent: 500, Received: 500}, checks.OK, "", "idle; the last handshake was 3m1s ago"},
		{"a new device under the same name", Handshake{Last: ago(7200), Sent: 10}, &Handshake{Sent: 500, Received: 500}, checks.OK, "", "idle; the last handshake was 2h0m0s ago"},
		{"none though asked", Handshake{Sent: 148}, nil, checks.Failed, checks.NoHandshake, "148 bytes sent, no handshake yet"},
		{"none with keepalive", Handshake{Keepalive: keepalive}, nil, checks.Failed, checks.NoHandshake, "0 bytes sent, no handshake yet"},
		{"none, nobody asked", Handshake{}, nil, checks.Unknown, checks.NotRun, "no handshake yet, and nothing sent that needs one"},
		{"of the future: the clock was set back", Handshake{Last: now.Add(time.Hour)}, nil, checks.OK, "", "0s ago"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, r, d := judgeHandshake(test.now, test.before, now)
			if v != test.verdict || r != test.reason || d != test.detail {
				t.Errorf("got %s, %q, %q; want %s, %q, %q", v, r, d, test.verdict, test.reason, test.detail)
			}
		})
	}
}

// TestHandshakeRemembers: the second look sees what was sent since the first.
func TestHandshakeRemembers(t *testing.T) {
	h := Handshake{Last: time.Now().Add(-time.Hour), Sent: 500, Received: 500}
	c, err := HandshakeKind(func(string, string) (Handshake, error) { return h, nil }).Make(checks.Target{Network: "heron", Address: "hub-south"})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c.Run(t.Context()), checks.OK, "", "")
	h.Sent += 148
	expect(t, c.Run(t.Context()), checks.Failed, checks.NoHandshake, checks.PhaseConnect)
	expect(t, c.Run(t.Context()), checks.OK, "", "")
}
