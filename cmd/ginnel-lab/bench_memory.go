package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
)

// benchMemory sends TCP from site to hub through data planes that take their
// machines to have 512 MB, and through others that see what there is.
func benchMemory(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 2, ""); err != nil {
		return err
	}
	const small, large = 1, 2 // numbers of networks
	if err := p.smallPlanes(ctx, small, 512<<10); err != nil {
		return err
	}
	down, err := p.up(ctx, small, large)
	if err != nil {
		return err
	}
	defer down()
	with, without, err := p.iperfPairs(ctx, s, small, large)
	if err != nil {
		return err
	}
	s.row(beside("TCP site to hub, 512 MB machine", "Mbit/s", "the same without a ceiling", atLeast(0.9), with, without))
	for _, network := range []int{small, large} {
		if err := p.peaks(s, network, network == small); err != nil {
			return err
		}
	}
	return nil
}

// smallPlanes starts the data planes of a network at both ends where
// /proc/meminfo shows a machine of so many kB. The agents adopt them.
func (p *pair) smallPlanes(ctx context.Context, network int, kB int) error {
	for _, n := range []*netns.Node{p.site, p.hub} {
		if err := n.WriteFile("/run/meminfo", fmt.Sprintf("MemTotal: %d kB\n", kB), 0o644); err != nil {
			return err
		}
		device := p.device(n, network)
		if err := p.all(ctx, n, "mount --bind /run/meminfo /proc/meminfo"); err != nil {
			return err
		}
		// A session of its own, as the agent gives it one: see wgQuick.
		if _, err := p.start(n, "setsid", "ginnel-dataplane", device); err != nil {
			return err
		}
		err := eventually(ctx, 10*time.Second, func() bool {
			_, err := n.Run(ctx, "wg", "show", device)
			return err == nil
		})
		if err != nil {
			return fmt.Errorf("the data plane of %s: %w", device, err)
		}
		if err := p.all(ctx, n, "umount /proc/meminfo"); err != nil {
			return err
		}
	}
	return nil
}

// device is what a network's link is called at one of the two.
func (p *pair) device(n *netns.Node, network int) string {
	hub := "hub-north"
	if n == p.hub {
		hub = ""
	}
	return tunnels.DeviceName(fmt.Sprintf("net%d", network), hub)
}

// planePID is the process of a network's data plane at one of the two.
func (p *pair) planePID(n *netns.Node, network int) (pid int, err error) {
	text, err := n.ReadFile("/run/wireguard/" + p.device(n, network) + ".lock")
	if err == nil {
		_, err = fmt.Sscan(text, &pid)
	}
	return pid, err
}

// peaks makes the row of the most memory that a network's data planes had.
func (p *pair) peaks(s *stage, network int, bounded bool) error {
	var peak []float64
	var text []string
	for _, n := range []*netns.Node{p.site, p.hub} {
		pid, err := p.planePID(n, network)
		if err != nil {
			return err
		}
		rss, err := memoryOf(pid, "status", "VmHWM")
		if err != nil {
			return err
		}
		peak = append(peak, rss)
		text = append(text, fmt.Sprintf("%s %.0f MiB", n.Name, rss))
	}
	name, aim, met := "peak VmHWM without a ceiling", "any", true
	if most := max(peak[0], peak[1]); bounded {
		name, aim, met = "peak VmHWM, 512 MB machine", "<= 102", most <= 102
	}
	s.row(result{Name: name, Value: max(peak[0], peak[1]), Unit: "MiB", Aim: aim, Met: met, Detail: strings.Join(text, ", ")})
	return nil
}
