package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
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
