package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// manyPeers gives a hub ten thousand sites: its config is taken, applied, and
// shown. What it costs is printed.
func (s *stage) manyPeers(ctx context.Context, p *pair) error {
	ctx = within(ctx, 5*time.Minute)
	if _, err := p.hub.Run(ctx, "ginnel", "cleanup"); err != nil {
		return err
	}
	n := pick(s, 10000, 2000)
	var config strings.Builder
	fmt.Fprintf(&config, "gateway = \"hub-north\"\n[[network]]\nname = \"net1\"\nrole = \"hub\"\naddress = [\"%s/32\"]\n", overlayOf(1, true))
	overlay, lan := netip.MustParseAddr("100.65.0.1"), netip.MustParseAddr("192.168.0.0")
	for i := range n {
		fmt.Fprintf(&config, "[[network.site]]\nname = \"paper-%d\"\npublic_key = %q\nallowed_ips = [\"%v/32\", \"%v/30\"]\n", i+1, randomKey(), overlay, lan)
		overlay = overlay.Next()
		for range 4 {
			lan = lan.Next()
		}
	}
	if err := p.hub.WriteFile(desired, config.String(), 0o644); err != nil {
		return err
	}
	many := fmt.Sprintf("with %d peers", n)
	if err := s.timed(ctx, p.hub, 0, 5, "ginnel config check "+many, "ginnel", "config", "check"); err != nil {
		return err
	}
	if err := s.timed(ctx, p.hub, 2, 10, "ginnel plan "+many+", from nothing", "ginnel", "plan"); err != nil {
		return err
	}
	began := time.Now()
	agent, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(agent)
	for { // this costs less than a plan
		list, _ := p.hub.Run(ctx, "ip", "route", "show", "table", "all", "proto", "103", "dev", "gn-net1")
		if strings.Count(list, "\n") >= 2*n {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d routes are there: %w", strings.Count(list, "\n"), 2*n, context.Cause(ctx))
		}
		sleep(ctx, 200*time.Millisecond)
	}
	took := time.Since(began)
	s.row(result{Name: "until all was on the host " + many, Value: took.Seconds(), Unit: "s", Aim: "<= 60", Met: took <= time.Minute})
	if err := s.timed(ctx, p.hub, 0, 10, "ginnel plan "+many+", nothing to do", "ginnel", "plan"); err != nil {
		return err
	}
	if err := s.timed(ctx, p.hub, anyCode, 2, "ginnel status "+many, "ginnel", "status"); err != nil {
		return err
	}
	rss, err := memoryOf(agent.Process.Pid, "status", "VmRSS")
	if err != nil {
		return err
	}
	s.row(result{Name: "agent, VmRSS " + many, Value: rss, Unit: "MiB", Aim: "<= 256", Met: rss <= 256})
	lock, err := p.hub.ReadFile("/run/wireguard/gn-net1.lock")
	if err != nil {
		return nil // the kernel has it
	}
	var pid int
	if _, err := fmt.Sscan(lock, &pid); err != nil {
		return err
	}
	if rss, err = memoryOf(pid, "status", "VmRSS"); err != nil {
		return err
	}
	s.row(result{Name: "data plane, VmRSS " + many, Value: rss, Unit: "MiB", Aim: "none", Met: true,
		Detail: "a figure to know: wireguard-go keeps queues for each peer"})
	return nil
}

// anyCode is no code: whether a hub that nobody calls is up is not the point.
const anyCode = -1

// timed makes the row about how long a command takes that ends with a code.
func (s *stage) timed(ctx context.Context, n *netns.Node, code int, most float64, name string, args ...string) error {
	began := time.Now()
	_, err := n.Run(ctx, args...)
	took := time.Since(began).Seconds()
	ended, said := 0, ""
	if f, ok := errors.AsType[*netns.Failure](err); ok {
		ended, said = f.Code, f.Stderr
	} else if err != nil {
		return err
	}
	s.row(result{Name: name, Value: took, Unit: "s", Aim: fmt.Sprintf("<= %g", most), Met: took <= most && (ended == code || code == anyCode),
		Detail: strings.TrimSpace(fmt.Sprintf("exit %d\n%.300s", ended, said))})
	return nil
}

// atRest is the host's state once links have come up by themselves.
func atRest(ctx context.Context, n *netns.Node) (string, error) {
	last := ""
	for {
		now, err := hostState(ctx, n)
		if err != nil || now == last {
			return now, err
		}
		last = now
		sleep(ctx, 2*time.Second)
	}
}
