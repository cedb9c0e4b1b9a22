package config

import (
	"cmp"
	"math"

	"github.com/ginnel/ginnel/tunnels"
)

// network reads [[network]].
func (t table) network() Network {
	t.only(networkKeys...)
	n := Network{
		Name:       t.name("name", "the name of the virtual network, as in kestrel"),
		Role:       t.role(),
		Address:    t.addresses("address"),
		LAN:        t.prefixes("lan"),
		Ingress:    t.links("ingress"),
		ListenPort: int(t.integer("listen_port", 1, math.MaxUint16)),
		MTU:        int(t.integer("mtu", mtuMin, mtuMax)),
		Probe:      cmp.Or(t.duration("probe_interval", probeMin, probeMax), DefaultProbe),
		Table:      int(t.integer("table", 1, tableMax)),
		Priority:   int(t.integer("priority", 1, priorityMax)),
		Device:     t.device(),
		MayCover:   t.words("may_cover"),
	}
	if v := t.v.of["address"]; v == nil {
		t.missing("address", "our own address inside the tunnel, as in [\"100.64.0.7/32\"]")
	} else if v.kind == arrayKind && len(v.list) == 0 {
		t.problem("address", "our own address inside the tunnel, as in [\"100.64.0.7/32\"]", "is empty")
	}
	if n.Table >= reservedTableLo && n.Table <= reservedTableHi {
		t.problem("table", "leave it out: it is derived from the name", "%d is one of the host's own tables", n.Table)
	}
	for _, m := range t.tables("map") {
		if one, ok := m.oneToOne(n.LAN); ok {
			n.Map = append(n.Map, one)
		}
	}
	hubs := t.tables("hub")
	for _, h := range hubs {
		n.Hubs = append(n.Hubs, h.hub())
	}
	for _, s := range t.tables("site") {
		n.Sites = append(n.Sites, s.peer(siteKeys, 0))
	}
	for _, a := range t.tables("allow") {
		n.Allow = append(n.Allow, a.allow())
	}
	t.fit(&n)
	n.derive()
	t.record(&n)
	for i, h := range hubs {
		h.takes("device", "", n.Hubs[i].Device)
	}
	return n
}

func (t table) role() tunnels.Role {
	s, ok := t.text("role", "")
	switch role := tunnels.Role(s); {
	case !ok, role == tunnels.Site:
		return tunnels.Site
	case role == tunnels.Hub:
		return tunnels.Hub
	}
	t.problem("role", `"site" or "hub"; left out it is site`, "%s is not a role", show(s))
	return ""
}

// fit checks that a network has what its role needs, and nothing of the other.
func (t table) fit(n *Network) {
	switch n.Role {
	case tunnels.Site:
		if t.v.of["hub"] == nil {
			t.missing("hub", "at least one [[network.hub]], or role = \"hub\"")
		}
		if t.v.of["site"] != nil {
			t.problem("site", `only a hub accepts sites: role = "hub"`, "does not go with the role site")
		}
		if t.v.of["device"] != nil {
			t.problem("device", "at a site each [[network.hub]] has its own device", "does not go with the role site")
		}
		if n.ListenPort != 0 && len(n.Hubs) > 1 {
			t.problem("listen_port", "leave it out: the kernel chooses one for each",
				"%d cannot be the port of the devices to %s", n.ListenPort, plural(len(n.Hubs), "hub"))
		}
	case tunnels.Hub:
		if t.v.of["hub"] != nil {
			t.problem("hub", "list the gateways that call in as [[network.site]]", "does not go with the role hub")
		}
	}
}

func (n *Network) derive() {
	if n.Role == tunnels.Hub {
		if n.ListenPort == 0 {
			n.ListenPort = hubPort
		}
		if n.Device == "" {
			n.Device = tunnels.DeviceName(n.Name, "")
		}
	}
	for i := range n.Hubs {
		if n.Hubs[i].Device == "" {
			n.Hubs[i].Device = tunnels.DeviceName(n.Name, n.Hubs[i].Name)
		}
	}
	if n.Table == 0 {
		n.Table = tunnels.TableNumber(n.Name)
	}
	if n.Priority == 0 {
		n.Priority = tunnels.RulePriority(n.Name)
	}
}
