package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// playDataplane has data planes replaced and killed at either end, and takes the
// time without a tunnel. Between, the site gets a second build of the programs.
func playDataplane(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 1, ""); err != nil {
		return err
	}
	hub, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(hub)
	second := filepath.Join(netns.Bin, "upgrade", "ginnel") // with its data plane beside it
	for _, agent := range []string{"ginnel", second} {      // the second adopts the data plane of the first
		cmd, err := p.start(p.site, agent, "run")
		if err != nil {
			return err
		}
		if err := p.reached(ctx, 1); err != nil {
			return err
		}
		if agent == second {
			defer end(cmd)
			break
		}
		end(cmd)
	}
	if err := p.upgraded(ctx, s); err != nil {
		return err
	}
	for _, act := range []struct {
		name string
		do   func(ctx context.Context, n *netns.Node) (ms float64, err error)
	}{{"renewed", p.renewed}, {"killed", p.killed}} {
		for _, n := range []*netns.Node{p.site, p.hub} {
			var gaps []float64
			for range pick(s, 20, 1) {
				ms, err := act.do(ctx, n)
				if err != nil {
					return err
				}
				gaps = append(gaps, ms)
			}
			worst := slices.Max(gaps)
			s.row(result{Name: "data plane " + act.name + " at the " + n.Name + ", longest without a tunnel",
				Value: worst, Unit: "ms", Aim: "<= 2000", Met: worst <= 2000,
				Detail: fmt.Sprintf("median %.0f ms, of %d", spreadOf(gaps).Median, len(gaps))})
		}
	}
	return nil
}

// upgraded looks what status says of a data plane that is of the first build, and
// after it was renewed.
func (p *pair) upgraded(ctx context.Context, s *stage) error {
	advice := p.device(p.site, 1) + " runs data plane"
	err := eventually(ctx, 10*time.Second, func() bool { // the agent has just started
		before, err := p.status(ctx)
		return err == nil && strings.Contains(before, advice)
	})
	if err != nil {
		return fmt.Errorf("status does not say that %s: %w", advice, err)
	}
	out, err := p.site.Run(ctx, "ginnel", "dataplane", "renew", "net1")
	if err != nil {
		return err
	}
	after, err := p.status(ctx)
	if err != nil {
		return err
	}
	s.holds("status names a data plane of the build before, until it is renewed",
		!strings.Contains(after, advice), strings.TrimSpace(out))
	return nil
}

// status is what the site's agent prints, with as few breaks as lines can have.
func (p *pair) status(ctx context.Context) (string, error) {
	out, err := p.site.Run(ctx, "sh", "-c", "ginnel status || [ $? -lt 3 ]")
	return strings.Join(strings.Fields(out), " "), err
}

// withoutTunnel is what `ginnel dataplane renew` prints.
var withoutTunnel = regexp.MustCompile(`(?m)^gn-\S+: \S+ -> \S+, (\d+) ms without a tunnel, \d+ of \d+ echoes lost$`)

func (p *pair) renewed(ctx context.Context, n *netns.Node) (ms float64, err error) {
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
	sleep(ctx, again) // more often would be a fight, in which the agent gives way
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
