package host

import (
	"errors"
	"net/netip"
	"testing"
)

// The WAN port is seen as it is, also when it has lost its carrier or is gone,
// and a router that does not answer is known by the neighbour table.
func TestTheWANIsSeenAsItIs(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	sh(t, "ip link add wan0 type veth peer name far0")
	sh(t, "ip addr add 192.0.2.129/31 dev wan0")
	sh(t, "ip link set wan0 up")
	sh(t, "ip link set far0 up")
	sh(t, "ip route add default via 192.0.2.128 dev wan0")
	look := func() (Port, []Hop) {
		t.Helper()
		ports, err := h.Ports([]string{"wan0"})
		must(t, err)
		hops, err := h.Hops()
		must(t, err)
		return ports[0], hops
	}
	p, hops := look()
	if !p.There || !p.Up || !p.Carrier || len(p.Addresses) != 1 || len(hops) != 1 || hops[0].Link != "wan0" || hops[0].Silent {
		t.Errorf("well: %+v, %+v", p, hops)
	}
	sh(t, "ip neigh add 192.0.2.128 dev wan0 nud failed")
	if _, hops = look(); len(hops) != 1 || !hops[0].Silent || hops[0].Answers {
		t.Errorf("the router is silent: %+v", hops)
	}
	sh(t, "ip neigh change 192.0.2.128 dev wan0 lladdr 02:00:00:00:00:01 nud reachable")
	if _, hops = look(); len(hops) != 1 || hops[0].Silent || !hops[0].Answers {
		t.Errorf("the router answers: %+v", hops)
	}
	sh(t, "ip link set far0 down")
	if p, _ = look(); !p.Up || p.Carrier {
		t.Errorf("without carrier: %+v", p)
	}
	sh(t, "ip link del wan0")
	if p, hops = look(); p.There || len(hops) != 0 {
		t.Errorf("gone: %+v, %+v", p, hops)
	}
}

// The kernel is asked where it would send a packet of the LAN, so a rule of
// somebody else that takes it first is seen.
func TestTheKernelTellsTheWay(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	sh(t, "ip link add lan0 type veth peer name host0")
	sh(t, "ip addr add 192.168.10.1/24 dev lan0")
	sh(t, "ip link set lan0 up")
	sh(t, "ip link set host0 up")
	sh(t, "ip link add out0 type veth peer name out1; ip link set out1 up")
	sh(t, "ip link add else0 type veth peer name else1; ip link set else1 up")
	sh(t, "ip link set out0 up")
	sh(t, "ip link set else0 up")
	sh(t, "ip route add 203.0.113.0/24 dev out0 table 7102")
	sh(t, "ip route add default dev else0 table 99")
	sh(t, "ip rule add from 192.168.10.0/24 lookup 7102 priority 5012")
	must(t, writeSysctl("net/ipv4/ip_forward", "1"))
	lan, to := netip.MustParsePrefix("192.168.10.0/24"), netip.MustParseAddr("203.0.113.40")
	w, from, err := h.Way(lan, to, "")
	if err != nil || w.Device != "out0" || w.Table != 7102 || !lan.Contains(from) || from == netip.MustParseAddr("192.168.10.1") {
		t.Errorf("as wanted: %+v from %s, %v", w, from, err)
	}
	sh(t, "ip rule add from 192.168.10.0/24 lookup 99 priority 100")
	if w, _, err = h.Way(lan, to, "lan0"); err != nil || w.Device != "else0" || w.Table != 99 || w.Rule != "100: from 192.168.10.0/24 lookup 99" {
		t.Errorf("with somebody else's rule: %+v, %v", w, err)
	}
	sh(t, "ip rule del priority 100")
	sh(t, "ip route replace unreachable 203.0.113.0/24 table 7102")
	if w, _, err = h.Way(lan, to, ""); err != nil || !w.Refused {
		t.Errorf("refused: %+v, %v", w, err)
	}
	if _, _, err = h.Way(netip.MustParsePrefix("192.168.99.0/24"), to, ""); !errors.Is(err, ErrNoProbe) {
		t.Errorf("from a LAN that is not here: %v", err)
	}
}
