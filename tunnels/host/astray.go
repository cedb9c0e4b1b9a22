package host

import (
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"

	"github.com/ginnel/ginnel/tunnels"
)

// These rules are beside the tunnels: what would reach WireGuard's ports, be
// forwarded, or leave with a network's addresses, and goes by no tunnel of it.

// ports keeps WireGuard's ports to the uplinks.
func (r *ruleset) ports(input *chain) {
	if f := r.filter; len(f.Ports) > 0 {
		input.refuse(tunnels.RefusedPort, drop, protocol(udp), r.portIn(f.Ports), r.noneOf(iif, append([]string{"lo"}, f.Uplinks...)))
	}
}

// onlyOurs refuses what is forwarded because of us and is not ours.
func (r *ruleset) onlyOurs(forward *chain) {
	for _, l := range once(r.filter.Only) {
		forward.refuse(tunnels.RefusedForward, drop, v4.match(), r.link(iif, expr.CmpOpEq, l), ours(oif, expr.CmpOpNeq), notReply())
	}
	if r.filter.Only6 {
		forward.refuse(tunnels.RefusedForward, drop, v6.match(), ours(iif, expr.CmpOpNeq), ours(oif, expr.CmpOpNeq))
	}
}

// stay keeps what has our address in the network from leaving by another link.
func (r *ruleset) stay(output *chain) {
	for _, v := range versions {
		if own := r.alone(v); len(own) > 0 {
			output.refuse(tunnels.RefusedAstray, drop, r.noneOf(oif, append([]string{"lo"}, r.filter.Devices...)),
				v.match(), r.prefixes(v, v.source, own))
		}
	}
}

// alone is our addresses in the network that no other link has as well.
func (r *ruleset) alone(v *version) []netip.Prefix {
	return slices.DeleteFunc(v.of(r.filter.Own), func(p netip.Prefix) bool { return slices.Contains(r.filter.Shared, p) })
}

// forged refuses what says that it is of the network and came by no tunnel: on
// its way to our addresses there, and, at a site, from what is behind the hubs to
// our LAN. The tunnels' own packets are judged before.
func (r *ruleset) forged(input, forward *chain) {
	f := r.filter
	for _, v := range versions {
		if own := r.alone(v); len(own) > 0 {
			input.refuse(tunnels.RefusedSpoofed, drop, r.noneOf(iif, []string{"lo"}), v.match(), r.prefixes(v, v.target, own))
		}
		far, lan := v.of(f.Far), v.of(f.LAN)
		switch {
		case len(far) == 0:
		case len(lan) > 0:
			forward.refuse(tunnels.RefusedSpoofed, drop, v.match(), r.prefixes(v, v.source, far), r.prefixes(v, v.target, lan))
		case len(f.LAN) == 0:
			for _, l := range once(f.Ingress) {
				forward.refuse(tunnels.RefusedSpoofed, drop, r.link(oif, expr.CmpOpEq, l), v.match(), r.prefixes(v, v.source, far))
			}
		}
	}
}

// around refuses what our side sends to behind the hubs by another link, as it
// would be where somebody has taken our rules away on a host that forwards by
// itself. What goes into the tunnels is judged before.
func (r *ruleset) around(forward *chain) {
	f := r.filter
	for _, v := range versions {
		far, lan := v.of(f.Far), v.of(f.LAN)
		if len(far) == 0 || len(lan) == 0 && len(f.LAN) > 0 {
			continue
		}
		for _, l := range once(f.Ingress) {
			forward.refuse(tunnels.RefusedAstray, drop, r.link(iif, expr.CmpOpEq, l), v.match(),
				r.prefixes(v, v.source, lan), r.prefixes(v, v.target, far))
		}
	}
}

// quotes keeps this host's ICMP errors about packets of the network in it. They
// have the packet in them, and the host's own routing, which knows no tunnels,
// would send them to the line. A site knows who is behind its hubs; a hub knows
// whom its sites asked, but for those who asked each other: it says to nobody
// outside what a router says of them, whoever asked.
func (r *ruleset) quotes(output *chain) {
	f := r.filter
	out := append([]string{"lo"}, f.Devices...)
	if f.Role == tunnels.Hub {
		for _, v := range versions {
			output.refuse(tunnels.RefusedAstray, drop, r.noneOf(oif, append(out, f.Ingress...)), v.match(), protocol(v.icmp), r.remark(v))
		}
	}
	for _, v := range versions {
		if far := v.of(f.Far); len(far) > 0 {
			output.refuse(tunnels.RefusedAstray, drop, r.noneOf(oif, out), v.match(), r.failure(v), r.prefixes(v, v.target, far))
		}
		asked := append(v.of(f.LAN), v.of(f.Own)...)
		if f.Role == tunnels.Hub && len(asked) > 0 {
			output.refuse(tunnels.RefusedAstray, drop, r.noneOf(oif, append(out, f.Ingress...)), v.match(), r.failure(v), r.prefixes(v, v.quoted, asked))
		}
	}
}
