package agent

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
)

func TestOneCauseOneBundle(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	e := evidence.Entry{Name: "records", Code: "GN-SVC-01", Object: "203.0.113.20", At: now}
	past := func(name, object string, before time.Duration) evidence.Entry {
		return evidence.Entry{Name: name, Code: "GN-SVC-01", Object: object, At: now.Add(-before)}
	}
	var day []evidence.Entry
	for i := range evidenceDaily {
		day = append(day, past("x", "y", time.Hour+time.Duration(i)*time.Minute))
	}
	for _, c := range []struct {
		name string
		past []evidence.Entry
		want bool
	}{
		{"nothing yet", nil, true},
		{"another", []evidence.Entry{past("mail", "203.0.113.25", time.Minute)}, true},
		{"the same check", []evidence.Entry{past("records", "other", 9*time.Minute)}, false},
		{"the same check, long ago", []evidence.Entry{past("records", "203.0.113.20", 10*time.Minute)}, true},
		{"the same cause", []evidence.Entry{past("echo", "203.0.113.20", time.Minute)}, false},
		{"a full day", day, false},
	} {
		if got := mayLook(c.past, e); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if !mayLook([]evidence.Entry{{Name: "a", At: now}}, evidence.Entry{Name: "b", At: now}) {
		t.Error("two of no known cause are one")
	}
}

func TestWorsened(t *testing.T) {
	for _, c := range []struct {
		from, to checks.State
		want     bool
	}{
		{checks.Up, checks.Down, true}, {checks.UnknownState, checks.Down, true}, {checks.DegradedState, checks.Down, true},
		{checks.Up, checks.DegradedState, true}, {checks.Down, checks.DegradedState, false}, {checks.DegradedState, checks.DegradedState, false},
		{checks.Down, checks.Up, false}, {checks.Up, checks.UnknownState, false}, {checks.Up, checks.MaintenanceMode, false},
	} {
		if got := worsened(checks.Edge{From: c.from, To: c.to}); got != c.want {
			t.Errorf("%s to %s: %v", c.from, c.to, got)
		}
	}
}

func TestManners(t *testing.T) {
	of := checks.Manners{National: []string{"*.example.org"}, MLLP: []string{"hl7.example.net:9001"}}
	for _, c := range []struct {
		target, kind string
		host, port   string
		path, mtu    bool
	}{
		{"203.0.113.20:443", "tcp", "203.0.113.20", "443", true, true},
		{"http://records.example.net/x", "http", "records.example.net", "80", true, true},
		{"https://[2001:db8::1]:8443/", "http", "2001:db8::1", "8443", true, true},
		{"2001:db8::1", "icmp", "2001:db8::1", "443", true, true},
		{"hl7.example.net:2575", "tcp", "hl7.example.net", "2575", false, false},
		{"hl7.example.net:9000", "mllp", "hl7.example.net", "9000", false, false},
		{"ldap.example.nhs.uk:636", "tls", "ldap.example.nhs.uk", "636", false, false},
		{"portal.example.org:443", "tcp", "portal.example.org", "443", false, false},
		{"hl7.example.net:9001", "tcp", "hl7.example.net", "9001", false, false},
		{"notnhs.uk:636", "tls", "notnhs.uk", "636", true, true},
		{"", "link", "", "443", false, false},
	} {
		host, port := placeOf(c.target)
		if host != c.host || port != c.port {
			t.Errorf("%s: %s %s", c.target, host, port)
		}
		m := mannersOf(of, checks.Spec{Kind: c.kind, Target: checks.Target{Address: c.target}}, host)
		if (m.Path == "") != c.path || (m.MTU == "") != c.mtu {
			t.Errorf("%s %s: %+v", c.kind, c.target, m)
		}
	}
}

func TestMannersOfWhatIsOff(t *testing.T) {
	of := checks.Manners{Off: []checks.Off{{Kind: "path", Reason: "the ICB asked"}}}
	m := mannersOf(of, checks.Spec{Target: checks.Target{Address: "203.0.113.20:443"}}, "203.0.113.20")
	if m.Path != "switched off: the ICB asked" || m.MTU != "" {
		t.Errorf("%+v", m)
	}
}

func TestLinkCounters(t *testing.T) {
	got := linkCounters(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
  eth0:123456789    1234    5    6    0     0          0         0  4321     43    7    8    0     0       0          0
`)
	want := evidence.Link{Name: "eth0", Then: evidence.Counters{RxBytes: 123456789, RxPackets: 1234, RxErrors: 5, RxDropped: 6, TxBytes: 4321, TxPackets: 43, TxErrors: 7, TxDropped: 8}}
	if len(got) != 2 || got[1] != want {
		t.Errorf("%+v", got)
	}
}

func TestJoined(t *testing.T) {
	p := func(at ...float64) (list []evidence.Packet) {
		for _, a := range at {
			list = append(list, evidence.Packet{At: a})
		}
		return list
	}
	if got := joined(p(-2, -1, 0), p(-1, 0, 1, 2)); len(got) != 5 || got[4].At != 2 || got[0].At != -2 {
		t.Errorf("%v", got)
	}
	if got := joined(nil, p(1)); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// A tunnel's name is that of its hub's endpoint, which its address hides.
func TestEndpointName(t *testing.T) {
	a := &Agent{config: &config.Config{Networks: []config.Network{
		{Name: "kestrel", Hubs: []config.Hub{{Peer: config.Peer{Name: "hub-north"}, Endpoints: []string{"192.0.2.10:51820", "hub-north.example.net:51820"}}}},
		{Name: "heron", Hubs: []config.Hub{{Peer: config.Peer{Name: "hub-south"}, Endpoints: []string{"[2001:db8::20]:51820"}}}},
	}}}
	for _, test := range [][3]string{{"kestrel", "hub-north", "hub-north.example.net"}, {"heron", "hub-south", ""}, {"kestrel", "hub-south", ""}} {
		if got := a.endpointName(test[0], test[1]); got != test[2] {
			t.Errorf("%s/%s: %q, want %q", test[0], test[1], got, test[2])
		}
	}
	if got := new(Agent).endpointName("kestrel", "hub-north"); got != "" {
		t.Errorf("without a config: %q", got)
	}
}
