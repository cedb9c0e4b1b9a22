package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// playLeave looks at a gateway's host before the agent ever ran, and after it
// was stopped and cleaned up. Between the two the tunnels went on alone.
func playLeave(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Whole().Only("bittern"), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	bittern := c.Site("bittern")
	before, err := hostState(ctx, bittern.Node)
	if err != nil {
		return err
	}
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	during, err := hostState(ctx, bittern.Node)
	if err != nil {
		return err
	}
	s.holds("the host is changed while the agent runs", during != before, fmt.Sprintf("%d lines differ", len(differing(before, during))))

	if err := bittern.StopAgent(ctx); err != nil {
		return err
	}
	seen, err := county.Ping(ctx, bittern.LAN, records, time.Millisecond, pick(s, 10000, 1000))
	if err != nil {
		return err
	}
	s.zero("lost through the tunnel after the agent was stopped", seen.Lost(), "packets", fmt.Sprintf("%s sent", thousands(seen.Sent)))

	if _, err := bittern.Node.Run(ctx, "ginnel", "cleanup"); err != nil {
		return err
	}
	after, err := hostState(ctx, bittern.Node)
	if err != nil {
		return err
	}
	left := differing(before, after)
	s.zero("left on the host after cleanup", len(left), "lines", strings.Join(left, "\n"))
	return nil
}

// hostState is what our programs could change on a host, as text.
func hostState(ctx context.Context, n *netns.Node) (string, error) {
	return n.Run(ctx, "sh", "-c", `set -e
		ip -o link; ip -o addr
		ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
		nft list ruleset
		grep . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/ip_forward
		ls /run/wireguard 2>/dev/null || true`)
}

// differing lists the lines that are in only one of two texts.
func differing(a, b string) []string {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]--
	}
	for line := range strings.Lines(b) {
		count[line]++
	}
	var lines []string
	for line, n := range count {
		switch {
		case n < 0:
			lines = append(lines, "- "+strings.TrimSpace(line))
		case n > 0:
			lines = append(lines, "+ "+strings.TrimSpace(line))
		}
	}
	return lines
}
