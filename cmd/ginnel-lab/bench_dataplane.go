package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// benchDataplane replaces and kills data planes at either end, and takes the time
// without a tunnel.
func benchDataplane(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 1, ""); err != nil {
		return err
	}
	down, err := p.up(ctx, 1)
	if err != nil {
		return err
	}
	defer down()
	for _, n := range []*netns.Node{p.site, p.hub} {
		var gaps []float64
		for range pick(s, 20, 2) {
			ms, err := renewed(ctx, n)
			if err != nil {
				return err
			}
			gaps = append(gaps, ms)
		}
		p.gapRow(s, "data plane renewed at the "+n.Name, gaps)
	}
	for _, n := range []*netns.Node{p.site, p.hub} {
		var gaps []float64
		for range pick(s, 20, 3) {
			ms, err := p.killed(ctx, n)
			if err != nil {
				return err
			}
			gaps = append(gaps, ms)
		}
		p.gapRow(s, "data plane killed at the "+n.Name, gaps)
	}
	return nil
}

func (p *pair) gapRow(s *stage, name string, ms []float64) {
	worst := slices.Max(ms)
	s.row(result{Name: name + ", longest without a tunnel", Value: worst, Unit: "ms", Aim: "<= 2000", Met: worst <= 2000,
		Detail: fmt.Sprintf("median %.0f ms, of %d", spreadOf(ms).Median, len(ms))})
}

// withoutTunnel is what `ginnel dataplane renew` prints.
var withoutTunnel = regexp.MustCompile(`(?m)^gn-\S+: \S+ -> \S+, (\d+) ms without a tunnel, \d+ of \d+ echoes lost$`)

func renewed(ctx context.Context, n *netns.Node) (ms float64, err error) {
	out, err := n.Run(ctx, "ginnel", "dataplane", "renew", "net1")
	if err != nil {
		return 0, err
	}
	fmt.Printf("  %s: %s", n.Name, out)
	found := withoutTunnel.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("renew at %s printed %q", n.Name, out)
	}
	return strconv.ParseFloat(found[1], 64)
}

// killed takes the time from the death of a data plane to the first answer.
func (p *pair) killed(ctx context.Context, n *netns.Node) (ms float64, err error) {
	pid, err := p.planePID(n, 1)
	if err != nil {
		return 0, err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return 0, err
	}
	began := time.Now()
	err = eventually(ctx, time.Second, func() bool { // with the process its link is gone
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err != nil
	})
	if err != nil {
		return 0, errors.Join(fmt.Errorf("data plane %d does not die", pid), err)
	}
	at, err := firstEcho(within(ctx, time.Minute), p.site, siteLAN, netip.MustParseAddr(overlayOf(1, true)))
	fmt.Printf("  %s: back after %v\n", n.Name, at.Sub(began).Round(time.Millisecond))
	return float64(at.Sub(began).Microseconds()) / 1e3, err
}
