package agent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// echoEvery is the pause between two echoes that measure a gap.
const echoEvery = 10 * time.Millisecond

// echoes are sent steadily through a tunnel to see how long it carries nothing.
// Unlike a check, they go on while the address that they come from is gone.
type echoes struct {
	conn   net.PacketConn
	to     netip.Addr
	nonce  [8]byte
	wg     sync.WaitGroup
	cancel context.CancelFunc

	mu       sync.Mutex // of what follows
	sent     []time.Time
	answered []bool
}

// sendEchoes begins to send from one address to another.
func sendEchoes(ctx context.Context, from, to netip.Addr) (*echoes, error) {
	network := "ip4:icmp"
	if to.Is6() {
		network = "ip6:ipv6-icmp"
	}
	conn, err := net.ListenPacket(network, from.String())
	if err != nil {
		return nil, fmt.Errorf("echoes from %s: %w", from, err)
	}
	e := &echoes{conn: conn, to: to}
	rand.Read(e.nonce[:])
	ctx, e.cancel = context.WithCancel(ctx)
	e.wg.Go(func() { e.send(ctx) })
	e.wg.Go(e.receive)
	return e, nil
}

// Close ends them.
func (e *echoes) Close() {
	e.cancel()
	e.conn.Close()
	e.wg.Wait()
}

func (e *echoes) send(ctx context.Context) {
	tick := time.NewTicker(echoEvery)
	defer tick.Stop()
	for {
		e.mu.Lock()
		n := len(e.sent)
		e.sent, e.answered = append(e.sent, time.Now()), append(e.answered, false)
		e.mu.Unlock()
		if text, err := e.message(n); err == nil {
			_, _ = e.conn.WriteTo(text, &net.IPAddr{IP: e.to.AsSlice()}) // refused: lost
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (e *echoes) message(n int) ([]byte, error) {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(e.nonce[0])<<8 | int(e.nonce[1]), Seq: n & 0xffff,
		Data: binary.BigEndian.AppendUint32(e.nonce[:], uint32(n))}}
	if e.to.Is6() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

func (e *echoes) receive() {
	buf := make([]byte, 1500)
	for {
		size, _, err := e.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n, ok := e.number(buf[:size]); ok {
			e.mu.Lock()
			if n < len(e.answered) {
				e.answered[n] = true
			}
			e.mu.Unlock()
		}
	}
}

// number is which of ours a message answers.
func (e *echoes) number(data []byte) (int, bool) {
	proto, want := 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if e.to.Is6() {
		proto, want = 58, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(proto, data)
	if err != nil || m.Type != want {
		return 0, false
	}
	body, ok := m.Body.(*icmp.Echo)
	if !ok || len(body.Data) != len(e.nonce)+4 || [8]byte(body.Data[:8]) != e.nonce {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(body.Data[8:])), true
}

// gap is what echoes tell of an interruption.
type gap struct {
	Sent, Lost int
	Longest    time.Duration // from the first lost to the next answered, at its worst
	Over       bool          // the last of them were answered
}

// gap looks at those sent before the time, so that the rest has time to return.
func (e *echoes) gap(before time.Time) gap {
	e.mu.Lock()
	defer e.mu.Unlock()
	var g gap
	var since time.Time // of the first lost one in a row; zero: the last was answered
	for i, sent := range e.sent {
		if sent.After(before) {
			break
		}
		g.Sent++
		if e.answered[i] {
			if !since.IsZero() {
				g.Longest = max(g.Longest, sent.Sub(since))
			}
			since = time.Time{}
			continue
		}
		g.Lost++
		if since.IsZero() {
			since = sent
		}
	}
	g.Over = g.Sent > 0 && since.IsZero()
	return g
}
