package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/marks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// leak is the county under attempts.
type leak struct {
	stage    *stage
	county   *county.County
	log      *marks.Log
	attempts []probe
	ports    map[string][]int // by site, WireGuard's own
	not      string           // a sort that is not tried
	since    time.Time        // what is spent is counted from
	parts    []string         // what time went to in this state

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
	if s.kernel {
		p.Rhythm = 20 * time.Second // the attempts need what little processor there is
	}
	c, err := buildCounty(ctx, p, "scenario-"+s.name)
	if err != nil {
		return nil, err
	}
	l := &leak{stage: s, county: c, log: marks.NewLog(), ports: map[string][]int{}, since: time.Now()}
	l.rounded = sync.NewCond(&l.mu)
	if err := errors.Join(l.watch(), l.boot(ctx), l.listen()); err != nil {
		l.close()
		return nil, err
	}
	l.spent("booted")
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
