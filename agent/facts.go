package agent

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Why finds the first broken step of a network, or with an empty name of the
// whole site.
func (a *Agent) Why(ctx context.Context, network string) (*why.Report, error) {
	f := a.facts(ctx)
	f.Evidence = a.evidenceFacts()
	return why.Explain(f, network)
}

// evidenceFacts tells what is kept. Where it cannot be read there is none to show.
func (a *Agent) evidenceFacts() []why.Evidence {
	kept, err := a.shelf.List()
	if err != nil {
		a.o.Log.Warn("the evidence that was kept cannot be read", "err", err)
	}
	var list []why.Evidence
	for _, e := range kept {
		list = append(list, why.Evidence{ID: e.ID, Name: e.Name, Network: e.Network, At: e.At})
	}
	return list
}

// facts gathers what is known now. It asks the kernel, and nobody else.
func (a *Agent) facts(ctx context.Context) why.Facts {
	a.mu.Lock()
	runner, c := a.runner, a.config
	f := why.Facts{Gateway: a.name, Name: a.identity.Site().Name, Version: a.o.Version, At: time.Now(), Down: a.down}
	f.Config.There = c != nil
	if a.damaged != nil {
		f.Config.Damaged = firstLine(a.damaged)
	}
	if a.fault != nil {
		f.Config.Fault = firstLine(a.fault)
	}
	up := a.uplink
	a.mu.Unlock()
	if c != nil {
		f.Config.Text = "by hand"
		if c.Generation > 0 {
			f.Config.Text = fmt.Sprintf("generation %d", c.Generation)
		}
	}
	f.Config.Newest, f.Config.Held = newestText(a.pilot.snapshot())
	if up != nil {
		s := up.Status()
		f.Collector = why.Collector{Name: hostOf(s.URL), LastReceipt: s.LastReceipt, Error: s.Error, Kind: string(up.Trouble())}
	}
	f.Clock = a.clock.now(a.o.Sight.Kept)
	a.see(ctx, &f)
	list := map[string]checks.Status{}
	if runner != nil {
		for s := range runner.All() {
			a.carry(&s)
			if s.Spec.Kind == TunnelKindName {
				list[s.Spec.Name] = s
				continue
			}
			f.Checks = append(f.Checks, checkFacts(s))
		}
	}
	if c != nil {
		a.tunnelFacts(ctx, &f, c, list)
	}
	return f
}

// newestText says what became of the newest signed config, where it did not stay
// or nobody can tell yet.
func newestText(c block.ConfigSnapshot) (text string, held bool) {
	if c.State != block.ConfigFailed && c.State != block.ConfigUnconfirmed {
		return "", false
	}
	name := "the newest one"
	if c.Trial.Generation > 0 {
		name = fmt.Sprintf("generation %d", c.Trial.Generation)
	}
	if c.State == block.ConfigUnconfirmed {
		return name + " runs, unconfirmed: " + c.Trial.Reason, true
	}
	return name + " did not stay: " + c.Trial.Reason, false
}

func hostOf(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return u.Hostname()
	}
	return raw
}

// see looks at the host beyond the tunnels.
func (a *Agent) see(ctx context.Context, f *why.Facts) {
	s := a.o.Sight
	f.WAN.NotRead = "nobody looks"
	if s.WAN != nil {
		f.WAN = s.WAN()
	}
	if err := a.o.Tunnels.Fault(); err != nil {
		f.Host.Fault = firstLine(err)
		if s.Fault != nil {
			f.Host = s.Fault(err)
		}
		return
	}
	if s.Drops != nil {
		f.Host.Drops = a.drops.get(ctx, s.Drops)
	}
}

func checkFacts(s checks.Status) why.Check {
	c := why.Check{Name: s.Spec.Name, Network: s.Spec.Target.Network, Target: s.Spec.Target.Address, StandsFor: s.Spec.StandsFor,
		State: s.State, Since: s.Since, WaitsFor: s.WaitsFor, RTT: s.Figures.P50}
	if s.State != checks.Up {
		c.Reason, c.Detail = s.Last.Reason, s.Last.Detail
	}
	if s.Err != nil {
		c.Reason, c.Detail = checks.NotRun, s.Err.Error()
	}
	if s.Last.Verdict == checks.OK {
		c.Heard = s.Last.Start
	}
	c.Doubtful = s.State == checks.Up && s.Last.Verdict == checks.Failed
	return c
}

// tunnelFacts tells of each tunnel. Where a network has several hubs, its
// traffic goes by the first.
func (a *Agent) tunnelFacts(ctx context.Context, f *why.Facts, c *config.Config, list map[string]checks.Status) {
	names := a.o.Tunnels.Names()
	seen := map[string]bool{}
	for _, st := range a.o.Tunnels.Status() {
		i := slices.IndexFunc(c.Networks, func(n config.Network) bool { return n.Name == st.Network })
		if i < 0 {
			continue
		}
		n := c.Networks[i]
		s := list[tunnelName(st.Network, st.Hub)]
		t := why.Tunnel{
			Network: st.Network, Hub: st.Hub, Device: st.Device, HubRole: st.Role == tunnels.Hub,
			State: s.State, Since: s.Since, RTT: s.Figures.P50,
			There: st.Present, Up: st.Up, MTU: st.MTU, Table: n.Table, LAN: n.LAN,
			Err: st.Err, Hint: st.Hint,
		}
		if !f.Down.IsZero() && t.State != checks.Down { // before a probe has missed it
			t.State, t.Since = checks.Down, f.Down
		}
		if s.State != checks.Up {
			t.Said = s.Last.Detail
		} else if s.Last.Verdict == checks.OK {
			t.Heard = s.Last.Start
		}
		t.Doubtful = s.State == checks.Up && s.Last.Verdict == checks.Failed
		for _, p := range st.Addresses {
			t.Addresses = append(t.Addresses, p.Addr())
		}
		if st.Kind == tunnels.FilterKind && a.o.Sight.NoFilters != nil && a.o.Sight.NoFilters() {
			f.Host = why.Host{Fault: "the kernel has no nftables, which keep networks apart", NoFilters: true}
		}
		if st.Err != "" {
			t.Unmet = []why.Unmet{{Kind: string(st.Kind), Text: st.What}}
		}
		for _, l := range st.Lacks {
			t.Lacks = append(t.Lacks, why.Lack{Part: string(l.Part), Text: l.Text, Hint: l.Hint})
		}
		for _, x := range st.Contested {
			t.Contested = append(t.Contested, why.Contest{Kind: string(x.Kind), Text: x.Text, Culprit: x.Culprit, Since: x.Since, Times: x.Times})
		}
		if a.o.Sight.Foreign != nil && !st.Present {
			t.TakenBy = a.o.Sight.Foreign(ctx, st.Device, st.PublicKey)
		}
		a.peerFacts(&t, n, st, names)
		if !seen[n.Name] {
			a.ways(&t, n)
		}
		seen[n.Name] = true
		f.Tunnels = append(f.Tunnels, t)
	}
}

// peerFacts tells of a site's hub, or of a hub's sites.
func (a *Agent) peerFacts(t *why.Tunnel, n config.Network, st tunnels.Status, names []tunnels.KnownName) {
	if t.HubRole {
		t.Peers = len(st.Peers)
		for _, p := range st.Peers {
			if t.There && time.Since(p.LastHandshake) < rejectAfter {
				t.PeersUp++
			}
		}
		lists := make([][]netip.Prefix, 0, len(n.Sites))
		for _, p := range n.Sites {
			lists = append(lists, p.AllowedIPs)
		}
		t.Prefixes = slices.Concat(lists...)
		return
	}
	p, _ := PeerOf(st, st.Hub)
	t.Key, t.Endpoint, t.LastHandshake = p.Present, p.Endpoint, p.LastHandshake
	t.Refusing = t.State == checks.Down
	quiet := a.quiet.since(tunnelName(st.Network, st.Hub), p.Seen, st.Observed)
	t.Quiet, t.Sent, t.Received = quiet.at, p.Sent-quiet.sent, p.Received
	for _, h := range n.Hubs {
		if h.Name != st.Hub {
			continue
		}
		t.Prefixes = h.AllowedIPs
		_, t.Probed = tunnels.OwnAddress(h.AllowedIPs)
		for _, e := range h.Endpoints {
			t.Names = append(t.Names, nameFacts(e, names))
		}
	}
}

func nameFacts(endpoint string, names []tunnels.KnownName) why.Name {
	if a, err := netip.ParseAddrPort(endpoint); err == nil {
		return why.Name{Name: a.Addr().String(), Addresses: []netip.Addr{a.Addr()}, Port: a.Port()}
	}
	host, port := splitHostPort(endpoint)
	n := why.Name{Name: host, Port: port}
	for _, k := range names {
		if k.Name == host {
			n.Addresses, n.Asked, n.Err = k.Addresses, k.Asked, k.Err
		}
	}
	return n
}

// ways asks the kernel where it would send a packet of the LAN, and one of our
// own, to behind the tunnel.
func (a *Agent) ways(t *why.Tunnel, n config.Network) {
	i := slices.IndexFunc(t.Prefixes, func(p netip.Prefix) bool { return !p.IsSingleIP() })
	if i < 0 && len(t.Prefixes) > 0 {
		i = 0
	}
	if i < 0 {
		return
	}
	to := t.Prefixes[i]
	t.Route = fmt.Sprintf("%s dev %s table %d", to, t.Device, n.Table)
	ingress := ""
	switch {
	case len(n.Ingress) > 0:
		ingress = n.Ingress[0]
		t.Rule = fmt.Sprintf("%d: iif %s lookup %d", n.Priority, ingress, n.Table)
	case len(n.LAN) > 0:
		t.Rule = fmt.Sprintf("%d: from %s lookup %d", n.Priority, n.LAN[0].Masked(), n.Table)
	default:
		t.Rule = fmt.Sprintf("%d: oif %s lookup %d", n.Priority, t.Device, n.Table)
	}
	if a.o.Sight.Way == nil || !t.There || !t.Up {
		return
	}
	ask := func(what string, from []netip.Prefix, in string) {
		for _, p := range from {
			if p.Addr().Is4() == to.Addr().Is4() {
				l := a.o.Sight.Way(p, inside(to), in)
				l.What = what
				t.Lookups = append(t.Lookups, l)
				return
			}
		}
	}
	ask("the LAN", n.LAN, ingress)
	ask("this host", n.Address, "")
}

// inside is an address of a prefix that may be somebody's.
func inside(p netip.Prefix) netip.Addr {
	if a := p.Masked().Addr().Next(); p.Contains(a) {
		return a
	}
	return p.Addr()
}

// WhyAlone is Why for an agent that does not run: of what only measuring could
// tell it says that nobody does.
func (a *Agent) WhyAlone(ctx context.Context, c *config.Config, network string) (*why.Report, error) {
	a.mu.Lock()
	a.config, a.name = c, c.Gateway
	a.mu.Unlock()
	f := a.facts(ctx)
	f.NotRunning, f.Evidence = true, a.evidenceFacts()
	return why.Explain(f, network)
}
