package tunnels

import (
	"fmt"
	"net/netip"
	"slices"
)

const (
	// DefaultMTU is WireGuard's on a line of 1500 bytes.
	DefaultMTU = 1420
	// RouteMetric is the metric of a route into a tunnel.
	RouteMetric = 100
	// UnreachableMetric is that of the refusing route behind it.
	UnreachableMetric = 20000
)

// Problem is something in the Spec that cannot be had on this host as it is.
// The rest is wanted all the same.
type Problem struct {
	Network string
	Part    Part
	Text    string
	Hint    string // what to do about it; may be empty
}

func (p Problem) String() string { return p.Network + ": " + p.Text }

// Part is what of a network a Problem is about.
type Part string

const (
	LANPart     Part = "lan" // a link or an address of the site's own side
	DevicePart  Part = "device"
	PeerPart    Part = "peer"
	AddressPart Part = "address"
	FamilyPart  Part = "IPv6"
)

// Want says what of ours should be on a host. endpoints gives the addresses of
// a "host:port", the best first, and nothing while the name is not known. It
// neither waits nor fails: what is not known yet is left out, and is there the
// next time.
func Want(spec Spec, facts Facts, endpoints func(hostport string) []netip.AddrPort) (State, []Problem) {
	w := wanting{facts: facts, endpoints: endpoints, settings: map[string]bool{}, inside: map[string]bool{}}
	for _, n := range spec.Networks {
		for _, l := range w.ingress(n) {
			w.inside[l.Name] = true
		}
	}
	w.problems = nil // the networks tell theirs themselves
	for _, n := range spec.Networks {
		w.network(n)
	}
	return w.State, w.problems
}

// Guard is the part of the wanted State that refuses, and that needs no link:
// filters, unreachable routes and rules. The boot guard puts it in place before
// any link is up. It knows no uplinks, so WireGuard is reachable from nowhere
// yet; no link of our side, so that nothing passes between it and a tunnel;
// and nothing of who forwards: that is left to the host as it boots. Of facts
// it takes only whether there is IPv6.
func Guard(spec Spec, facts Facts) State {
	want, _ := Want(spec, Facts{NoIPv6: facts.NoIPv6}, func(string) []netip.AddrPort { return nil })
	guard := refusals(want)
	guard.Settings = nil
	for i := range guard.Filters {
		f := &guard.Filters[i]
		f.Ingress, f.Own, f.Shared, f.Only, f.Only6 = nil, nil, nil, nil, false
		f.Digest = f.Sum()
	}
	return guard
}

// refusals is s without its tunnels: what `ginnel down` leaves.
func refusals(s State) State {
	return State{
		Filters:  s.Filters,
		Rules:    s.Rules,
		Routes:   slices.DeleteFunc(slices.Clone(s.Routes), func(r Route) bool { return !r.Unreachable }),
		Settings: slices.DeleteFunc(slices.Clone(s.Settings), func(x Setting) bool { return ofDevice(x, s.Devices) }),
	}
}

// wanting is a State as it grows.
type wanting struct {
	State
	facts     Facts
	endpoints func(string) []netip.AddrPort
	settings  map[string]bool // paths that are wanted already
	inside    map[string]bool // links that are an ingress of some network
	problems  []Problem
}

func (w *wanting) problem(n Network, part Part, hint, format string, args ...any) {
	w.problems = append(w.problems, Problem{Network: n.Name, Part: part, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (w *wanting) network(n Network) {
	if w.facts.NoIPv6 {
		n = w.withoutIPv6(n)
	}
	ingress := w.ingress(n)
	for _, t := range n.Devices {
		w.device(n, t)
	}
	w.routes(n)
	w.rules(n)
	w.filter(n, ingress)
	w.forwarding(n, ingress)
	w.enable6(n)
	w.loosen(n)
}

// routes leads each accepted prefix to the device of the first hub that lists
// it, and refuses it behind that. A device that is known to be dead keeps the
// route to its hub's own address only, by which it is seen to come back: the rest
// is refused at once, and not sent to where nobody answers; and so is what is
// for peers that are shut out.
func (w *wanting) routes(n Network) {
	prefixes := len(accepted(n))
	taken := make(map[netip.Prefix]bool, prefixes)
	w.Routes = slices.Grow(w.Routes, 2*prefixes)
	for _, d := range w.Devices {
		if d.Network != n.Name {
			continue
		}
		for _, p := range d.Peers {
			for _, prefix := range p.AllowedIPs {
				if taken[prefix] {
					continue
				}
				taken[prefix] = true
				w.Routes = append(w.Routes,
					Route{Network: n.Name, Table: n.Table, Prefix: prefix, Unreachable: true, Metric: UnreachableMetric})
				if own, _ := OwnAddress(p.AllowedIPs); w.facts.Dead[d.Name] && prefix != own {
					continue
				}
				w.Routes = append(w.Routes, Route{Network: n.Name, Table: n.Table, Prefix: prefix, Device: d.Name,
					Metric: RouteMetric, Source: source(n, prefix)})
			}
		}
	}
	for _, prefix := range n.Refused {
		if !taken[prefix] {
			taken[prefix] = true
			w.Routes = append(w.Routes,
				Route{Network: n.Name, Table: n.Table, Prefix: prefix, Unreachable: true, Metric: UnreachableMetric})
		}
	}
}

// OwnAddress is the address of a hub itself among what is accepted from it: the
// first single one. False: there is none.
func OwnAddress(accepted []netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(accepted, netip.Prefix.IsSingleIP)
	if i < 0 {
		return netip.Prefix{}, false
	}
	return accepted[i], true
}

// source is our overlay address of the prefix's family; zero if we have none.
func source(n Network, prefix netip.Prefix) netip.Addr {
	for _, a := range n.Addresses {
		if a.Addr().Is4() == prefix.Addr().Is4() {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// rules leads what belongs to the network into its table: what comes from its
// side of the site, what is bound to its devices or overlay addresses, and what
// came out of a tunnel, so that a packet for another site is never sent to the
// WAN in the clear; nor is what this host itself says from its address in the
// LAN, where the way in is a link ("iif lo" is this host).
func (w *wanting) rules(n Network) {
	priority := n.Priority
	add := func(r Rule, families ...int) {
		for _, f := range families {
			if f == 6 && w.facts.NoIPv6 {
				continue
			}
			r.Network, r.Family, r.Priority, r.Table = n.Name, f, priority, n.Table
			w.Rules = append(w.Rules, r)
		}
		// Beyond the span the last priority serves for all: these rules
		// all lead to one table, their order means nothing.
		priority = min(priority+1, n.Priority+PrioritySpan-1)
	}
	for _, link := range n.Ingress {
		add(Rule{Iif: link}, 4, 6)
	}
	for _, p := range n.LAN {
		if len(n.Ingress) == 0 {
			add(Rule{From: p.Masked()}, family(p))
		} else {
			add(Rule{Iif: "lo", From: p.Masked()}, family(p))
		}
	}
	for _, t := range n.Devices {
		add(Rule{Iif: t.Device}, 4, 6)
		add(Rule{Oif: t.Device}, 4, 6)
	}
	for _, a := range n.Addresses {
		add(Rule{From: netip.PrefixFrom(a.Addr(), a.Addr().BitLen())}, family(a))
	}
}

func family(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 4
	}
	return 6
}
