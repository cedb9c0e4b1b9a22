package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/marks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// leak is the county under attempts.
type leak struct {
	stage    *stage
	county   *county.County
	log      *marks.Log
	attempts []probe
	ports    map[string][]int // by site, WireGuard's own
	not      string           // a sort that is not tried

	mu      sync.Mutex // guards what follows
	next    uint32     // number of the next mark
	shots   []shot
	dials   []dialled
	round   int
	rounded *sync.Cond
}

// shot is one attempt as it was made.
type shot struct {
	number uint32
	of     int  // index into attempts
	kept   bool // the node that made it refused it itself
}

// dialled is one connection that was tried.
type dialled struct {
	of   int
	made bool
}

func newLeak(ctx context.Context, s *stage) (*leak, error) {
	p := county.Apart()
	if s.short {
		p = p.Only("avocet", "bittern", "dunlin", "egret")
	}
	for i := range p.Sites {
		p.Sites[i].Unplugged = true
	}
	c, err := buildCounty(ctx, p, "scenario-"+s.name)
	if err != nil {
		return nil, err
	}
	l := &leak{stage: s, county: c, log: marks.NewLog(), ports: map[string][]int{}}
	l.rounded = sync.NewCond(&l.mu)
	if err := errors.Join(l.watch(), l.boot(ctx), l.listen()); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *leak) close() {
	l.log.Close()
	l.county.Close()
}

func (l *leak) agents() []*county.Agent {
	var all []*county.Agent
	for _, h := range l.county.Hubs {
		all = append(all, h.Agent)
	}
	for _, s := range l.county.Sites {
		all = append(all, s.Agent)
	}
	return all
}

// watch begins to capture: on every link of every node, and in the stack of each
// gateway.
func (l *leak) watch() error {
	for _, n := range l.county.Nodes() {
		if err := l.log.Links(n); err != nil {
			return err
		}
	}
	for _, a := range l.agents() {
		if err := l.log.Stack(a.Node); err != nil {
			return err
		}
	}
	return nil
}

// listen has hosts on the LANs and the gateways themselves answer where it is
// forbidden to ask them.
func (l *leak) listen() error {
	for _, s := range l.county.Sites {
		for _, n := range []*netns.Node{s.LAN, s.LAN2} {
			if n == nil {
				continue
			}
			if err := l.county.Greet(n, 22, 8443, 9100); err != nil {
				return err
			}
		}
	}
	for _, a := range l.agents() {
		if err := l.county.Greet(a.Node, 22); err != nil {
			return err
		}
	}
	return nil
}

// prepare lists the attempts for a state: WireGuard's ports are others after a
// new device.
func (l *leak) prepare(ctx context.Context) error {
	for _, s := range l.county.Sites {
		var ports []int
		text, err := s.Node.Run(ctx, "wg", "show", "all", "listen-port")
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			port, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return fmt.Errorf("wg show: %w", err)
			}
			ports = append(ports, port)
		}
		l.ports[s.Name()] = ports
	}
	l.attemptAll()
	l.log.Forget()
	l.shots, l.dials = nil, nil
	return nil
}

// sorts are those of the attempts that must not pass.
func (l *leak) sorts() []string {
	var all []string
	for _, a := range l.attempts {
		if !a.listed && !slices.Contains(all, a.sort) {
			all = append(all, a.sort)
		}
	}
	return all
}

// pause is between two rounds of attempts, and gap between groups of them, so
// that no queue is ever full because of us.
const pause, gap = 100 * time.Millisecond, 2 * time.Millisecond

// fire makes every attempt, round after round, until ctx ends. The last round is
// made to its end.
func (l *leak) fire(ctx context.Context, alive func(probe) bool) error {
	guns := &guns{open: map[string]gun{}}
	defer guns.close()
	for ctx.Err() == nil {
		guns.close() // a device that came again is another
		dials := sync.WaitGroup{}
		dials.Go(func() { l.dialAll(ctx, alive) })
		for i, a := range l.attempts {
			if i%20 == 0 {
				time.Sleep(gap)
			}
			if err := l.shoot(guns, i, a); err != nil {
				return err
			}
		}
		dials.Wait()
		l.mu.Lock()
		l.round++
		l.rounded.Broadcast()
		l.mu.Unlock()
		sleep(ctx, patient(pause))
	}
	return nil
}

// rounds waits until so many rounds have begun and ended.
func (l *leak) rounds(ctx context.Context, n int) error {
	defer context.AfterFunc(ctx, l.rounded.Broadcast)()
	l.mu.Lock()
	defer l.mu.Unlock()
	for until := l.round + n + 1; l.round < until; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.rounded.Wait()
	}
	return nil
}

func (l *leak) shoot(guns *guns, i int, a probe) error {
	l.next = l.next%marks.MaxNumber + 1
	g, err := guns.of(a)
	if err == nil {
		err = g.Send(a.packet, l.next)
	}
	if err != nil && !marks.Refused(err) {
		return fmt.Errorf("%s from %s to %v: %w", a.sort, a.from.Name, a.packet.Dst, err)
	}
	l.shots = append(l.shots, shot{l.next, i, err != nil})
	return nil
}

// gun is a way to send.
type gun interface {
	Send(marks.Packet, uint32) error
	Close()
}

type guns struct{ open map[string]gun }

func (g *guns) of(a probe) (gun, error) {
	name := a.from.Name + "/" + a.link + "/" + a.own.String()
	if a.into != nil {
		name = a.into.Link
	}
	if one, ok := g.open[name]; ok {
		return one, nil
	}
	var one gun
	var err error
	if a.into != nil {
		one, err = marks.Into(*a.into)
	} else {
		one, err = marks.From(a.from, a.link, a.own, county.SixOf(a.own))
	}
	if err == nil {
		g.open[name] = one
	}
	return one, err
}

func (g *guns) close() {
	for _, one := range g.open {
		one.Close()
	}
	clear(g.open)
}

// How long a connection is waited for. The farthest is 20 ms away, but a machine
// may be busy; of what must not be, nobody waits for a second SYN.
const patience, impatience = 4 * time.Second, 500 * time.Millisecond

// dialAll tries a whole connection for each attempt that somebody would answer.
func (l *leak) dialAll(ctx context.Context, alive func(probe) bool) {
	var wg sync.WaitGroup
	for i, a := range l.attempts {
		if !a.dial {
			continue
		}
		wg.Go(func() {
			limit := impatience
			if due(a, alive) {
				limit = patience
			}
			dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
			defer cancel()
			conn, err := a.from.Dial(dctx, "tcp", netip.AddrPortFrom(a.packet.Dst, a.packet.Port).String())
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.dials = append(l.dials, dialled{i, err == nil})
		})
	}
	wg.Wait()
}

// killDevices ends every device of ours at a node: its data plane, or where the
// kernel is that, the link.
func killDevices(ctx context.Context, n *netns.Node) error {
	return n.Do(func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, link := range links {
			if !strings.HasPrefix(link.Name, tunnels.DevicePrefix) {
				continue
			}
			if p, ok := wireguard.Running(link.Name); ok {
				err = syscall.Kill(p.PID, syscall.SIGKILL)
			} else {
				err = removeLink(link.Index)
			}
			if err != nil {
				return fmt.Errorf("%s at %s: %w", link.Name, n.Name, err)
			}
		}
		return nil
	})
}

func removeLink(index int) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}
