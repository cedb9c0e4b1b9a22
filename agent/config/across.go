package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/tunnels"
)

// claim is a prefix somewhere in the file.
type claim struct {
	prefix netip.Prefix
	field  string // "address", "lan", "as" or "allowed_ips"
	owner  string // path of the table that has it
	path   string
	at     place
}

// network is the path of the network that the claim belongs to.
func (c claim) network() string {
	i := strings.IndexByte(c.owner, ']')
	return c.owner[:i+1]
}

// use is something that only one may have: a name, a key, a port, a device.
type use struct {
	class string // the key
	scope string // within which it must be alone
	value string
	owner string // path of the table that has it
	path  string
	at    place

	derived bool // nobody wrote it
}

// takes records that a table uses a value that must be its own.
func (t table) takes(class, scope, value string) {
	if value == "" || value == "0" {
		return
	}
	t.r.uses = append(t.r.uses, use{class: class, scope: scope, value: value,
		owner: t.path, path: join(t.path, class), at: t.at(class), derived: t.v.of[class] == nil})
}

// listOf is the path of the list that a table stands in.
func (t table) listOf() string {
	i := strings.LastIndexByte(t.path, '[')
	return t.path[:max(i, 0)]
}

// across holds the rules between parts of the file.
type across struct {
	r *reader
	c *Config
}

func (a across) all() {
	a.alone()
	a.addresses()
	a.accepted()
	a.checkNetworks()
	a.mannered()
	a.echoed()
}

// alone names what two have and only one may.
func (a across) alone() {
	type id struct{ class, scope, value string }
	first := map[id]use{}
	namesakes := map[string]bool{} // what is derived from their names is the same too
	for _, u := range a.r.uses {
		k := id{u.class, u.scope, u.value}
		f, taken := first[k]
		if !taken {
			first[k] = u
			continue
		}
		if u.class == "name" {
			namesakes[u.owner] = true
		} else if u.derived && namesakes[u.owner] {
			continue
		}
		switch u.class {
		case "public_key":
			a.r.problem(u.at, u.path, "every gateway has a key of its own in each network", "is the key of %s as well", f.owner)
		case "name":
			a.r.problem(u.at, u.path, "", "%s is the name of %s as well", show(u.value), f.owner)
		default:
			a.r.problem(u.at, u.path, "give one of them another "+u.class,
				"%s is the %s of %s as well", u.value, strings.ReplaceAll(u.class, "_", " "), f.owner)
		}
	}
}

// addresses names an overlay address that is ours twice.
func (a across) addresses() {
	first := map[netip.Prefix]claim{}
	for _, c := range a.r.claims {
		if c.field != "address" {
			continue
		}
		switch f, taken := first[c.prefix]; {
		case !taken:
			first[c.prefix] = c
		case f.owner == c.owner:
			a.r.problem(c.at, c.path, "the first is "+f.path, "\"%v\" is listed twice", c.prefix)
		default:
			a.r.problem(c.at, c.path, "each network has overlay addresses of its own",
				"\"%v\" is our address in %s as well", c.prefix, f.owner)
		}
	}
}

// accepted compares every accepted prefix with what is around it or in it: our
// own addresses and LANs, the other sites of a hub, the other networks.
func (a across) accepted() {
	list := slices.Clone(a.r.claims)
	slices.SortStableFunc(list, func(x, y claim) int {
		return cmp.Or(x.prefix.Addr().Compare(y.prefix.Addr()), cmp.Compare(x.prefix.Bits(), y.prefix.Bits()))
	})
	told := map[string]bool{}
	var around []claim
	for _, c := range list {
		around = slices.DeleteFunc(around, func(o claim) bool { return !o.prefix.Overlaps(c.prefix) })
		for _, o := range around {
			later, earlier := c, o
			if later.at.before(earlier.at) {
				later, earlier = earlier, later
			}
			if !told[later.path] {
				told[later.path] = a.pair(later, earlier)
			}
		}
		around = append(around, c)
	}
}

// pair judges two overlapping prefixes; true if it had to say something.
func (a across) pair(later, earlier claim) bool {
	same := later.network() == earlier.network()
	switch {
	case earlier.field == "as" || later.field == "as":
		return same && a.mapped(later, earlier)
	case earlier.field == "lan" && later.field == "lan":
		return a.oneHub(later, earlier)
	case later.field != "allowed_ips" && earlier.field == "allowed_ips":
		later, earlier = earlier, later
	case later.field != "allowed_ips":
		return false
	}
	say := func(hint, format string, args ...any) bool {
		a.r.problem(later.at, later.path, hint, "\"%v\" "+format, append([]any{later.prefix}, args...)...)
		return true
	}
	switch {
	case earlier.field == "address" && later.prefix == earlier.prefix:
		return say("list the other end's address", "is our own address, %s", earlier.path)
	case earlier.field == "lan" && same:
		return say("list only what is behind the other end", "overlaps %s, %v, which is on our side", earlier.path, earlier.prefix)
	case earlier.field != "allowed_ips", later.owner == earlier.owner:
		return false
	case same && strings.Contains(later.owner, ".site["):
		return say("a prefix leads to one site; one of the two needs another", "overlaps %s, %v", earlier.path, earlier.prefix)
	case same:
		return false // hubs in order of preference
	}
	from := a.shared(later.network(), earlier.network())
	if from == "" {
		return false
	}
	return say("a packet must belong to one network: part the prefixes, or the ingress",
		"overlaps %s, %v, for the same traffic: %s", earlier.path, earlier.prefix, from)
}

// mapped names what a network has already, and a map of its LAN wants as well.
func (a across) mapped(one, other claim) bool {
	if one.field != "as" {
		one, other = other, one
	}
	a.r.problem(one.at, one.path, "a prefix that nothing else in the network has", "\"%v\" overlaps %s, %v",
		one.prefix, other.path, other.prefix)
	return true
}

// oneHub names a prefix behind two hubs that are one gateway: the host has one
// way to it, and so it can be of one network only.
func (a across) oneHub(later, earlier claim) bool {
	m, n := a.at(later.network()), a.at(earlier.network())
	if m == nil || n == nil || m == n || m.Role != tunnels.Hub || n.Role != tunnels.Hub {
		return false
	}
	a.r.problem(later.at, later.path, "part the prefixes, or give one network another gateway as its hub",
		"\"%v\" overlaps %s, %v, behind the same hub", later.prefix, earlier.path, earlier.prefix)
	return true
}

// shared says which traffic may enter both networks; empty if none.
func (a across) shared(one, two string) string {
	m, n := a.at(one), a.at(two)
	if m == nil || n == nil {
		return ""
	}
	switch {
	case len(m.Ingress) > 0 && len(n.Ingress) > 0:
		for _, l := range m.Ingress {
			if slices.Contains(n.Ingress, l) {
				return "from " + l
			}
		}
		return ""
	case len(m.Ingress) > 0 && len(n.LAN) > 0:
		return fmt.Sprintf("%v may come from %s", n.LAN[0], m.Ingress[0])
	case len(n.Ingress) > 0 && len(m.LAN) > 0:
		return fmt.Sprintf("%v may come from %s", m.LAN[0], n.Ingress[0])
	}
	for _, p := range m.LAN {
		for _, q := range n.LAN {
			if p.Overlaps(q) {
				return fmt.Sprintf("from %v", narrower(p, q))
			}
		}
	}
	return ""
}

func narrower(p, q netip.Prefix) netip.Prefix {
	if p.Bits() > q.Bits() {
		return p
	}
	return q
}

func (a across) at(path string) *Network { return a.r.networks[path] }

// checkNetworks names checks of networks that are not in the file.
func (a across) checkNetworks() {
	var names []string
	for _, n := range a.c.Networks {
		if !isName(n.Name) {
			return // told, and perhaps the one that is meant
		}
		names = append(names, n.Name)
	}
	for _, u := range a.r.through {
		if slices.Contains(names, u.value) {
			continue
		}
		hint := nearest(u.value, names)
		if hint == "" && len(names) > 0 {
			hint = oneOf(names) + "; left out, the check goes beside the tunnels"
		}
		a.r.problem(u.at, u.path, hint, "there is no network %s here", show(u.value))
	}
}

func (p place) before(o place) bool {
	return cmp.Or(cmp.Compare(p.line, o.line), cmp.Compare(p.column, o.column)) < 0
}

// record tells the reader what a network uses that must be its own.
func (t table) record(n *Network) {
	t.r.networks[t.path] = n
	t.takes("name", t.listOf(), n.Name)
	t.takes("table", "", fmt.Sprint(n.Table))
	if n.Role == tunnels.Hub {
		t.takes("device", "", n.Device)
	}
	t.takes("listen_port", "", fmt.Sprint(n.ListenPort))
}
