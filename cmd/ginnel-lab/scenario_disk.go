package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playDisk fills the file system under the spool over at least one turn of the
// minute. The agent says so and goes on; the tunnel never notices.
func playDisk(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "bittern")
	if err != nil {
		return err
	}
	defer c.Close()
	bittern := c.Site("bittern")
	long := pick(s, 3*time.Minute, 20*time.Second)
	untilLateInMinute(ctx, long)
	filled := time.Now()
	var during block.Snapshot
	seen, err := county.PingDuring(ctx, bittern.LAN, records, func() error {
		if err := fillDisk(bittern); err != nil {
			return err
		}
		sleep(ctx, long)
		var err error
		during, err = bittern.Status(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.zero("lost through the tunnel at a 1 ms ping", seen.Lost(), "packets",
		fmt.Sprintf("%s sent%s while the disk was full for %v", thousands(seen.Sent), overrun(seen), long))
	log := bittern.Log(1000)
	s.holds("the agent's log says that the disk is full", strings.Contains(log, syscall.ENOSPC.Error()), lastLineWith(log, syscall.ENOSPC.Error()))
	s.holds("the tunnel is up all the while", tunnelUp(during, "kestrel"), county.Blame(during))

	if err := bittern.Node.Do(func() error { return os.Remove(filler) }); err != nil {
		return err
	}
	kept, took, err := keptAfter(within(ctx, 3*time.Minute), c, bittern, time.Now())
	s.holds("minutes arrive again once there is room", err == nil,
		fmt.Sprintf("the first one %.0f s after; %d in the store, %d missing between them", took.Seconds(), kept.Minutes, kept.Missing))
	h, err := bittern.History(ctx)
	if err != nil {
		return err
	}
	gaps := slices.DeleteFunc(h.Unwatched, func(g report.Gap) bool {
		before := g.From.Equal(h.From) || g.To.Before(filled)
		return before || !g.From.Before(kept.Finish) // the minute that is still open
	})
	s.holds("every gap in the record has its reason", !slices.ContainsFunc(gaps, unexplained), gapText(gaps))
	return nil
}

// keptAfter waits for a block in the store that ended after at.
func keptAfter(ctx context.Context, c *county.County, s *county.Site, at time.Time) (county.Kept, time.Duration, error) {
	for {
		k, err := c.Collector.Kept(ctx, s.Gateway())
		if err != nil || k.Finish.After(at) {
			return k, time.Since(at), err
		}
		if ctx.Err() != nil {
			return k, time.Since(at), context.Cause(ctx)
		}
		sleep(ctx, time.Second)
	}
}

const filler = "/var/lib/ginnel/filler"

// fillDisk writes until there is no room left.
func fillDisk(s *county.Site) error {
	return s.Node.Do(func() error {
		f, err := os.Create(filler)
		if err != nil {
			return err
		}
		defer f.Close()
		for size := 1 << 20; size > 0; {
			_, err := f.Write(make([]byte, size))
			switch {
			case errors.Is(err, syscall.ENOSPC):
				size /= 2
			case err != nil:
				return err
			}
		}
		return nil
	})
}

func tunnelUp(s block.Snapshot, network string) bool {
	t, ok := county.Tunnel(s, network)
	return ok && t.State == "up"
}

func lastLineWith(text, part string) string {
	found := ""
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = strings.TrimSpace(line)
		}
	}
	return found
}

// unexplained reports whether a gap has no reason.
func unexplained(g report.Gap) bool { return g.Reason == "" || g.Reason == "no record" }

func gapText(gaps []report.Gap) string {
	if len(gaps) == 0 {
		return "no gap"
	}
	var lines []string
	for _, g := range gaps {
		lines = append(lines, fmt.Sprintf("%s to %s: %s", g.From.Format(time.TimeOnly), g.To.Format(time.TimeOnly), g.Reason))
	}
	return strings.Join(lines, "\n")
}
