package county

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// Pinged is what a ping saw.
type Pinged struct {
	Sent, Answered int
	Refused        int // answered with "unreachable" by a router or this host
	Overrun        int // answers to this ping that our own socket had no room for: no loss, but not seen
	RTT            []time.Duration
}

// Lost is how many questions got no answer that our own socket did not drop.
func (p Pinged) Lost() int { return max(0, p.Sent-p.Answered-p.Overrun) }

// Median is the median round trip; 0 when nothing was answered.
func (p Pinged) Median() time.Duration {
	if len(p.RTT) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(p.RTT))
	return s[len(s)/2]
}

// patience is how long late answers are waited for after the last question.
const patience = 2 * time.Second

// Payloads of a ping, in bytes. A long one is known by its length even when it
// is encrypted: nothing else that the lab or an agent asks is as long.
const (
	shortPing = 16
	longPing  = 700
)

// Ping asks target from a node every so often until ctx ends or, if count is
// not 0, count times. Each question is counted once it was handed to the
// kernel, and each answer once.
func Ping(ctx context.Context, from *netns.Node, target netip.Addr, every time.Duration, count int) (Pinged, error) {
	return ping(ctx, from, target, every, count, shortPing)
}

// PingLong is Ping with packets that WatchNetwork knows again.
func PingLong(ctx context.Context, from *netns.Node, target netip.Addr, every time.Duration, count int) (Pinged, error) {
	return ping(ctx, from, target, every, count, longPing)
}

func ping(ctx context.Context, from *netns.Node, target netip.Addr, every time.Duration, count, size int) (Pinged, error) {
	p, err := newPinger(from, size)
	if err != nil {
		return Pinged{}, fmt.Errorf("ping from %s: %w", from.Name, err)
	}
	p.listen()
	err = p.send(ctx, target, every, count)
	p.settle()
	return p.end(), err
}

type pinger struct {
	conn     *net.UDPConn // is given the answers to this ping, and nothing else
	refusals *net.IPConn  // likewise
	id       uint16
	fill     []byte // behind the question's number
	readers  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	seen   Pinged
	sentAt map[uint32]time.Time // of questions without an answer yet
}

func newPinger(from *netns.Node, size int) (*pinger, error) {
	p := &pinger{fill: make([]byte, size-shortPing), sentAt: map[uint32]time.Time{}}
	var err error
	if p.conn, p.id, err = openPing(from); err != nil {
		return nil, err
	}
	if p.refusals, err = openRefusals(from, p.id); err != nil {
		p.conn.Close()
		return nil, err
	}
	return p, nil
}

// listen begins to read.
func (p *pinger) listen() {
	p.readers.Go(func() { p.receive(p.conn) })
	p.readers.Go(func() { p.receive(p.refusals) })
}

// end closes the sockets and returns what was seen.
func (p *pinger) end() Pinged {
	overrun := drops(p.conn)
	_ = p.conn.Close()
	_ = p.refusals.Close()
	p.readers.Wait()
	p.seen.Overrun = overrun
	return p.seen
}

// send keeps the pace of every: a late tick is made up for, not left out.
func (p *pinger) send(ctx context.Context, target netip.Addr, every time.Duration, count int) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	began := time.Now()
	dst := &net.UDPAddr{IP: target.AsSlice()}
	for n := 0; count == 0 || n < count; {
		due := int(time.Since(began)/every) + 1
		for ; n < due && (count == 0 || n < count); n++ {
			if err := p.ask(uint32(n), dst); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// ask sends one question. A refusal by this host counts as sent and refused.
func (p *pinger) ask(n uint32, dst *net.UDPAddr) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{
		ID: int(p.id), Seq: int(n & 0xffff), Data: append(binary.BigEndian.AppendUint32([]byte("ginnel-lab  "), n), p.fill...)}}
	raw, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.sentAt[n] = time.Now()
	p.seen.Sent++
	p.mu.Unlock()
	if _, err := p.conn.WriteTo(raw, dst); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.sentAt, n)
		p.seen.Refused++
	}
	return nil
}

func (p *pinger) receive(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		now := time.Now()
		m, err := icmp.ParseMessage(1, buf[:n])
		if err != nil {
			continue
		}
		switch body := m.Body.(type) {
		case *icmp.Echo:
			if m.Type == ipv4.ICMPTypeEchoReply && uint16(body.ID) == p.id && len(body.Data) == shortPing+len(p.fill) {
				p.answer(binary.BigEndian.Uint32(body.Data[12:]), now, true)
			}
		case *icmp.DstUnreach:
			// The question comes back behind its IP header.
			if len(body.Data) >= 28+shortPing && binary.BigEndian.Uint16(body.Data[24:]) == p.id {
				p.answer(binary.BigEndian.Uint32(body.Data[40:]), now, false)
			}
		}
	}
}

func (p *pinger) answer(n uint32, now time.Time, good bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, waiting := p.sentAt[n]
	if !waiting {
		return
	}
	delete(p.sentAt, n)
	if !good {
		p.seen.Refused++
		return
	}
	p.seen.Answered++
	p.seen.RTT = append(p.seen.RTT, now.Sub(at))
}

// settle waits for late answers.
func (p *pinger) settle() {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		waiting := len(p.sentAt)
		p.mu.Unlock()
		if waiting == 0 {
			return
		}
	}
}

// PingDuring pings target every millisecond from before f until after it has
// returned.
func PingDuring(ctx context.Context, from *netns.Node, target netip.Addr, f func() error) (Pinged, error) {
	pctx, stop := context.WithCancel(ctx)
	var seen Pinged
	var perr error
	var wg sync.WaitGroup
	wg.Go(func() { seen, perr = Ping(pctx, from, target, time.Millisecond, 0) })
	err := f()
	stop()
	wg.Wait()
	if err == nil {
		err = perr
	}
	return seen, err
}
