package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// playUpgrade puts a second build in the place of the agent's program, and back,
// while a host on the LAN pings through the tunnel every millisecond.
func playUpgrade(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "bittern")
	if err != nil {
		return err
	}
	defer c.Close()
	bittern := c.Site("bittern")
	first, err := bittern.Status(ctx)
	if err != nil {
		return err
	}
	var all county.Pinged
	var back []time.Duration
	ran := []string{first.Agent.Version}
	before := writes(bittern)
	times := pick(s, 20, 3)
	for i := range times {
		r, err := restartUnderPing(ctx, bittern, records, func(ctx context.Context) error {
			return upgrade(ctx, bittern, i%2 == 0)
		}, 0)
		if err != nil {
			return err
		}
		all.Sent += r.Sent
		all.Answered += r.Answered
		all.Overrun += r.Overrun
		back = append(back, r.back)
		st, err := bittern.Status(ctx)
		if err != nil {
			return err
		}
		ran = append(ran, st.Agent.Version)
	}
	slices.Sort(back)
	s.zero(fmt.Sprintf("lost over %d upgrades at a 1 ms ping", times), all.Lost(), "packets",
		fmt.Sprintf("%s sent%s, %s back end; the agent was back after %.2f s (median), %.2f s at most",
			thousands(all.Sent), overrun(all), county.Backend, back[len(back)/2].Seconds(), back[len(back)-1].Seconds()))
	s.holds("status shows the version that runs, each time", eachIsNew(ran), strings.Join(ran[:min(4, len(ran))], ", then "))
	if _, _, err := bittern.Await(within(ctx, 30*time.Second), county.AllUp); err != nil {
		return err
	}
	s.holds("all is up afterwards", true, "")
	s.zero("written to the host by all of these agents", writes(bittern)-before, "steps", "the config and the host were the same")
	return nil
}

// upgrade ends the agent and has the other build at its place: the second one
// covers the first, and is taken away again.
func upgrade(ctx context.Context, s *county.Site, second bool) error {
	if err := s.StopAgent(ctx); err != nil {
		return err
	}
	program := filepath.Join(netns.Bin, "ginnel")
	err := s.Node.Do(func() error {
		if !second {
			return unix.Unmount(program, unix.MNT_DETACH)
		}
		return unix.Mount(filepath.Join(netns.Bin, "upgrade", "ginnel"), program, "", unix.MS_BIND, "")
	})
	if err != nil {
		return fmt.Errorf("putting another build in place, which make scenarios makes: %w", err)
	}
	return nil
}

// eachIsNew reports whether no version is the one before it.
func eachIsNew(versions []string) bool {
	return len(slices.Compact(slices.Clone(versions))) == len(versions) && len(versions) > 1
}
