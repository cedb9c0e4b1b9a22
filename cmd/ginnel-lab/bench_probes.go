package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// probing is a site and a far machine that answers for many addresses, for
// measurements of checks and of other programs that ask the same.
type probing struct {
	pair // its hub is the far machine
	link *wan.Link
}

// farTarget is an address of the far machine: RFC 2544 gives them to benches.
func farTarget(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(1 + i%250)})
}

// newProbing joins the two: by a veth pair, or by a line, which takes each
// packet through user space.
func newProbing(s *stage, line *wan.Line) (*probing, error) {
	p := new(probing)
	for name, node := range map[string]**netns.Node{"site": &p.site, "far": &p.hub} {
		var err error
		if *node, err = netns.New(name, "127.0.0.1 localhost\n", "127.0.0.1"); err != nil {
			return nil, err
		}
	}
	near := netns.End{Node: p.site, Link: "eth0", Addr: netip.MustParsePrefix(siteWAN + "/24")}
	far := netns.End{Node: p.hub, Link: "eth0", Addr: netip.MustParsePrefix(hubWAN + "/24")}
	if err := p.join(near, far, line); err != nil {
		return nil, err
	}
	var err error
	if p.log, err = os.Create(filepath.Join(netns.Out, "bench-"+s.name+".log")); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := p.all(ctx, p.hub, "ip route add local 198.18.0.0/16 dev lo"); err != nil {
		return nil, err
	}
	if err := p.site.Sysctl("net.ipv4.ping_group_range", "0 0"); err != nil {
		return nil, err
	}
	return p, p.all(ctx, p.site, "ip route add default via "+hubWAN)
}

func (p *probing) join(near, far netns.End, line *wan.Line) error {
	if line == nil {
		return netns.Cable(near, far)
	}
	a, err := near.Tap()
	if err != nil {
		return err
	}
	b, err := far.Tap()
	if err != nil {
		return err
	}
	p.link = wan.Join("line", a, b)
	p.link.Set(*line)
	return nil
}

// asks writes the config of an agent that runs n checks of a kind, once a
// second each.
func (p *probing) asks(n int, kind, suffix, more string) error {
	var text strings.Builder
	text.WriteString("gateway = \"avocet-1\"\n")
	for i := range n {
		fmt.Fprintf(&text, "[[check]]\nname = \"check-%d\"\nkind = %q\ntarget = \"%v%s\"\ninterval = \"1s\"\n%s", i, kind, farTarget(i), suffix, more)
	}
	if err := p.site.WriteFile("/etc/ginnel/ginnel.toml", county.HostConfig(), 0o644); err != nil {
		return err
	}
	return p.site.WriteFile("/etc/ginnel/desired.toml", text.String(), 0o644)
}

// pings is asks for one echo request a run.
func (p *probing) pings(n int) error {
	return p.asks(n, "icmp", "", "[check.options]\ncount = 1\n")
}

// agent starts `ginnel run` and lets it settle: all checks run within 5 s.
func (p *probing) agent(ctx context.Context) (*exec.Cmd, error) {
	cmd, err := p.start(p.site, "ginnel", "run")
	if err == nil {
		sleep(ctx, 10*time.Second)
	}
	return cmd, err
}

// perSecond is how many probes a program makes with a second of CPU, at so many
// a second.
func (p *probing) perSecond(ctx context.Context, s *stage, cmd *exec.Cmd, rate int) (float64, error) {
	share, err := cpuShare(ctx, cmd.Process.Pid, pick(s, 15*time.Second, 5*time.Second))
	if err != nil {
		return 0, err
	}
	if share == 0 {
		return 0, fmt.Errorf("%s used no CPU", cmd.Path)
	}
	return float64(rate) / (share / 100), nil
}

// agentPerSecond is perSecond of a whole agent, from start to end.
func (p *probing) agentPerSecond(ctx context.Context, s *stage, rate int) (float64, error) {
	cmd, err := p.agent(ctx)
	if err != nil {
		return 0, err
	}
	defer end(cmd)
	n, err := p.perSecond(ctx, s, cmd, rate)
	if err != nil {
		return 0, err
	}
	f, err := p.figures(ctx)
	if err == nil && (f.Received != f.Sent || f.Sent < 10*rate) {
		err = fmt.Errorf("the agent has %d answers of %d at %d/s", f.Received, f.Sent, rate)
	}
	return n, err
}

// besidePeers measures us and the peers in rounds, and makes the rows. The first
// row says whether the aim is met: that holds for us alone.
func (p *probing) besidePeers(ctx context.Context, s *stage, what string, least float64, rate int, peers []probePeer) error {
	us, them, err := p.rounds(ctx, s, rate, peers)
	if err != nil {
		return err
	}
	for _, peer := range peers {
		if of := them[peer.name]; of != nil {
			s.row(beside(what+", beside "+peer.name, "1/CPU-s", peer.name, atLeast(peer.aim), us, of))
		}
	}
	own := spreadOf(us)
	s.row(result{Name: what, Value: own.Median, Unit: "1/CPU-s", Aim: fmt.Sprintf(">= %g", least), Met: own.Median >= least,
		Detail: fmt.Sprintf("the whole agent at %d/s; interval %.0f to %.0f, of %d rounds", rate, own.Low, own.High, len(us))})
	return nil
}

// has says whether a program is here, and prints it where not.
func (p *probing) has(ctx context.Context, name, program string) bool {
	_, err := p.site.Run(ctx, "sh", "-c", "command -v "+program)
	if err != nil {
		fmt.Printf("  %s is not here: make needs\n", name)
	}
	return err == nil
}

// rounds measures us and then each peer that is here, and in every other round
// the other way round: probes with a second of CPU, by round.
func (p *probing) rounds(ctx context.Context, s *stage, rate int, peers []probePeer) (us []float64, them map[string][]float64, err error) {
	them = map[string][]float64{}
	turns := []func() error{func() error {
		x, err := p.agentPerSecond(ctx, s, rate)
		fmt.Printf("  %8.0f  ginnel\n", x)
		us = append(us, x)
		return err
	}}
	for _, peer := range peers {
		if !p.has(ctx, peer.name, peer.args[0]) {
			continue
		}
		turns = append(turns, func() error {
			x, err := peer.perSecond(ctx, p, s)
			if err != nil {
				return fmt.Errorf("beside %s: %w", peer.name, err)
			}
			fmt.Printf("  %8.0f  %s\n", x, peer.name)
			them[peer.name] = append(them[peer.name], x)
			return nil
		})
	}
	for range pick(s, 5, 1) {
		for _, turn := range turns {
			if err := turn(); err != nil {
				return nil, nil, err
			}
		}
		slices.Reverse(turns)
	}
	return us, them, nil
}

// benchProbes looks at what an agent needs for 1,000 echo requests a second.
func benchProbes(ctx context.Context, s *stage) error {
	p, err := newProbing(s, nil)
	if err != nil {
		return err
	}
	const many = 1000
	if err := p.pings(many); err != nil {
		return err
	}
	if err := p.besidePeers(ctx, s, "probes", 20000, many, echoPeers(many)); err != nil {
		return err
	}
	return p.memory(ctx, s, many)
}

// benchFew is benchProbes for 50 echo requests a second, and for none.
func benchFew(ctx context.Context, s *stage) error {
	p, err := newProbing(s, nil)
	if err != nil {
		return err
	}
	const few = 50
	if err := p.pings(few); err != nil {
		return err
	}
	us, them, err := p.rounds(ctx, s, few, echoPeers(few)[:2]) // the others keep a second for each
	if err != nil {
		return err
	}
	share := func(perSecond []float64) []float64 {
		var all []float64
		for _, x := range perSecond {
			all = append(all, 100*few/x)
		}
		return all
	}
	var others strings.Builder
	for _, name := range slices.Sorted(maps.Keys(them)) {
		fmt.Fprintf(&others, "; %s %.2f", name, spreadOf(share(them[name])).Median)
	}
	own := spreadOf(share(us))
	s.row(result{Name: fmt.Sprintf("CPU with %d targets at 1/s", few), Value: own.Median, Unit: "% of a core", Aim: "<= 1", Met: own.Median <= 1,
		Detail: fmt.Sprintf("the whole agent; interval %.2f to %.2f, of %d rounds%s", own.Low, own.High, len(us), others.String())})
	if err := p.pings(0); err != nil {
		return err
	}
	return p.idle(ctx, s)
}

// memory makes the row of VmRSS once there are histograms of some minutes.
func (p *probing) memory(ctx context.Context, s *stage, n int) error {
	cmd, err := p.agent(ctx)
	if err != nil {
		return err
	}
	defer end(cmd)
	length := pick(s, 5*time.Minute, 10*time.Second)
	sleep(ctx, length)
	rss, err := memoryOf(cmd.Process.Pid, "status", "VmRSS")
	if err != nil {
		return err
	}
	s.row(result{Name: fmt.Sprintf("VmRSS with %d targets", n), Value: rss, Unit: "MiB", Aim: "<= 40", Met: rss <= 40,
		Detail: fmt.Sprintf("the whole agent, a histogram a minute for each, after %v", length)})
	return nil
}

// idle makes the row of an agent's CPU without a check.
func (p *probing) idle(ctx context.Context, s *stage) error {
	cmd, err := p.agent(ctx)
	if err != nil {
		return err
	}
	defer end(cmd)
	length := pick(s, time.Minute, 5*time.Second)
	share, err := cpuShare(ctx, cmd.Process.Pid, length)
	if err != nil {
		return err
	}
	s.row(result{Name: "CPU without a check", Value: share, Unit: "% of a core", Aim: "<= 0.5", Met: share <= 0.5,
		Detail: fmt.Sprintf("the whole agent, over %v", length)})
	return nil
}
