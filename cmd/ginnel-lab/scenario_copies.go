package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// playCopies puts a copy of avocet's disk into bittern's machine. Both then call
// themselves avocet-1.
func playCopies(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "avocet", "bittern")
	if err != nil {
		return err
	}
	defer c.Close()
	avocet, bittern := c.Site("avocet"), c.Site("bittern")
	if err := bittern.StopAgent(ctx); err != nil {
		return err
	}
	if err := copyDisk(ctx, avocet, bittern); err != nil {
		return err
	}
	if err := ownBootID(ctx, bittern); err != nil {
		return err
	}
	api, err := c.Collector.API()
	if err != nil {
		return err
	}
	state := func() (g centre.GatewayState) {
		all, err := api.Fleet(ctx)
		for _, one := range all {
			if err == nil && one.Name == avocet.Gateway() {
				g = one
			}
		}
		return g
	}
	// A reboot of the real one is none of this.
	s.zero("copies before the second one is switched on", len(state().Clones), "machines", "")
	began := time.Now()
	if err := bittern.StartAgent(); err != nil {
		return err
	}
	if err := eventually(ctx, patient(time.Minute), func() bool { return c.Collector.Boots(ctx, avocet.Gateway()) > 1 }); err != nil {
		return fmt.Errorf("the copy was not heard: %w", err)
	}
	heard := time.Now()
	err = eventually(ctx, patient(time.Minute), func() bool { return len(state().Clones) > 1 })
	took := time.Since(heard)
	// The first of the copy was the second contact; the third is the real one's
	// next, which is due within a heartbeat of 3 s and a tenth.
	s.row(result{Name: "named after the copy's first contact, by the other's next one", Value: took.Seconds(), Unit: "s",
		Aim: "<= 4", Met: err == nil && took <= 4*time.Second, Detail: fmt.Sprintf("%.1f s after the copy was switched on", time.Since(began).Seconds())})
	var from []string
	for _, one := range state().Clones {
		from = append(from, fmt.Sprintf("boot %s from %s", one.Boot, one.From))
	}
	s.holds("both are named with where they are", len(from) == 2, strings.Join(from, "\n"))
	acts, err := c.Collector.Audit(ctx, "two copies")
	if err != nil {
		return err
	}
	s.row(result{Name: "acts in the log", Value: float64(len(acts)), Unit: "lines", Aim: "1", Met: len(acts) == 1, Detail: strings.Join(acts, "\n")})
	return nobodyIsShutOut(ctx, s, c, avocet)
}

// nobodyIsShutOut looks whether both machines may go on until somebody decides.
func nobodyIsShutOut(ctx context.Context, s *stage, c *county.County, avocet *county.Site) error {
	key, err := avocet.Key(ctx, "kestrel")
	if err != nil {
		return err
	}
	peers, err := c.Hub("hub-north").Node.Run(ctx, "wg", "show", "all", "peers")
	if err != nil {
		return err
	}
	s.holds("the hub still lets their key in", strings.Contains(peers, key), "")
	refused, err := c.Collector.Audit(ctx, "refused")
	if err != nil {
		return err
	}
	s.zero("refusals by the centre", len(refused), "lines", strings.Join(refused, "\n"))
	return nil
}

// copyDisk has everything of ours at one machine be at another.
func copyDisk(ctx context.Context, from, to *county.Site) error {
	disk, err := takeDisk(ctx, from)
	if err != nil {
		return err
	}
	return putDisk(ctx, disk, to)
}

// takeDisk copies everything of ours at a machine into a file.
func takeDisk(ctx context.Context, from *county.Site) (disk string, err error) {
	disk = filepath.Join(netns.Out, "disk.tar")
	_, err = from.Node.Run(ctx, "tar", "-C", "/", "-cf", disk, "etc/ginnel", "var/lib/ginnel")
	return disk, err
}

// putDisk has what takeDisk copied be everything of ours at a machine, and removes
// the file.
func putDisk(ctx context.Context, disk string, to *county.Site) error {
	if err := wipeDisk(ctx, to); err != nil {
		return err
	}
	for _, args := range [][]string{{"tar", "-C", "/", "-xf", disk}, {"rm", disk}} {
		if _, err := to.Node.Run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// wipeDisk removes every file of ours. The agent must not run.
func wipeDisk(ctx context.Context, s *county.Site) error {
	_, err := s.Node.Run(ctx, "find", "/etc/ginnel", "/var/lib/ginnel", "-mindepth", "1", "-delete")
	return err
}

// ownBootID gives a node what another kernel would have: all nodes of a lab are
// on one.
func ownBootID(ctx context.Context, s *county.Site) error {
	const file = "/run/boot_id"
	if err := s.Node.WriteFile(file, "8a9b5f0e-1c2d-4e3f-8a4b-5c6d7e8f9a0b\n", 0o444); err != nil {
		return err
	}
	_, err := s.Node.Run(ctx, "mount", "--bind", file, "/proc/sys/kernel/random/boot_id")
	return err
}
