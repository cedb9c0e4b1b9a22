package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// Hosts behind the two gateways.
const (
	pcAddress, serviceAddress = "192.168.10.20", "198.51.100.20"
	hubLAN, serviceLAN        = "198.51.100.1", "198.51.100.0/24"
)

// benchForward sends TCP from a host of the site's LAN through site, tunnel and
// hub to a service, and past the tunnel to the hub's line, with our nftables and
// without any. The agents have ended: they would put the tables back.
func benchForward(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	pc, err := p.behind(ctx)
	if err != nil {
		return err
	}
	p.lan = serviceLAN
	if err := p.configure(ctx, 1, ""); err != nil {
		return err
	}
	down, err := p.up(ctx, 1)
	if err != nil {
		return err
	}
	err = p.reaches(ctx, pc, serviceAddress)
	down()
	if err != nil {
		return err
	}
	server, err := p.start(p.hub, "iperf3", "-s")
	if err != nil {
		return err
	}
	defer end(server)
	for _, way := range []struct{ name, target string }{
		{"LAN to service, through site, tunnel and hub", serviceAddress},
		{"LAN past the tunnel, forwarded by the site alone", hubWAN},
	} {
		if err := p.reaches(ctx, pc, way.target); err != nil {
			return err
		}
		run := func(tables func(context.Context) error) func() (float64, error) {
			return func() (float64, error) {
				if err := tables(ctx); err != nil {
					return 0, err
				}
				return iperf(ctx, pc, pcAddress, way.target, pick(s, 3, 1))
			}
		}
		with, without, err := inPairs(s, "Mbit/s", run(p.filtered), run(p.unfiltered))
		if err != nil {
			return err
		}
		s.row(beside(way.name, "Mbit/s", "no tables", atLeast(0.95), with, without))
	}
	return nil
}

// behind makes a host on the site's LAN and a service behind the hub, and lets
// the site forward as a router does.
func (p *pair) behind(ctx context.Context) (pc *netns.Node, err error) {
	if pc, err = netns.New("pc", "127.0.0.1 localhost\n", "127.0.0.1"); err != nil {
		return nil, err
	}
	service, err := netns.New("service", "127.0.0.1 localhost\n", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	if err := p.all(ctx, p.site, "ip link del lan0"); err != nil {
		return nil, err
	}
	for _, c := range [][2]netns.End{
		{{Node: pc, Link: "eth0", Addr: netip.MustParsePrefix(pcAddress + "/24")}, {Node: p.site, Link: "lan0", Addr: netip.MustParsePrefix(siteLAN + "/24")}},
		{{Node: service, Link: "eth0", Addr: netip.MustParsePrefix(serviceAddress + "/24")}, {Node: p.hub, Link: "lan0", Addr: netip.MustParsePrefix(hubLAN + "/24")}},
	} {
		if err := netns.Cable(c[0], c[1]); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		p.all(ctx, pc, "ip route add default via "+siteLAN),
		p.all(ctx, service, "ip route add default via "+hubLAN),
		p.all(ctx, p.hub, "ip route add 192.168.10.0/24 via "+siteWAN),
		p.site.Sysctl("net.ipv4.ip_forward", "1"))
	if err != nil {
		return nil, err
	}
	_, err = p.start(service, "iperf3", "-s") // it ends with the box
	return pc, err
}

func (p *pair) reaches(ctx context.Context, from *netns.Node, target string) error {
	err := eventually(ctx, 30*time.Second, func() bool {
		_, err := from.Run(ctx, "ping", "-c1", "-W1", target)
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("%s from %s: %w", target, from.Name, err)
	}
	return nil
}

// unfiltered takes all tables away, and with them the kernel's reason to track
// connections.
func (p *pair) unfiltered(ctx context.Context) error {
	return errors.Join(p.all(ctx, p.site, "nft flush ruleset"), p.all(ctx, p.hub, "nft flush ruleset"))
}

// filtered has both agents put theirs back.
func (p *pair) filtered(ctx context.Context) error {
	for _, n := range []*netns.Node{p.site, p.hub} {
		agent, err := p.start(n, "ginnel", "run")
		if err != nil {
			return err
		}
		err = eventually(ctx, 30*time.Second, func() bool {
			_, err := n.Run(ctx, "ginnel", "plan") // 0: nothing is left to do
			return err == nil
		})
		end(agent)
		if err != nil {
			return fmt.Errorf("the tables of %s: %w", n.Name, err)
		}
	}
	return nil
}
