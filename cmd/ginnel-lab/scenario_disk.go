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

// playDisk fills the file system under the spool. The agent says so and goes
// on; the tunnel never notices.
func playDisk(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "bittern")
	if err != nil {
		return err
	}
	defer c.Close()
	bittern := c.Site("bittern")
	long := pick(s, 3*time.Minute, 15*time.Second)
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
		fmt.Sprintf("%s sent while the disk was full for %v", thousands(seen.Sent), long))
	log := bittern.Log(1000)
	s.holds("the agent's log says that the disk is full", strings.Contains(log, syscall.ENOSPC.Error()), lastLineWith(log, syscall.ENOSPC.Error()))
	s.holds("the tunnel is up all the while", tunnelUp(during, "kestrel"), county.Blame(during))

	if err := bittern.Node.Do(func() error { return os.Remove(filler) }); err != nil {
		return err
	}
	freed := time.Now()
	_, after, err := bittern.Await(within(ctx, 3*time.Minute), func(s block.Snapshot) bool { return s.Collector.LastReceipt.After(freed) })
	s.holds("minutes arrive again once there is room", err == nil, fmt.Sprintf("%v after; %v", after.Collector.LastReceipt.Sub(freed).Round(time.Second), err))
	h, err := bittern.History(ctx)
	if err != nil {
		return err
	}
	s.holds("the record shows the gap, or has none", !unexplained(h.Unwatched), fmt.Sprintf("%+v", h.Unwatched))
	return nil
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
func unexplained(gaps []report.Gap) bool {
	return slices.ContainsFunc(gaps, func(g report.Gap) bool { return g.Reason == "" })
}
