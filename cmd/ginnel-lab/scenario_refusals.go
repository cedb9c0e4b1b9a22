package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// playRefusals starts an agent on bad days, and prints what it said.
func playRefusals(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 2, ""); err != nil {
		return err
	}
	for _, act := range []func(context.Context, *pair) error{s.withoutRights, s.portTaken, s.tenMistakes, s.withoutBackend} {
		if err := act(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// withoutRights starts an agent that may not change links.
func (s *stage) withoutRights(ctx context.Context, p *pair) error {
	before, err := atRest(ctx, p.site)
	if err != nil {
		return err
	}
	code, said := attempt(ctx, p.site, "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "ginnel", "run")
	s.holds("without CAP_NET_ADMIN: a sentence and a hint, exit 1", code == 1 && sentence(said, "CAP_NET_ADMIN"), told(code, said))
	return s.unchanged(ctx, p.site, before, "without CAP_NET_ADMIN")
}

// withoutBackend takes the device that makes TUN links away. It comes last: no
// data plane can start in that node afterwards.
func (s *stage) withoutBackend(ctx context.Context, p *pair) error {
	before, err := atRest(ctx, p.site)
	if err != nil {
		return err
	}
	err = p.site.Do(func() error { return unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, "") })
	if err != nil {
		return fmt.Errorf("hiding /dev/net/tun: %w", err)
	}
	// A kernel that has WireGuard cannot be made to lack it; there the config
	// must ask for a data plane.
	name := "neither WireGuard in the kernel nor /dev/net/tun"
	if kernelHas(ctx, p.site) {
		name = "a data plane is asked for, and /dev/net/tun is not there"
	} else if err := p.site.WriteFile("/etc/ginnel/ginnel.toml", "", 0o644); err != nil {
		return err
	}
	code, said := attempt(ctx, p.site, "ginnel", "run")
	s.holds(name+": a sentence and a hint, exit 1", code == 1 && sentence(said, "/dev/net/tun"), told(code, said))
	return s.unchanged(ctx, p.site, before, "without a back end")
}

// kernelHas reports whether the kernel makes WireGuard links.
func kernelHas(ctx context.Context, n *netns.Node) bool {
	if _, err := n.Run(ctx, "ip", "link", "add", "wg-try", "type", "wireguard"); err != nil {
		return false
	}
	_, err := n.Run(ctx, "ip", "link", "del", "wg-try")
	return err == nil
}

// portTaken lets somebody else have the port of one of a hub's two networks: a
// plan is refused, and a config that has run before comes up without it.
func (s *stage) portTaken(ctx context.Context, p *pair) error {
	ctx = within(ctx, 2*time.Minute)
	if err := s.runOnce(ctx, p); err != nil {
		return err
	}
	other, err := p.hub.ListenPacket("udp4", "0.0.0.0:51820")
	if err != nil {
		return err
	}
	defer other.Close()
	before, err := atRest(ctx, p.hub)
	if err != nil {
		return err
	}
	code, refused := attempt(ctx, p.hub, "ginnel", "plan")
	s.holds("a UDP port that is taken is refused, with the program that has it, exit 1",
		code == 1 && strings.Contains(refused, "listen_port: 51820 is taken: exe (pid"), told(code, refused))
	if err := s.unchanged(ctx, p.hub, before, "by ginnel plan"); err != nil {
		return err
	}
	hub, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(hub)
	site, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(site)
	st, err := awaitStatus(ctx, p.hub, func(s block.Snapshot) bool {
		one, _ := county.Tunnel(s, "net1")
		two, ok := county.Tunnel(s, "net2")
		return ok && two.State == checks.Up && one.State == checks.Down
	})
	if err != nil {
		return err
	}
	one, _ := county.Tunnel(st, "net1")
	said, serr := p.hub.Run(ctx, "ginnel", "status")
	s.holds("a UDP port that is taken at the next start is named", strings.Contains(one.Reason+said, "51820"),
		fmt.Sprintf("%s\n%s", one.Reason, strings.TrimSpace(said)))
	f, _ := errors.AsType[*netns.Failure](serr)
	s.holds("ginnel status ends with 1, degraded", f != nil && f.Code == 1, fmt.Sprint(serr))
	if _, err := firstEcho(ctx, p.site, overlayOf(2, false), netip.MustParseAddr(overlayOf(2, true))); err != nil {
		return err
	}
	s.holds("the other network is up, and answers through its tunnel", true, "")

	other.Close()
	began := time.Now()
	if _, err := firstEcho(ctx, p.site, overlayOf(1, false), netip.MustParseAddr(overlayOf(1, true))); err != nil {
		return err
	}
	took := time.Since(began)
	s.row(result{Name: "answered through its tunnel after the port was free", Value: took.Seconds(), Unit: "s", Aim: "<= 60",
		Met: took <= time.Minute, Detail: "by itself, nobody told the agent"})
	return nil
}

// runOnce has the hub take its config as a good one, and takes its tunnels down
// again.
func (s *stage) runOnce(ctx context.Context, p *pair) error {
	hub, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(hub)
	if _, err := awaitStatus(ctx, p.hub, func(s block.Snapshot) bool { return len(s.Tunnels) == 2 }); err != nil {
		return err
	}
	_, err = p.hub.Run(ctx, "ginnel", "down")
	return err
}

// unchanged makes the row about a host after an act that should not have
// changed it. Lines that hold one of but's texts are somebody else's doing.
func (s *stage) unchanged(ctx context.Context, n *netns.Node, before, what string, but ...string) error {
	after, err := hostState(ctx, n)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(differing(before, after), func(line string) bool {
		return slices.ContainsFunc(but, func(b string) bool { return strings.Contains(line, b) })
	})
	s.zero("changed on the host "+what, len(left), "lines", strings.Join(left, "\n"))
	return nil
}

// attempt runs a command that should end soon, and returns its exit code and
// what it said to standard error.
func attempt(ctx context.Context, n *netns.Node, args ...string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := n.Run(ctx, args...)
	if f, ok := errors.AsType[*netns.Failure](err); ok {
		return f.Code, strings.TrimSpace(f.Stderr)
	}
	return 0, fmt.Sprint(err)
}

// sentence reports whether what was said is one error with a part, and a hint.
func sentence(said, part string) bool {
	return strings.Count(said, "error: ") == 1 && strings.Contains(said, part) && strings.Contains(said, "hint: ")
}

func told(code int, said string) string { return fmt.Sprintf("exit %d\n%s", code, said) }

// awaitStatus polls the status at a node until it is as wanted.
func awaitStatus(ctx context.Context, n *netns.Node, want func(block.Snapshot) bool) (block.Snapshot, error) {
	a := county.AgentAt(n)
	for {
		st, err := a.Status(ctx)
		if err == nil && want(st) {
			return st, nil
		}
		if ctx.Err() != nil {
			return st, fmt.Errorf("%s is %s: %s: %w", n.Name, st.State, county.Blame(st), errors.Join(err, context.Cause(ctx)))
		}
		sleep(ctx, 100*time.Millisecond)
	}
}
