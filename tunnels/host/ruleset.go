package host

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"

	"github.com/ginnel/ginnel/tunnels"
)

// ruleset is a Filter as nftables rules. In the words of nft(8), for a site
// with one hub, a LAN on eth1 and a line on eth0, counters left out:
//
//	chain input { type filter hook input priority filter
//		iifname "gn-kestrel" goto gateway
//		iifname != "lo" ip daddr 100.64.0.7 drop
//		udp dport 51820 iifname != "lo" iifname != "eth0" drop
//	}
//	chain forward { type filter hook forward priority filter
//		iifname "gn-kestrel" goto out_of_tunnel
//		oifname "gn-kestrel" goto into_tunnel
//		ip saddr { 100.64.0.1, 198.51.100.0/24 } ip daddr 192.168.10.0/24 drop
//		iifname "eth1" ip saddr 192.168.10.0/24 ip daddr { 100.64.0.1, 198.51.100.0/24 } drop
//		meta nfproto ipv4 iifname "eth1" oifname != "gn-*" ct state != established,related drop
//		meta nfproto ipv6 iifname != "gn-*" oifname != "gn-*" drop
//	}
//	chain output { type filter hook output priority filter
//		oifname != "gn-kestrel" oifname != "lo" ip saddr 100.64.0.7 drop
//		oifname != "gn-kestrel" oifname != "lo" icmp type { 3, 11, 12 } ip daddr { 100.64.0.1, 198.51.100.0/24 } drop
//	}
//	chain out_of_tunnel {
//		tcp flags syn / syn,rst jump clamp
//		oifname "gn-*" oifname != "gn-kestrel" drop
//		oifname != "eth1" drop
//		ip daddr 192.168.10.0/24 goto in
//		drop
//	}
//	chain into_tunnel {
//		tcp flags syn / syn,rst jump clamp
//		iifname "gn-*" drop
//		iifname != "eth1" drop
//		ip saddr 192.168.10.0/24 goto out
//		drop
//	}
//	chain gateway {
//		ct state established,related accept
//		ip daddr 100.64.0.7 icmp type echo-request accept
//		ip daddr 192.168.10.0/24 goto in
//		drop
//	}
//	chain in { ct state established,related accept; ip saddr 198.51.100.10 tcp dport 9100 accept; drop }
//	chain out { accept }
//	chain clamp { meta nfproto ipv4 tcp option maxseg size set 1380 }
//
// The last two rules of forward are there where packets are forwarded because
// of us only. Accept ends these chains and no others: what somebody else's
// table drops is dropped. Replies pass only where a question could come from:
// two networks may know one address, and connection tracking knows no networks.
// Links are few and are named in the rules: nft(8) cannot show link names in a
// set.
type ruleset struct {
	nft    *nftables.Conn
	table  *nftables.Table
	filter *tunnels.Filter
	chains []*chain
	err    error
}

type chain struct {
	*nftables.Chain
	rules []rule
}

type rule struct {
	match  []expr.Any
	reason string // of a refusal
}

// base are the chains that begin at a hook. One that is elsewhere is not ours.
var base = map[string]nftables.Chain{
	"input":       {Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter},
	"forward":     {Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter},
	"output":      {Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter},
	"prerouting":  {Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest},
	"postrouting": {Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource},
}

func newRuleset(nft *nftables.Conn, t *nftables.Table, f *tunnels.Filter) *ruleset {
	return &ruleset{nft: nft, table: t, filter: f}
}

// write queues the chains and rules for the next Flush.
func (r *ruleset) write() error {
	input, forward, output := r.chain("input"), r.chain("forward"), r.chain("output")
	if f := r.filter; len(f.Devices) > 0 {
		clamp := r.clamp()
		in, out := r.in(), r.out()
		r.each(f.Devices, forward, iif, r.outOfTunnel(clamp, in))
		r.each(f.Devices, forward, oif, r.intoTunnel(clamp, out))
		r.each(f.Devices, input, iif, r.gateway(in))
		r.maps()
	}
	r.forged(input, forward)
	r.around(forward)
	r.ports(input)
	r.onlyOurs(forward)
	r.stay(output)
	r.quotes(output)
	return r.number()
}

// number gives each rule its mark and queues it.
func (r *ruleset) number() error {
	total := 0
	for _, c := range r.chains {
		total += len(c.rules)
	}
	if total == 0 { // a table must have one rule to carry its digest
		r.chains[0].add(count())
		total++
	}
	i := 0
	for _, c := range r.chains {
		for _, x := range c.rules {
			r.nft.AddRule(&nftables.Rule{Table: r.table, Chain: c.Chain, Exprs: x.match,
				UserData: userdata.AppendString(nil, userdata.TypeComment, mark(r.filter.Sum(), i, total, x.match, x.reason))})
			i++
		}
	}
	return r.err
}

// chain makes one: at a hook if its name is in base, else to be jumped to.
func (r *ruleset) chain(name string) *chain {
	c := base[name]
	c.Name, c.Table = name, r.table
	if c.Hooknum != nil {
		c.Policy = new(nftables.ChainPolicyAccept)
	}
	out := &chain{Chain: r.nft.AddChain(&c)}
	r.chains = append(r.chains, out)
	return out
}

// each sends the packets of the devices on to another chain.
func (r *ruleset) each(devices []string, from *chain, which expr.MetaKey, to *chain) {
	for _, d := range once(devices) {
		from.add(r.link(which, expr.CmpOpEq, d), to.goTo())
	}
}

// outOfTunnel judges what came out of a tunnel and is forwarded.
func (r *ruleset) outOfTunnel(clamp, in *chain) *chain {
	f, c := r.filter, r.chain("out_of_tunnel")
	if clamp != nil {
		c.add(syn(), clamp.jump())
	}
	if f.Role == tunnels.Hub {
		r.each(f.Devices, c, oif, r.across())
	}
	c.refuse(tunnels.RefusedOtherNetwork, drop, ours(oif, expr.CmpOpEq), r.noneOf(oif, f.Devices))
	if c.refuse(tunnels.RefusedAstray, drop, r.noneOf(oif, f.Ingress)); len(f.Ingress) == 0 {
		return c // it was all
	}
	for _, v := range versions {
		if lan := v.of(f.LAN); len(lan) > 0 {
			c.add(v.match(), r.prefixes(v, v.target, lan), in.goTo())
		}
	}
	c.refuse(tunnels.RefusedAstray, drop)
	return c
}

// intoTunnel judges what is forwarded into a tunnel and did not come out of
// one of the same network.
func (r *ruleset) intoTunnel(clamp, out *chain) *chain {
	f, c := r.filter, r.chain("into_tunnel")
	if clamp != nil {
		c.add(syn(), clamp.jump())
	}
	c.refuse(tunnels.RefusedOtherNetwork, drop, ours(iif, expr.CmpOpEq))
	if c.refuse(tunnels.RefusedSpoofed, drop, r.noneOf(iif, f.Ingress)); len(f.Ingress) == 0 {
		return c // it was all
	}
	if len(f.LAN) == 0 {
		c.add(out.goTo())
		return c
	}
	for _, v := range versions {
		if lan := v.of(f.LAN); len(lan) > 0 {
			c.add(v.match(), r.prefixes(v, v.source, lan), out.goTo())
		}
	}
	c.refuse(tunnels.RefusedSpoofed, drop)
	return c
}

// gateway judges what came out of a tunnel for this host itself.
func (r *ruleset) gateway(in *chain) *chain {
	f, c := r.filter, r.chain("gateway")
	c.add(replies(), accept())
	for _, v := range versions {
		if own := v.of(f.Own); len(own) > 0 {
			c.add(v.match(), r.prefixes(v, v.target, own), v.echo(), accept())
		}
	}
	r.list(c, f.Gateway)
	for _, v := range versions {
		if lan := v.of(f.LAN); len(lan) > 0 {
			c.add(v.match(), r.prefixes(v, v.target, lan), in.goTo())
		}
	}
	c.refuse(tunnels.RefusedIntoGateway, drop)
	return c
}

// in judges a new connection from a tunnel to our LAN.
func (r *ruleset) in() *chain {
	f, c := r.filter, r.chain("in")
	if !f.AnyIn {
		c.add(replies(), accept())
	}
	switch {
	case f.AnyIn:
		c.add(accept())
	case f.Role == tunnels.Hub:
		r.list(c, f.In)
		c.refuse(tunnels.RefusedNotListed, drop)
	default:
		r.list(c, f.In)
		c.refuse(tunnels.RefusedIntoLAN, drop)
	}
	return c
}

// out judges a new connection from our LAN into a tunnel. A refusal is told to
// who asked, so that programs of ours need not wait.
func (r *ruleset) out() *chain {
	f, c := r.filter, r.chain("out")
	if !f.AnyOut {
		c.add(replies(), accept())
	}
	switch {
	case f.AnyOut:
		c.add(accept())
	case f.Role == tunnels.Hub:
		r.list(c, f.Out)
		c.refuse(tunnels.RefusedIntoSites, reject)
	default:
		r.list(c, f.Out)
		c.refuse(tunnels.RefusedNotListed, reject)
	}
	return c
}

// across judges a new connection from site to site.
func (r *ruleset) across() *chain {
	c := r.chain("across")
	c.add(replies(), accept())
	r.list(c, r.filter.Across)
	c.refuse(tunnels.RefusedSiteToSite, drop)
	return c
}

// clamp lowers the segments that both ends of a TCP connection announce to what
// the tunnels carry. The kernel never raises them. Nil: nothing to do.
func (r *ruleset) clamp() *chain {
	mtu := r.filter.MTU
	if mtu == 0 {
		return nil
	}
	c := r.chain("clamp")
	for _, v := range versions {
		c.add(v.match(), maxSegment(mtu-v.headers))
	}
	return c
}

// maps translates between what the LAN calls itself and what the network does.
// The other chains see the LAN's own addresses.
func (r *ruleset) maps() {
	if len(r.filter.Maps) == 0 {
		return
	}
	before, after := r.chain("prerouting"), r.chain("postrouting")
	for _, m := range r.filter.Maps {
		v := versionOf(m.LAN)
		for _, d := range once(r.filter.Devices) {
			before.add(r.link(iif, expr.CmpOpEq, d), v.match(), r.prefix(v, v.target, m.As), netmap(v, expr.NATTypeDestNAT, m.LAN))
			after.add(r.link(oif, expr.CmpOpEq, d), v.match(), r.prefix(v, v.source, m.LAN), netmap(v, expr.NATTypeSourceNAT, m.As))
		}
	}
}

// list accepts what the openings list.
func (r *ruleset) list(c *chain, openings []tunnels.Opening) {
	for _, o := range openings {
		for _, v := range versions {
			from, to := v.of(o.From), v.of(o.To)
			if len(o.From) > 0 && len(from) == 0 || len(o.To) > 0 && len(to) == 0 {
				continue // of the other version
			}
			for _, service := range r.services(v, o.Ports) {
				c.add(v.match(), r.prefixes(v, v.source, from), r.prefixes(v, v.target, to), service, accept())
			}
		}
	}
}

// add adds a rule of conditions and what is done then.
func (c *chain) add(parts ...[]expr.Any) { c.rules = append(c.rules, rule{match: join(parts)}) }

// refuse adds a rule that counts what matches, and ends it.
func (c *chain) refuse(reason string, verdict func() []expr.Any, conditions ...[]expr.Any) {
	c.rules = append(c.rules, rule{match: join(append(conditions, count(), verdict())), reason: reason})
}

func join(parts [][]expr.Any) (all []expr.Any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// fail notes the first thing that cannot be written.
func (r *ruleset) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}
