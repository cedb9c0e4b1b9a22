package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// benchStart takes the time from a start to the first answered ping, ours and
// wg-quick's in alternation. Keys are there; nothing else is.
func benchStart(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	if err := p.configure(ctx, 1, ""); err != nil {
		return err
	}
	const number = 9
	if err := p.plain(ctx, number); err != nil {
		return err
	}
	hub, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(hub)

	ours, theirs, err := inPairs(s, "s",
		func() (float64, error) { return p.startOurs(ctx) },
		func() (float64, error) { return p.startQuick(ctx, number) })
	if err != nil {
		return err
	}
	s.row(beside("start to first ping answered", "s", "wg-quick up with wireguard-go", atMost(1), ours, theirs))
	return nil
}

// startOurs starts the agent, waits for the answer, and clears all away again. It
// returns seconds.
func (p *pair) startOurs(ctx context.Context) (float64, error) {
	wait := p.answers(ctx, overlayOf(1, true))
	began := time.Now()
	agent, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return 0, err
	}
	at, err := wait()
	end(agent)
	if err != nil {
		return 0, err
	}
	return at.Sub(began).Seconds(), p.all(ctx, p.site, "ginnel cleanup")
}

// startQuick does the same with wg-quick.
func (p *pair) startQuick(ctx context.Context, number int) (float64, error) {
	wait := p.answers(ctx, overlayOf(number, true))
	began := time.Now()
	if err := p.wgQuick(ctx, p.site, "up"); err != nil {
		return 0, err
	}
	at, err := wait()
	if err != nil {
		return 0, err
	}
	return at.Sub(began).Seconds(), p.wgQuick(ctx, p.site, "down")
}

// answers begins to ping; the function that it returns waits for the answer.
func (p *pair) answers(ctx context.Context, target string) func() (time.Time, error) {
	type answer struct {
		at  time.Time
		err error
	}
	done := make(chan answer, 1)
	go func() {
		at, err := p.firstAnswer(within(ctx, 30*time.Second), target)
		done <- answer{at, err}
	}()
	return func() (time.Time, error) {
		a := <-done
		return a.at, a.err
	}
}

// firstEcho pings every 2 ms until there is an answer. There may be no way at
// first: that is what it waits for.
func firstEcho(ctx context.Context, n *netns.Node, from string, target netip.Addr) (time.Time, error) {
	conn, err := n.ListenPacket("ip4:icmp", from)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close()
	echo := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 4711, Seq: 1, Data: []byte("first")}}
	question, err := echo.Marshal(nil)
	if err != nil {
		return time.Time{}, err
	}
	buf := make([]byte, 1500)
	for ctx.Err() == nil {
		_, _ = conn.WriteTo(question, &net.IPAddr{IP: target.AsSlice()}) // refused while there is no way
		if err := conn.SetReadDeadline(time.Now().Add(2 * time.Millisecond)); err != nil {
			return time.Time{}, err
		}
		size, peer, err := conn.ReadFrom(buf)
		if err != nil || peer.String() != target.String() {
			continue
		}
		if m, err := icmp.ParseMessage(1, buf[:size]); err == nil && m.Type == ipv4.ICMPTypeEchoReply {
			return time.Now(), nil
		}
	}
	return time.Time{}, errors.Join(fmt.Errorf("%s does not answer %s", target, from), context.Cause(ctx))
}
