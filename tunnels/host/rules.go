package host

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/ginnel/ginnel/tunnels"
)

func familyOf(version int) int {
	if version == 6 {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

// rules lists the policy rules that carry our number.
func (h *Host) rules() ([]tunnels.Rule, error) {
	var found []tunnels.Rule
	for _, family := range h.families() {
		list, err := again(func() ([]netlink.Rule, error) { return h.net.RuleList(family) })
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		for _, r := range list {
			if r.Protocol == Protocol && !h.passes(r) {
				found = append(found, readRule(r, family))
			}
		}
	}
	return found, nil
}

func readRule(r netlink.Rule, family int) tunnels.Rule {
	version := 4
	if family == netlink.FAMILY_V6 {
		version = 6
	}
	out := tunnels.Rule{Family: version, Priority: r.Priority, Iif: r.IifName, Oif: r.OifName, Table: r.Table}
	if p, ok := prefixOf(r.Src); ok {
		out.From = p
	}
	return out
}

func (h *Host) applyRule(s tunnels.Step) error {
	want := *s.Rule
	want.Network = ""
	if want.From != (netip.Prefix{}) {
		want.From = want.From.Masked()
	}
	have, err := h.rules()
	if err != nil {
		return err
	}
	there := slices.Contains(have, want)
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table, rule.Protocol = familyOf(want.Family), want.Priority, want.Table, Protocol
	rule.IifName, rule.OifName = want.Iif, want.Oif
	if want.From.IsValid() {
		rule.Src = ipNet(want.From)
	}
	switch {
	case s.Op == tunnels.Remove && there:
		err = h.net.RuleDel(rule)
	case s.Op != tunnels.Remove && !there:
		err = h.net.RuleAdd(rule)
	}
	if err != nil {
		return fmt.Errorf("rule %d (IPv%d) to table %d: %w", want.Priority, want.Family, want.Table, err)
	}
	return nil
}
