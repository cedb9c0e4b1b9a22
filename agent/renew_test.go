package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

func TestGap(t *testing.T) {
	begin := time.Now()
	for _, c := range []struct {
		name     string
		answered string // one letter an echo
		want     gap
	}{
		{"nothing was sent", "", gap{}},
		{"nothing was lost", "xxxx", gap{Sent: 4, Over: true}},
		{"one gap", "xx....xx", gap{Sent: 8, Lost: 4, Longest: 40 * time.Millisecond, Over: true}},
		{"the longest counts", "x..x...x.x", gap{Sent: 10, Lost: 6, Longest: 30 * time.Millisecond, Over: true}},
		{"it goes on", "x.x...", gap{Sent: 6, Lost: 4, Longest: 10 * time.Millisecond}},
		{"nobody answers", "....", gap{Sent: 4, Lost: 4}},
	} {
		var e echoes
		for i, answer := range c.answered {
			e.sent = append(e.sent, begin.Add(time.Duration(i)*echoEvery))
			e.answered = append(e.answered, answer == 'x')
		}
		e.sent, e.answered = append(e.sent, begin.Add(time.Second)), append(e.answered, false) // still on its way
		if got := e.gap(begin.Add(500 * time.Millisecond)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// The first hub of a network carries its routes, so its device comes last.
func TestRenewals(t *testing.T) {
	all := []tunnels.Status{{Network: "kestrel", Device: "k1"}, {Network: "kestrel", Device: "k2"},
		{Network: "heron", Device: "h1"}, {Network: "heron", Device: "h2"}, {Network: "heron", Device: "h3"}}
	for network, want := range map[string][]string{
		"":        {"k2", "k1", "h3", "h2", "h1"},
		"heron":   {"h3", "h2", "h1"},
		"curlew":  nil,
		"kestrel": {"k2", "k1"},
	} {
		var got []string
		for _, t := range renewals(all, network) {
			got = append(got, t.Device)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", network, got, want)
		}
	}
}

func TestEchoPath(t *testing.T) {
	now := time.Now()
	addresses := func(list ...string) (p []netip.Prefix) {
		for _, a := range list {
			p = append(p, netip.MustParsePrefix(a))
		}
		return p
	}
	peer := func(heard time.Time, accepted ...string) tunnels.PeerStatus {
		return tunnels.PeerStatus{AllowedIPs: addresses(accepted...), Seen: tunnels.Seen{LastHandshake: heard}}
	}
	own := addresses("100.64.1.1/32", "2001:db8:1::1/128")
	for name, c := range map[string]struct {
		peers []tunnels.PeerStatus
		want  string
	}{
		"a hub":                 {[]tunnels.PeerStatus{peer(now, "198.51.100.0/24", "100.64.0.1/32")}, "100.64.1.1 100.64.0.1"},
		"of sites the last":     {[]tunnels.PeerStatus{peer(now.Add(-time.Hour), "100.64.1.7/32"), peer(now, "100.64.1.8/32")}, "100.64.1.1 100.64.1.8"},
		"IPv6":                  {[]tunnels.PeerStatus{peer(now, "2001:db8:1::7/128")}, "2001:db8:1::1 2001:db8:1::7"},
		"no session":            {[]tunnels.PeerStatus{peer(time.Time{}, "100.64.1.7/32")}, ""},
		"no address of its own": {[]tunnels.PeerStatus{peer(now, "192.168.10.0/24")}, ""},
	} {
		from, to, ok := echoPath(tunnels.Status{Addresses: own, Peers: c.peers})
		if got := from.String() + " " + to.String(); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
	}
}
