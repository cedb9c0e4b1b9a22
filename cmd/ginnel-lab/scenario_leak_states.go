package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// under are the gateways that are killed, stopped and reconfigured: avocet, and
// the hub that it prefers in kestrel.
func (l *leak) under() []*county.Agent {
	return []*county.Agent{l.county.Site("avocet").Agent, l.county.Hub("hub-north").Agent}
}

// boot has the guards refuse, by the config that ran last, before any site has a
// cable in, and puts the cables in.
func (l *leak) boot(ctx context.Context) error {
	if err := l.county.ConfigureAll(ctx); err != nil {
		return err
	}
	for _, a := range l.agents() {
		if _, err := a.Node.Run(ctx, "sh", "-ec", "cp /etc/ginnel/desired.toml /var/lib/ginnel/last-good.toml; ginnel guard"); err != nil {
			return err
		}
	}
	for _, s := range l.county.Sites {
		if err := l.county.Plug(s); err != nil {
			return err
		}
	}
	for _, m := range l.members() { // a link that is new needs a moment
		if err := answered(within(ctx, 30*time.Second), m.lan.node, county.InternetAddress); err != nil {
			return err
		}
	}
	return nil
}

// answered waits until somebody answers four times in a row.
func answered(ctx context.Context, from *netns.Node, to netip.Addr) error {
	for {
		seen, err := county.Ping(ctx, from, to, 50*time.Millisecond, 4)
		if err != nil || seen.Answered == 4 {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%v does not answer %s", to, from.Name)
		}
	}
}

// stay stays in the state for a few rounds.
func (l *leak) stay(ctx context.Context) error {
	n := pick(l.stage, 40, 4)
	if l.stage.kernel {
		n = 2
	}
	return l.rounds(ctx, n)
}

func (l *leak) startAll(ctx context.Context) error {
	if err := l.county.StartHubs(ctx); err != nil {
		return err
	}
	for _, s := range l.county.Sites {
		if err := s.StartAgent(); err != nil {
			return err
		}
	}
	return l.awaitUp(ctx)
}

// awaitUp waits until every gateway is as planned, and what is behind the hubs
// answers. What the agents say would not do: they remember.
func (l *leak) awaitUp(ctx context.Context) error {
	ctx = within(ctx, 2*time.Minute)
	for _, a := range l.agents() {
		if err := a.AwaitPlanned(ctx); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	l.spent("as planned")
	for _, m := range l.members() {
		if err := answered(ctx, m.lan.node, l.service(m.hub, m.network).addr); err != nil {
			return fmt.Errorf("%s: %w", m.network, err)
		}
	}
	l.spent("answering")
	return nil
}

// cutHub cuts a hub off, and stays until the site has noticed, and on.
func (l *leak) cutHub(ctx context.Context) error {
	if err := l.county.Cut("hub-north"); err != nil {
		return err
	}
	_, _, err := l.county.Site("avocet").Await(within(ctx, time.Minute), func(s block.Snapshot) bool {
		for _, t := range s.Tunnels {
			if t.Hub == "hub-north" && t.State == checks.Down {
				return true
			}
		}
		return false
	})
	l.spent("noticed")
	return errors.Join(err, l.stay(ctx))
}

func (l *leak) healHub(ctx context.Context) error {
	if err := l.county.Heal("hub-north"); err != nil {
		return err
	}
	return l.awaitUp(ctx)
}

// reconfigure goes back and forth between two configs that differ in what they
// list, and at the site in what they accept.
func (l *leak) reconfigure(ctx context.Context) error {
	for _, a := range l.under() {
		one, err := a.Node.ReadFile("/etc/ginnel/desired.toml")
		if err != nil {
			return err
		}
		other := strings.NewReplacer(`"tcp/443", "udp/53", "icmp"`, `"tcp/443", "tcp/444", "udp/53", "icmp"`,
			`"198.51.100.0/24", "192.168.20.0/24"`, `"198.51.100.0/24", "192.168.20.0/24", "192.168.23.0/24"`).Replace(one)
		if other == one {
			return fmt.Errorf("the config of %s has nothing to be changed in it:\n%s", a.Name, one)
		}
		for range pick(l.stage, 20, 2) {
			for _, text := range []string{other, one} {
				if err := a.Node.WriteFile("/etc/ginnel/desired.toml", text, 0o644); err != nil {
					return err
				}
				if _, err := a.Node.Run(ctx, "ginnel", "reload"); err != nil {
					return err
				}
				if err := a.AwaitPlanned(within(ctx, time.Minute)); err != nil {
					return err
				}
				l.spent("as planned")
				if err := l.rounds(ctx, 1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (l *leak) killAgents(ctx context.Context) error {
	for _, a := range l.under() {
		if err := a.Kill9Agent(ctx); err != nil {
			return err
		}
	}
	return l.stay(ctx)
}

func (l *leak) startAgents(ctx context.Context) error {
	for _, a := range l.under() {
		if err := a.StartAgent(); err != nil {
			return err
		}
	}
	return l.awaitUp(ctx)
}

// killDevices takes every device of the gateways away, one time after another,
// and waits for the repair.
func (l *leak) killDevices(ctx context.Context) error {
	for range pick(l.stage, 5, 1) {
		for _, a := range l.under() {
			if err := killDevices(ctx, a.Node); err != nil {
				return err
			}
		}
		if err := l.rounds(ctx, 1); err != nil {
			return err
		}
		if err := l.awaitUp(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *leak) stopAgents(ctx context.Context) error {
	if err := l.stopAll(ctx); err != nil {
		return err
	}
	return l.stay(ctx)
}

func (l *leak) stopAll(ctx context.Context) error {
	for _, a := range l.agents() {
		if err := a.StopAgent(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *leak) down(ctx context.Context) error {
	for _, a := range l.under() {
		if _, err := a.Node.Run(ctx, "ginnel", "down"); err != nil {
			return err
		}
	}
	return l.stay(ctx)
}

// killDevices ends every device of ours at a node: its data plane, or where the
// kernel is that, the link.
func killDevices(ctx context.Context, n *netns.Node) error {
	return n.Do(func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, link := range links {
			if !strings.HasPrefix(link.Name, tunnels.DevicePrefix) {
				continue
			}
			if p, ok := wireguard.Running(link.Name); ok {
				err = syscall.Kill(p.PID, syscall.SIGKILL)
			} else {
				err = removeLink(link.Index)
			}
			if err != nil {
				return fmt.Errorf("%s at %s: %w", link.Name, n.Name, err)
			}
		}
		return nil
	})
}

func removeLink(index int) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}
