package tunnels

import (
	"net/netip"
	"slices"
	"strings"
)

// ingress is the links by which the site's own traffic comes in: those that are
// named, else those with an address inside what we bring to the network.
func (w *wanting) ingress(n Network) []Link {
	var in []Link
	for _, name := range n.Ingress {
		i := slices.IndexFunc(w.facts.Links, func(l Link) bool { return l.Name == name })
		if i >= 0 {
			in = append(in, w.facts.Links[i])
			continue
		}
		if len(w.facts.Links) > 0 {
			w.problem(n, LANPart, "compare `ip link` with ingress in the config", "ingress link %s is not on this host", name)
		}
		in = append(in, Link{Name: name})
	}
	if len(n.Ingress) > 0 {
		return in
	}
	for _, p := range n.LAN {
		found := false
		for _, l := range w.facts.Links {
			if !slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return p.Contains(a.Addr()) }) {
				continue
			}
			found = true
			if l.Name == "lo" {
				continue // an address of the host's own, and nobody's way in
			}
			if !slices.ContainsFunc(in, func(x Link) bool { return x.Name == l.Name }) {
				in = append(in, l)
			}
		}
		if !found && len(w.facts.Links) > 0 {
			w.problem(n, LANPart, "name the link: ingress = [\"eth1\"]",
				"no link has an address in the LAN %v: nothing is forwarded from it", p)
		}
	}
	return in
}

// forwarding wants packets passed on between the site's links and the tunnels,
// and nothing else changed: per link for IPv4. Linux forwards IPv6 for all
// links or none, and a host that forwards stops to take router advertisements
// unless accept_ra is 2, so that comes first, and all of it only where the
// network carries IPv6.
func (w *wanting) forwarding(n Network, ingress []Link) {
	four, six := families(n)
	if four {
		for _, l := range ingress {
			if !l.Forwarding && (len(w.facts.Links) == 0 || w.linkIsThere(l.Name)) {
				w.setting(n, "net/ipv4/conf/"+l.Name+"/forwarding", "1")
			}
		}
		for _, t := range n.Devices {
			w.setting(n, "net/ipv4/conf/"+t.Device+"/forwarding", "1")
		}
	}
	if six && len(ingress) > 0 && !w.facts.Forwarding6 {
		for _, l := range w.facts.Links {
			if l.TakesRA && l.Name != "lo" {
				w.setting(n, "net/ipv6/conf/"+l.Name+"/accept_ra", "2")
			}
		}
		w.setting(n, allForwarding6, "1")
	}
}

const allForwarding6 = "net/ipv6/conf/all/forwarding"

// loosen lets packets of the network come out of its devices on a host that
// wants every packet to come in by the link that leads back: to the host's own
// routing, which does not know who is behind a tunnel, none does. That
// their sources are the peer's own, WireGuard sees to. No other link is touched.
func (w *wanting) loosen(n Network) {
	if !w.facts.StrictPaths {
		return
	}
	for _, t := range n.Devices {
		w.setting(n, "net/ipv4/conf/"+t.Device+"/rp_filter", "2")
	}
}

func (w *wanting) linkIsThere(name string) bool {
	return slices.ContainsFunc(w.facts.Links, func(l Link) bool { return l.Name == name })
}

// families tells which IP versions are forwarded: those that both sides of the
// gateway have.
func families(n Network) (four, six bool) {
	var lan, net [7]bool
	for _, p := range n.LAN {
		lan[family(p)] = true
	}
	if len(n.LAN) == 0 && len(n.Ingress) > 0 {
		lan[4], lan[6] = true, true
	}
	for _, a := range accepted(n) {
		net[family(a)] = true
	}
	return lan[4] && net[4], lan[6] && net[6]
}

func (w *wanting) setting(n Network, path, value string) {
	if !w.settings[path] {
		w.settings[path] = true
		w.Settings = append(w.Settings, Setting{Network: n.Name, Path: path, Value: value})
	}
}

// ofDevice is true for a setting below one of the devices: it comes and goes
// with the link.
func ofDevice(s Setting, devices []Device) bool {
	return slices.ContainsFunc(devices, func(d Device) bool { return s.link() == d.Name })
}

// link is the link that a setting belongs to; empty: none.
func (s Setting) link() string {
	part := strings.Split(s.Path, "/")
	if len(part) == 5 && part[0] == "net" && part[2] == "conf" && part[3] != "all" && part[3] != "default" {
		return part[3]
	}
	return ""
}
