package builtin

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/internal/impair"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// impairedMTU is that of the link to the impaired places.
const impairedMTU = 1460

// impaired is what a kind makes of a place that misbehaves.
type impaired struct {
	name     string
	kind     checks.Kind
	rules    impair.Rules
	options  map[string]any
	timeout  time.Duration // 0: two seconds
	verdict  checks.Verdict
	reason   checks.Reason
	phase    checks.Phase
	sent     int
	received int
	odd      checks.Odd
	detail   string // with ADDRESS for the target; empty: none
}

// impairedICMP drives every verdict and count of icmp.
func impairedICMP() []impaired {
	icmp := ICMP()
	const ms = time.Millisecond
	router := netip.MustParseAddr("203.0.113.254")
	return []impaired{
		{"good", icmp, impair.Rules{}, nil, 0, checks.OK, "", "", 3, 3, checks.Odd{}, ""},
		{"far", icmp, impair.Rules{Delay: 80 * ms, Jitter: 5 * ms}, nil, 0, checks.OK, "", "", 3, 3, checks.Odd{}, ""},
		{"all lost", icmp, impair.Rules{Loss: 1}, nil, 300 * ms, checks.Failed, checks.Timeout, checks.PhaseResponse, 3, 0, checks.Odd{},
			"no reply from ADDRESS to 3 requests"},
		{"a burst lost", icmp, impair.Rules{BurstEvery: 5, BurstLength: 2}, map[string]any{"count": int64(10), "gap": "10ms"}, 300 * ms,
			checks.Degraded, checks.Loss, checks.PhaseResponse, 10, 6, checks.Odd{}, "6 of 10 replies from ADDRESS"},
		{"an answer lost", icmp, impair.Rules{LoseAnswer: 3}, nil, 300 * ms, checks.Degraded, checks.Loss, checks.PhaseResponse, 3, 2, checks.Odd{},
			"2 of 3 replies from ADDRESS"},
		{"no ICMP", icmp, impair.Rules{NoICMP: true}, nil, 300 * ms, checks.Failed, checks.Timeout, checks.PhaseResponse, 3, 0, checks.Odd{},
			"no reply from ADDRESS to 3 requests"},
		{"one changed", icmp, impair.Rules{Corrupt: 2}, nil, 0, checks.Degraded, checks.Loss, checks.PhaseResponse, 3, 2, checks.Odd{Corrupt: 1},
			"2 of 3 replies from ADDRESS, 1 came back changed"},
		{"all changed", icmp, impair.Rules{Corrupt: 1}, nil, 0, checks.Failed, checks.Protocol, checks.PhaseResponse, 3, 0, checks.Odd{Corrupt: 3},
			"all 3 replies from ADDRESS came back changed"},
		{"one damaged", icmp, impair.Rules{Damage: 2}, nil, 300 * ms, checks.Degraded, checks.Loss, checks.PhaseResponse, 3, 2, checks.Odd{},
			"2 of 3 replies from ADDRESS"},
		{"two doubled", icmp, impair.Rules{Duplicate: 2}, map[string]any{"count": int64(5), "gap": "20ms"}, 0, checks.OK, "", "", 5, 5, checks.Odd{Duplicate: 2}, ""},
		{"one overtaken", icmp, impair.Rules{HoldBack: 2}, nil, 0, checks.OK, "", "", 3, 3, checks.Odd{Reordered: 1}, ""},
		{"one late", icmp, impair.Rules{Late: 3, LateBy: 200 * ms}, map[string]any{"wait": "100ms"}, 0,
			checks.Degraded, checks.Loss, checks.PhaseResponse, 3, 2, checks.Odd{Late: 1}, "2 of 3 replies from ADDRESS, 1 came too late"},
		{"all late", icmp, impair.Rules{Delay: 200 * ms}, map[string]any{"wait": "100ms"}, 0,
			checks.Failed, checks.Timeout, checks.PhaseResponse, 3, 0, checks.Odd{Late: 3}, "no reply from ADDRESS to 3 requests, 3 came too late"},
		{"no such host", icmp, impair.Rules{Deny: impair.HostUnreachable}, nil, 0, checks.Failed, checks.Unreachable, checks.PhaseRoute, 3, 0, checks.Odd{},
			"ADDRESS says: no route to host"},
		{"a filter", icmp, impair.Rules{Deny: impair.Prohibited, By: router}, nil, 0, checks.Failed, checks.Unreachable, checks.PhaseRoute, 3, 0, checks.Odd{},
			"ROUTER says: FILTERED"},
		{"a filter that hides", icmp, impair.Rules{Deny: impair.Prohibited, NoICMP: true}, nil, 300 * ms, checks.Failed, checks.Timeout, checks.PhaseResponse, 3, 0, checks.Odd{},
			"no reply from ADDRESS to 3 requests"},
		{"too far", icmp, impair.Rules{Hops: 4}, map[string]any{"ttl": int64(4)}, 0, checks.Failed, checks.Unreachable, checks.PhaseRoute, 3, 0, checks.Odd{},
			"ADDRESS says: no route to host"},
		{"not too far", icmp, impair.Rules{Hops: 4}, map[string]any{"ttl": int64(5)}, 0, checks.OK, "", "", 3, 3, checks.Odd{}, ""},
		{"too long", icmp, impair.Rules{MTU: 1300, Tell: true}, map[string]any{"size": int64(1380), "df": true}, 0,
			checks.Failed, checks.Unreachable, checks.PhaseRoute, 3, 0, checks.Odd{}, "ADDRESS says: too long for the way to ADDRESS, which takes 1300 bytes"},
		{"too long, a black hole", icmp, impair.Rules{MTU: 1300}, map[string]any{"size": int64(1380), "df": true}, 300 * ms,
			checks.Failed, checks.Timeout, checks.PhaseResponse, 3, 0, checks.Odd{}, "no reply from ADDRESS to 3 requests"},
		{"too long for our link", icmp, impair.Rules{}, map[string]any{"size": int64(1472), "df": true}, 0,
			checks.Failed, checks.Unreachable, checks.PhaseRoute, 0, 0, checks.Odd{Unsent: 3}, "this host says: too long for the way to ADDRESS, which takes 1460 bytes"},
	}
}

func TestImpaired(t *testing.T) {
	allowGroups(t, "0 0")
	far, err := impair.Open(impair.Options{Seed: 1, MTU: impairedMTU, Local: []netip.Prefix{
		netip.MustParsePrefix("203.0.113.1/24"), netip.MustParsePrefix("2001:db8:5::1/64")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() }) // when the parallel ones have ended
	for _, base := range []string{"203.0.113.2", "2001:db8:5::2"} {
		for _, test := range impairedICMP() {
			address := netip.MustParseAddr(base)
			base = address.Next().String()
			t.Run(test.name+"/"+address.String(), func(t *testing.T) {
				t.Parallel()
				test.run(t, far, address)
			})
		}
	}
}

func (i impaired) run(t *testing.T, far *impair.Responder, address netip.Addr) {
	filtered := "no route to host"
	if address.Is6() {
		i.rules.By, filtered = netip.Addr{}, "permission denied"
	}
	far.Set(address, i.rules)
	if i.timeout == 0 {
		i.timeout = 2 * time.Second
	}
	r := check(t, i.kind, checks.Target{Address: address.String(), Timeout: i.timeout, Options: i.options})
	expect(t, r, i.verdict, i.reason, i.phase)
	router := address.String()
	if i.rules.By.IsValid() {
		router = i.rules.By.String()
	}
	detail := strings.NewReplacer("ADDRESS", address.String(), "ROUTER", router, "FILTERED", filtered).Replace(i.detail)
	if r.Sent != i.sent || r.Received != i.received || r.Detail != detail {
		t.Errorf("%d of %d, %q; want %d of %d, %q", r.Received, r.Sent, r.Detail, i.received, i.sent, detail)
	}
	if diff := cmp.Diff(i.odd, r.Odd); diff != "" {
		t.Error(diff)
	}
	for _, rtt := range r.RTT {
		if least := i.rules.Delay; rtt < least || rtt > least+i.rules.Jitter+100*time.Millisecond {
			t.Errorf("RTT %v, the answers took %v and up to %v more", rtt, least, i.rules.Jitter)
		}
	}
	if len(r.RTT) > 0 && r.Stamps != checks.KernelStamps {
		t.Errorf("stamps by %q", r.Stamps)
	}
}

// A link that takes no more is our fault, not loss.
func TestNoRoomToSendIsOurFault(t *testing.T) {
	allowGroups(t, "0 0")
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "narrow"}, PeerName: "narrow1"}); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName("narrow")
	if err != nil {
		t.Fatal(err)
	}
	defer netlink.LinkDel(link)
	peer, err := netlink.LinkByName("narrow1")
	if err != nil {
		t.Fatal(err)
	}
	address, _ := netlink.ParseAddr("198.18.9.1/24")
	far := netip.MustParseAddr("198.18.9.2")
	for _, do := range []func() error{
		func() error { return netlink.AddrAdd(link, address) },
		func() error { return netlink.LinkSetUp(link) },
		func() error { return netlink.LinkSetUp(peer) },
		func() error {
			return netlink.NeighAdd(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: far.AsSlice(), HardwareAddr: []byte{2, 0, 0, 0, 0, 9}})
		},
		func() error {
			return netlink.QdiscAdd(&netlink.Tbf{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
				Rate: 1000, Limit: 200, Buffer: netlink.Xmittime(1000, 200)})
		},
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	r := check(t, ICMP(), checks.Target{Address: far.String(), Timeout: 500 * time.Millisecond, Options: map[string]any{"count": int64(5), "gap": "10ms", "size": int64(400)}})
	expect(t, r, checks.Unknown, checks.SelfFault, checks.PhaseRequest)
	if r.Odd.Unsent == 0 || r.Sent+r.Odd.Unsent != 5 {
		t.Errorf("got %+v", r)
	}
}
