package builtin

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// nonceSize is that of the random head of each payload: a reply to another
// process, or to a run before, cannot have it.
const nonceSize = 16

// clockStep is the least difference between the wall clock and the monotonic
// one, over a run, that cannot come from slewing.
const clockStep = 10 * time.Millisecond

// burst is the echo requests of one run and what came of them.
type burst struct {
	payload []byte // nonce, four bytes of index, filling
	echoes  []echo
	corrupt int
	refusal *reach.Fault // what a router or the target said instead of a reply
}

// echo is one request. Times by the kernel are zero where it gave none.
type echo struct {
	sent, back             time.Time // by this process, with monotonic readings
	kernelSent, kernelBack time.Time
	answered               bool
	refused                bool // by a router, or for want of one
}

func newBurst(count, size int, nonce [nonceSize]byte) *burst {
	b := &burst{payload: make([]byte, max(size, nonceSize+4)), echoes: make([]echo, count)}
	copy(b.payload, nonce[:])
	for i := nonceSize + 4; i < len(b.payload); i++ {
		b.payload[i] = byte(i)
	}
	return b
}

// request is the ICMP message of index i. The kernel sets the identifier of a
// datagram socket, and the checksum for IPv6.
func (b *burst) request(i int, v6 bool, id int) ([]byte, error) {
	binary.BigEndian.PutUint32(b.payload[nonceSize:], uint32(i))
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: i, Data: b.payload}}
	if v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	return m.Marshal(nil)
}

// reply takes an ICMP message from the network. It counts the first reply to
// each request that was sent, and nothing else.
func (b *burst) reply(data []byte, v6 bool, back, kernelBack time.Time) {
	i, intact, ok := b.index(data, v6)
	if !ok || b.echoes[i].answered || b.echoes[i].sent.IsZero() {
		return
	}
	if !intact {
		b.corrupt++
		return
	}
	e := &b.echoes[i]
	e.answered, e.back, e.kernelBack = true, back, kernelBack
}

// index finds out to which request a message replies, and whether it came back
// whole.
func (b *burst) index(data []byte, v6 bool) (i int, intact, ok bool) {
	proto, want := 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if v6 {
		proto, want = 58, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(proto, data)
	if err != nil || m.Type != want || m.Code != 0 {
		return 0, false, false
	}
	body, isEcho := m.Body.(*icmp.Echo)
	if !isEcho {
		return 0, false, false
	}
	return b.match(body.Data, body.Seq)
}

// match looks for our nonce and index in a payload.
func (b *burst) match(data []byte, seq int) (i int, intact, ok bool) {
	const head = nonceSize + 4
	if len(data) < head || !bytes.Equal(data[:nonceSize], b.payload[:nonceSize]) {
		return 0, false, false
	}
	n := binary.BigEndian.Uint32(data[nonceSize:head])
	if uint64(n) >= uint64(len(b.echoes)) || int(n) != seq {
		return 0, false, false
	}
	return int(n), bytes.Equal(data[head:], b.payload[head:]), true
}

// refuse takes what a router, the target or this host said of a request, whose
// ICMP message, or the beginning of it, is data.
func (b *burst) refuse(s *echoSocket, data []byte, said *extendedError) {
	if len(data) < 8 || s.isRaw && int(binary.BigEndian.Uint16(data[4:])) != s.id {
		return
	}
	i := int(binary.BigEndian.Uint16(data[6:]))
	if i >= len(b.echoes) {
		return
	}
	b.echoes[i].refused = true
	who := "this host"
	if said.offender.IsValid() {
		who = said.offender.Unmap().String()
	}
	b.refusal = reach.Fail(checks.Unreachable, checks.PhaseRoute, "%s says: %v", who, syscall.Errno(said.Errno))
}

// complete says whether nothing more is to come for the requests sent so far.
func (b *burst) complete() bool {
	for _, e := range b.echoes {
		if !e.sent.IsZero() && !e.answered && !e.refused {
			return false
		}
	}
	return true
}

// result sums up. lost is what the kernel threw away because our buffer was
// full; sending is what kept us from sending.
func (b *burst) result(ctx context.Context, start time.Time, to netip.Addr, lost uint32, sending error) checks.Result {
	r := checks.Result{Verdict: checks.OK, Start: start}
	for _, e := range b.echoes {
		if !e.sent.IsZero() {
			r.Sent++
		}
		if e.answered {
			r.Received++
		}
	}
	r.RTT, r.Stamps = b.times(start)
	say := func(f *reach.Fault) checks.Result {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
		return r
	}
	switch {
	case sending != nil:
		return say(reach.FaultOf(ctx, checks.PhaseRequest, "sending to "+to.String(), sending))
	case ctx.Err() != nil && ctx.Err() != context.DeadlineExceeded:
		return say(reach.Ours(checks.NotRun, checks.PhaseResponse, "waiting for %s: broken off", to))
	case r.Sent == 0:
		return say(reach.Fail(checks.Timeout, checks.PhaseRequest, "no time to ask %s", to))
	case r.Received == r.Sent:
		return r
	case lost > 0:
		return say(reach.Ours(checks.SelfFault, checks.PhaseResponse, "our socket's buffer was full, %d packets were thrown away", lost))
	case r.Received > 0:
		r.Verdict, r.Reason, r.Phase = checks.Degraded, checks.Loss, checks.PhaseResponse
		r.Detail = fmt.Sprintf("%d of %d replies from %s%s", r.Received, r.Sent, to, b.damage())
		return r
	case b.refusal != nil:
		return say(b.refusal)
	}
	return say(reach.Fail(checks.Timeout, checks.PhaseResponse, "no reply from %s to %d requests%s", to, r.Sent, b.damage()))
}

func (b *burst) damage() string {
	if b.corrupt == 0 {
		return ""
	}
	return fmt.Sprintf(", %d came back changed", b.corrupt)
}

// times returns the RTTs, all by the best clock that has stamped all of them.
// The kernel's is the wall clock: a run over which that was stepped is timed by
// this process alone.
func (b *burst) times(start time.Time) ([]time.Duration, checks.Stamps) {
	stepped := stepBetween(start, time.Now()).Abs() > clockStep
	stamps := checks.KernelStamps
	for _, e := range b.echoes {
		switch {
		case !e.answered:
		case stepped || e.kernelBack.IsZero():
			stamps = checks.UserStamps
		case e.kernelSent.IsZero() && stamps == checks.KernelStamps:
			stamps = checks.KernelRXStamps
		}
	}
	var rtts []time.Duration
	for _, e := range b.echoes {
		if e.answered {
			rtts = append(rtts, e.rtt(stamps))
		}
	}
	if rtts == nil {
		return nil, ""
	}
	return rtts, stamps
}

// stepBetween is by how much more the wall clock moved than the monotonic one.
func stepBetween(a, b time.Time) time.Duration {
	return (b.Round(0).Sub(a.Round(0)) - b.Sub(a)).Round(time.Microsecond)
}

func (e echo) rtt(by checks.Stamps) time.Duration {
	user := e.back.Sub(e.sent)
	d := user
	switch by {
	case checks.KernelStamps:
		d = e.kernelBack.Sub(e.kernelSent)
	case checks.KernelRXStamps:
		d = e.kernelBack.Sub(e.sent.Round(0))
	}
	return min(max(d, 0), user) // the kernel's stamps lie between ours
}
