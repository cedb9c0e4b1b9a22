package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/marks"
)

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
	l.spent(fmt.Sprintf("%d rounds", n+1))
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
	name := fmt.Sprint(a.from.Name, a.link, a.own)
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
		one, err = marks.From(a.from, a.link, a.own...)
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
			dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patient(limit))
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
