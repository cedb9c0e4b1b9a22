package host

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// Taken tells what the Spec needs and somebody else has: device names, routing
// tables, rule priorities and UDP ports. What we have ourselves, or a former
// process of ours left, is not taken. It writes nothing.
func (h *Host) Taken(ctx context.Context, spec tunnels.Spec) (all []tunnels.Taken, err error) {
	ours, err := h.Devices.Observe(ctx)
	if err != nil {
		return nil, permitted(err)
	}
	routes, err := h.foreignRoutes()
	if err != nil {
		return nil, err
	}
	rules, err := h.foreignRules()
	if err != nil {
		return nil, err
	}
	for _, n := range spec.Networks {
		for _, t := range n.Devices {
			what, err := h.Foreign(ctx, t.Device, t.PrivateKey.Public())
			if err != nil {
				return nil, permitted(err)
			}
			if what != "" {
				all = append(all, tunnels.Taken{Network: n.Name, Kind: tunnels.TakenDevice, Device: t.Device,
					By:   fmt.Sprintf("link %s is %s", t.Device, what),
					Hint: "write another: device = \"gn-...\"; or ip link del " + t.Device + ", if nothing needs it"})
			}
		}
		if by := routes[n.Table]; len(by) > 0 {
			all = append(all, tunnels.Taken{Network: n.Name, Kind: tunnels.TakenTable, By: fewOf("route", by),
				Hint: fmt.Sprintf("write a free number: table = %d", freeTable(n.Table, spec, routes, rules))})
		}
		if by := withinSpan(n.Priority, rules); len(by) > 0 {
			all = append(all, tunnels.Taken{Network: n.Name, Kind: tunnels.TakenPriority, By: fewOf("rule", by),
				Hint: fmt.Sprintf("write a free one: priority = %d", freePriority(n.Priority, spec, rules))})
		}
		ports, err := h.takenPorts(n, ours)
		if err != nil {
			return nil, err
		}
		all = append(all, ports...)
	}
	return all, nil
}

// takenPorts tries to bind each port that the network names.
func (h *Host) takenPorts(n tunnels.Network, ours []tunnels.Device) (all []tunnels.Taken, err error) {
	for _, t := range n.Devices {
		own := slices.ContainsFunc(ours, func(d tunnels.Device) bool {
			unread := d.Name == t.Device && d.PublicKey.IsZero() // it does not answer: perhaps it has it
			return d.ListenPort == t.ListenPort || unread
		})
		if t.ListenPort == 0 || own || free(t.ListenPort) {
			continue
		}
		by, err := h.PortHolder(t.ListenPort)
		if err != nil {
			return nil, err
		}
		if by != "" {
			by = "WireGuard's link " + by
		} else if by = boundBy(t.ListenPort); by == "" {
			by = "another program"
		}
		all = append(all, tunnels.Taken{Network: n.Name, Kind: tunnels.TakenPort, Device: t.Device,
			By:   fmt.Sprintf("%s has UDP port %d", by, t.ListenPort),
			Hint: fmt.Sprintf("end it, or choose another listen_port; ss -Hlunp 'sport = :%d' shows who has it", t.ListenPort)})
	}
	return all, nil
}

// free tries for a moment: `ginnel plan` beside an agent that starts tries the
// same port, and lets go of it at once.
func free(port int) bool {
	for range 5 {
		if wireguard.PortFree(port) == nil {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// foreignRoutes are those that are not ours, as text, by table.
func (h *Host) foreignRoutes() (map[int][]string, error) {
	names, err := h.linkNames()
	if err != nil {
		return nil, err
	}
	found := map[int][]string{}
	for _, family := range h.families() {
		list, err := again(func() ([]netlink.Route, error) {
			return h.net.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range list {
			if r.Protocol != Protocol && len(found[r.Table]) <= shown {
				found[r.Table] = append(found[r.Table], routeText(r, names))
			}
		}
	}
	return found, nil
}

// shown is how many of many are told.
const shown = 3

// routeText is a route as ip(8) has it, with who made it.
func routeText(r netlink.Route, names map[int]string) string {
	text := "default"
	if p, ok := prefixOf(r.Dst); ok {
		text = p.String()
	}
	if r.Gw != nil {
		text += " via " + r.Gw.String()
	}
	switch name := names[r.LinkIndex]; {
	case r.Type == unix.RTN_UNREACHABLE, r.Type == unix.RTN_BLACKHOLE, r.Type == unix.RTN_PROHIBIT:
		text = map[int]string{unix.RTN_UNREACHABLE: "unreachable ", unix.RTN_BLACKHOLE: "blackhole ", unix.RTN_PROHIBIT: "prohibit "}[r.Type] + text
	case name != "":
		text += " dev " + name
	}
	if maker := r.Protocol.String(); maker != "boot" && maker != "unspec" {
		text += " proto " + maker
	}
	return text
}

// foreignRules are those that are not ours, by priority, as text.
func (h *Host) foreignRules() (map[int][]netlink.Rule, error) {
	found := map[int][]netlink.Rule{}
	for _, family := range h.families() {
		list, err := again(func() ([]netlink.Rule, error) { return h.net.RuleList(family) })
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		for _, r := range list {
			if r.Protocol != Protocol {
				found[r.Priority] = append(found[r.Priority], r)
			}
		}
	}
	return found, nil
}

// ruleText is a rule as ip(8) has it, as short as it gets.
func ruleText(r netlink.Rule) string {
	text := strconv.Itoa(r.Priority) + ":"
	if p, ok := prefixOf(r.Src); ok {
		text += " from " + p.String()
	}
	if p, ok := prefixOf(r.Dst); ok {
		text += " to " + p.String()
	}
	if r.IifName != "" {
		text += " iif " + r.IifName
	}
	if r.OifName != "" {
		text += " oif " + r.OifName
	}
	if r.Mark != 0 {
		text += fmt.Sprintf(" fwmark 0x%x", r.Mark)
	}
	if r.Table != 0 {
		text += " lookup " + strconv.Itoa(r.Table)
	}
	return text
}

// withinSpan are the rules that stand among a network's own.
func withinSpan(priority int, rules map[int][]netlink.Rule) (found []string) {
	for p := priority; p < priority+tunnels.PrioritySpan; p++ {
		for _, r := range rules[p] {
			found = append(found, ruleText(r))
		}
	}
	return slices.Compact(found)
}

// fewOf is the first few of a list in one line.
func fewOf(what string, list []string) string {
	more := ""
	if len(list) > shown {
		list, more = list[:shown], " and more"
	}
	if len(list) > 1 {
		what += "s"
	}
	return what + " " + strings.Join(list, "; ") + more
}

// freeTable is the next number that nobody uses and no rule leads to.
func freeTable(from int, spec tunnels.Spec, routes map[int][]string, rules map[int][]netlink.Rule) int {
	used := map[int]bool{0: true, 253: true, 254: true, 255: true} // Linux's own
	for _, n := range spec.Networks {
		used[n.Table] = true
	}
	for table := range routes {
		used[table] = true
	}
	for _, list := range rules {
		for _, r := range list {
			used[r.Table] = true
		}
	}
	for used[from] {
		from++
	}
	return from
}

// freePriority is the next start of a span without a rule of somebody else,
// before main's (32766).
func freePriority(from int, spec tunnels.Spec, rules map[int][]netlink.Rule) int {
	used := func(p int) bool {
		return len(withinSpan(p, rules)) > 0 || slices.ContainsFunc(spec.Networks, func(n tunnels.Network) bool { return n.Priority == p })
	}
	const main = 32766
	for p := from + tunnels.PrioritySpan; p+tunnels.PrioritySpan <= main; p += tunnels.PrioritySpan {
		if !used(p) {
			return p
		}
	}
	for p := 1; p < from; p += tunnels.PrioritySpan {
		if !used(p) {
			return p
		}
	}
	return from
}
