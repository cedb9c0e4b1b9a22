package agent

import (
	"context"
	"net/netip"
	"slices"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// What a check needs, outward: the link, its address and route, the router, the
// resolver; through a network also its tunnel. What is known of them is put into
// one value when it changes, so that asking before each run costs nothing.

// needs is what is known to be down of what checks need. The zero needs knows of
// nothing. It is never written to once others can see it.
type needs struct {
	line     bool              // nothing leaves this host for the WAN
	resolver bool              // no name is answered
	way      checks.Way        // what others than a pair know of the line
	near     []netip.Prefix    // what is reached without the WAN
	metered  bool              // what leaves by the default route is paid for by use
	active   map[string]string // network -> the tunnel that its traffic takes
}

// tunnelNow tells the state of a tunnel, and the verdict of its last run.
type tunnelNow func(name string) (checks.State, checks.Verdict)

// looksInward are the kinds that look at this host and its tunnels: that these
// are down is what they are there to say.
var looksInward = []string{TunnelKindName, "handshake", "link"}

// needsOf sorts what was found. That nothing answers over the line, or by way of
// a resolver, is known from checks only: those must go on.
func needsOf(c *config.Config, found why.Findings, uplink string, links []block.LinkSnapshot) *needs {
	n := &needs{active: map[string]string{}}
	switch found.Site.Code {
	case why.NoCarrier, why.NoAddress, why.NoRoute, why.RouterSilent:
		n.line = true
	case why.ResolverSilent:
		n.resolver = true
	}
	switch {
	case n.line:
		n.way = checks.WayDead
	case found.Site.Code == why.LineDead:
		n.way = checks.WayDeadBeyond
	case found.Beyond != "":
		n.way = checks.WayLives
	}
	for _, l := range links {
		if !l.Uplink {
			n.near = append(n.near, l.Prefixes...)
		}
	}
	if c == nil {
		return n
	}
	n.metered = slices.Contains(c.Manners.Metered, uplink)
	for _, w := range c.Networks {
		n.active[w.Name] = activeTunnel(c, w.Name)
	}
	return n
}

// before says what a run need not be tried for.
func (n *needs) before(s checks.Spec, tunnel tunnelNow) (waitsFor string, blocked bool) {
	switch {
	case slices.Contains(looksInward, s.Kind):
		return "", false
	case s.Target.Network != "":
		state, _ := tunnel(n.active[s.Target.Network])
		return s.Target.Network, state == checks.Down
	}
	return "line", n.line && !n.isNear(s.Target.Address)
}

// after says what explains that a run has failed.
func (n *needs) after(s checks.Spec, r checks.Result, tunnel tunnelNow) (waitsFor string, blocked bool) {
	silent := r.Reason == checks.Timeout || r.Reason == checks.Unreachable || r.Reason == checks.NoHandshake
	switch {
	case r.Verdict != checks.Failed || slices.Contains(looksInward, s.Kind):
		return "", false
	case r.Reason == checks.NotResolved:
		return "resolver", n.resolver && s.Kind != "dns" // of a resolver that is asked, it says something
	case silent && s.Target.Network != "":
		_, last := tunnel(n.active[s.Target.Network])
		return s.Target.Network, last == checks.Failed
	case silent:
		return "line", n.line && !n.isNear(s.Target.Address)
	}
	return "", false
}

// paid says whether a check goes over a line that is paid for by use.
func (n *needs) paid(s checks.Spec) bool {
	return n.metered && !slices.Contains(looksInward, s.Kind) && (s.Target.Network != "" || !n.isNear(s.Target.Address))
}

// isNear says whether a target is on a link of this host that does not lead to
// the WAN. A name is not.
func (n *needs) isNear(target string) bool {
	a, err := netip.ParseAddr(checks.HostOf(target))
	return err == nil && (a.IsLoopback() || slices.ContainsFunc(n.near, func(p netip.Prefix) bool { return p.Masked().Contains(a) }))
}

// weigh puts together what is known now.
func (a *Agent) weigh(ctx context.Context) {
	var links []block.LinkSnapshot
	if a.o.Sight.Host != nil {
		links = a.around.get(ctx, a.o.Sight.Host).Links
	}
	a.mu.Lock()
	c, found := a.config, a.found
	a.mu.Unlock()
	uplink := ""
	if a.o.Sight.WAN != nil {
		if gateways := a.o.Sight.WAN().Gateways; len(gateways) > 0 {
			uplink = gateways[0].Link
		}
	}
	a.needs.Store(needsOf(c, found, uplink, links))
}
