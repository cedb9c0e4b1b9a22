package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
)

// playBadHost starts agents on hosts that have something against them: what
// others have taken, strict filters, no IPv6, a stranger's hand in our table,
// and ten thousand peers.
func playBadHost(ctx context.Context, s *stage) error {
	if err := s.coversCollector(ctx); err != nil {
		return err
	}
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 2, ""); err != nil {
		return err
	}
	for _, act := range []func(context.Context, *pair) error{s.allTaken, s.defaultRoute, s.strictAndOld, s.tableFilled, s.hungDataPlane, s.manyPeers} {
		if err := act(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// allTaken has a config refused for all that it would take from the host and
// all that others have taken before it, at once.
func (s *stage) allTaken(ctx context.Context, p *pair) error {
	good, err := p.site.ReadFile(desired)
	if err != nil {
		return err
	}
	device, table, priority := tunnels.DeviceName("net1", "hub-north"), tunnels.TableNumber("net1"), tunnels.RulePriority("net1")
	if err := p.all(ctx, p.site, "ip link add "+device+" type bridge",
		fmt.Sprintf("ip route add 203.0.113.0/24 via %s proto static table %d", hubWAN, table),
		fmt.Sprintf("ip rule add from 203.0.113.9 lookup 12 priority %d", priority+3)); err != nil {
		return err
	}
	other, err := p.site.ListenPacket("udp4", "0.0.0.0:51999")
	if err != nil {
		return err
	}
	defer other.Close()
	bad := strings.Replace(good, `"100.64.1.1/32"]`, `"100.64.1.1/32", "192.0.2.0/24"]`, 1)
	bad = strings.Replace(bad, "lan = ", "listen_port = 51999\nlan = ", 1)
	if err := p.site.WriteFile(desired, bad, 0o644); err != nil {
		return err
	}
	before, err := atRest(ctx, p.site)
	if err != nil {
		return err
	}
	code, said := attempt(ctx, p.site, "ginnel", "plan")
	named := 0
	for _, part := range []string{
		"the LAN on eth0 (" + siteWAN + ")", "where " + hubWAN + ":51820 answers", "the default gateway",
		"link " + device + " is a bridge", "route 203.0.113.0/24", fmt.Sprintf("rule %d: from 203.0.113.9", priority+3), "has UDP port 51999",
	} {
		if strings.Contains(strings.Join(strings.Fields(said), " "), part) {
			named++
		}
	}
	s.row(result{Name: "collisions named by one ginnel plan", Value: float64(named), Unit: "of 7", Aim: "7", Met: named == 7 && code == 1,
		Detail: told(code, said)})
	if err := s.unchanged(ctx, p.site, before, "by ginnel plan"); err != nil {
		return err
	}
	kernel, err := kernelState(ctx, p.site)
	if err != nil {
		return err
	}
	agent, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return err
	}
	st, err := awaitStatus(ctx, p.site, func(s block.Snapshot) bool { return s.Config.Error != "" })
	end(agent)
	if err != nil {
		return err
	}
	s.holds("the agent refuses it too, and says so", len(st.Tunnels) == 0, st.Config.Error)
	after, err := kernelState(ctx, p.site)
	if err != nil {
		return err
	}
	left := differing(kernel, after)
	s.zero("changed on the host by it", len(left), "lines", strings.Join(left, "\n"))
	if err := p.all(ctx, p.site, "ip link del "+device, fmt.Sprintf("ip route flush table %d", table),
		fmt.Sprintf("ip rule del priority %d", priority+3)); err != nil {
		return err
	}
	return p.site.WriteFile(desired, good, 0o644)
}

// defaultRoute asks for what is never ours.
func (s *stage) defaultRoute(ctx context.Context, p *pair) error {
	good, err := p.site.ReadFile(desired)
	if err != nil {
		return err
	}
	const file = "/etc/ginnel/default.toml"
	if err := p.site.WriteFile(file, strings.Replace(good, `"100.64.1.1/32"]`, `"100.64.1.1/32", "0.0.0.0/0"]`, 1), 0o644); err != nil {
		return err
	}
	code, said := attempt(ctx, p.site, "ginnel", "plan", file)
	s.holds("a config that asks for the default route is refused, exit 1",
		code == 1 && strings.Contains(strings.Join(strings.Fields(said), " "), "the default route, which is never ours"), told(code, said))
	return nil
}

// strictAndOld has the network come up on a site with strict reverse path
// filters and without IPv6, though its config has some.
func (s *stage) strictAndOld(ctx context.Context, p *pair) error {
	ctx = within(ctx, time.Minute)
	good, err := p.site.ReadFile(desired)
	if err != nil {
		return err
	}
	with6 := strings.Replace(good, `"100.64.1.7/32"`, `"100.64.1.7/32", "2001:db8:64::7/128"`, 1)
	if err := p.site.WriteFile(desired, with6, 0o644); err != nil {
		return err
	}
	for key, value := range map[string]string{"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.default.rp_filter": "1",
		"net.ipv4.conf.lan0.rp_filter": "1", "net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"} {
		if err := p.site.Sysctl(key, value); err != nil {
			return err
		}
	}
	hub, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(hub)
	site, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(site)
	_, err = awaitStatus(ctx, p.site, func(s block.Snapshot) bool {
		t, ok := county.Tunnel(s, "net1")
		return ok && t.State == checks.Up
	})
	if err != nil {
		return err
	}
	_, err = firstEcho(ctx, p.site, siteLAN, netip.MustParseAddr(overlayOf(1, true)))
	if err != nil {
		return err
	}
	s.holds("with rp_filter = 1 and IPv6 switched off the network is up, and answers from the LAN's address", true, "")
	return p.site.WriteFile(desired, good, 0o644)
}

// tableFilled puts a rule that lets everything pass, and a chain that drops
// everything, into our table.
func (s *stage) tableFilled(ctx context.Context, p *pair) error {
	ctx = within(ctx, time.Minute)
	agent, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(agent)
	if err := planned(ctx, p); err != nil {
		return err
	}
	before, err := p.site.Run(ctx, "nft", "-s", "list", "table", "inet", "ginnel_net1")
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := p.site.Run(ctx, "nft", "insert rule inet ginnel_net1 forward accept; add chain inet ginnel_net1 theirs { type filter hook output priority 0; policy drop; }"); err != nil {
		return err
	}
	for after := ""; after != before && ctx.Err() == nil; sleep(ctx, 10*time.Millisecond) {
		after, _ = p.site.Run(ctx, "nft", "-s", "list", "table", "inet", "ginnel_net1")
	}
	took := time.Since(began)
	s.row(result{Name: "until what somebody put into our table was gone", Value: took.Seconds(), Unit: "s", Aim: "<= 2", Met: took <= 2*time.Second})
	log, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err
	}
	line := ""
	for l := range strings.Lines(string(log)) {
		if strings.Contains(l, "somebody else changed our nftables table") {
			line = strings.TrimSpace(l)
		}
	}
	s.holds("the log says so, and who it was", strings.Contains(line, "nft"), line)
	return nil
}

// hungDataPlane stops one of a site's two data planes: the other network is kept
// as well as ever, and the one is told for what it is, with what to do.
func (s *stage) hungDataPlane(ctx context.Context, p *pair) error {
	ctx = within(ctx, pick(s, 6*time.Minute, 2*time.Minute))
	if county.Backend == "kernel" {
		return nil // the kernel's have no program that could hang
	}
	for _, n := range []*netns.Node{p.hub, p.site} {
		agent, err := p.start(n, "ginnel", "run")
		if err != nil {
			return err
		}
		defer end(agent)
	}
	if err := planned(ctx, p); err != nil {
		return err
	}
	one, two := tunnels.DeviceName("net1", "hub-north"), tunnels.DeviceName("net2", "hub-north")
	if _, err := p.site.Run(ctx, "sh", "-c", "kill -STOP $(cut -d' ' -f1 /run/wireguard/"+one+".lock)"); err != nil {
		return err
	}
	st, err := awaitStatus(ctx, p.site, func(s block.Snapshot) bool {
		t, ok := county.Tunnel(s, "net1")
		return ok && t.State == checks.Down
	})
	if err != nil {
		return err
	}
	t, _ := county.Tunnel(st, "net1")
	said, _ := p.site.Run(ctx, "ginnel", "status")
	s.holds("a data plane that hangs is told for what it is", strings.Contains(t.Reason+said, "does not answer"), t.Reason+"\n"+strings.TrimSpace(said))
	var slowest time.Duration
	for range pick(s, 20, 5) {
		began := time.Now()
		if _, err := p.site.Run(ctx, "ip", "route", "del", overlayOf(2, true)+"/32", "dev", two, "table", fmt.Sprint(tunnels.TableNumber("net2"))); err != nil {
			return err
		}
		for back := ""; back == "" && ctx.Err() == nil; sleep(ctx, 10*time.Millisecond) {
			back, _ = p.site.Run(ctx, "ip", "route", "show", "dev", two, "table", fmt.Sprint(tunnels.TableNumber("net2")))
		}
		slowest = max(slowest, time.Since(began))
		sleep(ctx, pick(s, again, 0)) // more often would be a fight, in which we give way
	}
	s.row(result{Name: "until a route of the other network was back meanwhile, the slowest", Value: slowest.Seconds(), Unit: "s",
		Aim: "<= 2", Met: slowest <= 2*time.Second})
	if said, err = p.site.Run(ctx, "ginnel", "dataplane", "renew", "net1"); err != nil {
		return err
	}
	_, err = firstEcho(ctx, p.site, overlayOf(1, false), netip.MustParseAddr(overlayOf(1, true)))
	s.holds("and ginnel dataplane renew brings it back", err == nil, strings.TrimSpace(said))
	return nil
}

// planned waits until the agent at the site has nothing left to write.
func planned(ctx context.Context, p *pair) error {
	for {
		if _, err := p.site.Run(ctx, "ginnel", "plan"); err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

// coversCollector plans, at a gateway that is enrolled, a network that would
// swallow the collector.
func (s *stage) coversCollector(ctx context.Context) error {
	c, err := startByHand(ctx, s, "avocet")
	if err != nil {
		return err
	}
	defer c.Close()
	avocet := c.Site("avocet").Node
	good, err := avocet.ReadFile(desired)
	if err != nil {
		return err
	}
	const file = "/etc/ginnel/collector.toml"
	bad := strings.Replace(good, `"198.51.100.0/24"`, fmt.Sprintf("%q", county.CollectorAddress.String()+"/32"), 1)
	if err := avocet.WriteFile(file, bad, 0o644); err != nil {
		return err
	}
	code, said := attempt(ctx, avocet, "ginnel", "plan", file)
	s.holds("a prefix that covers the collector is refused, exit 1",
		code == 1 && strings.Contains(strings.Join(strings.Fields(said), " "), county.CollectorAddress.String()+", the collector"), told(code, said))
	return nil
}
