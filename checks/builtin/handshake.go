package builtin

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Times and sizes of WireGuard (sections 5.4 and 6.1 of its paper).
const (
	fresh       = 180 * time.Second // REJECT_AFTER_TIME: an older session carries nothing
	mustAnswer  = 15 * time.Second  // KEEPALIVE_TIMEOUT + REKEY_TIMEOUT: whoever got data has answered by then, if only by an empty packet
	emptyPacket = 32                // bytes: a keepalive, which nobody answers
	insisting   = 2 * 148           // bytes: the first packet of a handshake, and once more, 5 s later (REKEY_TIMEOUT)
)

// Handshake is what a tunnel says of its peer.
type Handshake struct {
	Last           time.Time      // zero: none yet
	Sent, Received int64          // bytes since the device was made; of packets that left, and that the keys opened
	Keepalive      time.Duration  // 0: none, so that silence is normal
	Endpoint       netip.AddrPort // where the peer is now; zero: not known
	Device         string
}

// Look finds the handshake of a network's tunnel to a hub.
type Look func(network, hub string) (Handshake, error)

// HandshakeKind is the kind that tells whether a tunnel has a handshake. The
// target is the hub's name. It times nothing. A tunnel that nobody uses and
// that has no keepalive is idle, not down.
func HandshakeKind(look Look) checks.Kind {
	return checks.Kind{
		Name: "handshake",
		Doc:  "looks at the WireGuard handshake of a network with the hub that is the target; sends nothing",
		New: func(t checks.Target) (checks.Check, error) {
			if t.Network == "" {
				return nil, errors.New("a handshake check needs a network")
			}
			if t.Address == "" {
				return nil, errors.New("a handshake check needs the name of a hub as its target")
			}
			return &handshakeCheck{look: look, network: t.Network, hub: t.Address}, nil
		},
	}
}

type handshakeCheck struct {
	look         Look
	network, hub string
	before       sighting // of the run before; its at is zero: none
	first        time.Time
}

// sighting is one look at a tunnel.
type sighting struct {
	Handshake
	at  time.Time
	age time.Duration // of the handshake

	// Of the first look that saw one way go on, and the other not since; zero:
	// it is not so.
	goes, comes time.Time
}

func (c *handshakeCheck) Run(ctx context.Context) checks.Result {
	now := time.Now()
	r := checks.Result{Start: now}
	if ctx.Err() != nil {
		r.Verdict, r.Reason, r.Detail = checks.Unknown, checks.NotRun, "broken off"
		return r
	}
	h, err := c.look(c.network, c.hub)
	if err != nil {
		r.Verdict, r.Reason, r.Phase = checks.Unknown, checks.NotRun, checks.PhaseConnect
		r.Detail = fmt.Sprintf("looking at %s/%s: %v", c.network, c.hub, err)
		return r
	}
	if !h.Last.Equal(c.before.Last) || c.first.IsZero() {
		c.first = now
	}
	s := sighting{Handshake: h, at: now, age: handshakeAge(h.Last, c.first, now.Sub(c.first))}
	s.compare(c.before)
	j := judgeHandshake(s, c.before)
	r.Verdict, r.Reason, r.Phase, r.Detail, r.Path = j.verdict, j.reason, j.phase, j.detail, h.Device
	s.tell(&r, c.before, j.state)
	c.before = s
	return r
}

// handshakeAge is the age of a handshake that was first seen at a time, so long
// ago by the monotonic clock: a step of the other clock since then is no age.
func handshakeAge(last, first time.Time, ago time.Duration) time.Duration {
	return max(first.Round(0).Sub(last), 0) + ago
}

// judgement is what a look says.
type judgement struct {
	state   string // in a word or two
	verdict checks.Verdict
	reason  checks.Reason
	phase   checks.Phase
	detail  string
}

// judgeHandshake decides by the present look and the one before.
func judgeHandshake(s, before sighting) judgement {
	d := since(s, before)
	ago := s.age.Round(time.Second)
	fail := func(state string, reason checks.Reason, phase checks.Phase, format string, args ...any) judgement {
		return judgement{state, checks.Failed, reason, phase, fmt.Sprintf(format, args...)}
	}
	switch {
	case s.Last.IsZero():
		return neverShook(s, fail)
	case lasts(before.comes, s.comes, s.at):
		return fail("only comes", checks.Unreachable, checks.PhaseRoute,
			"packets come, and for %v none of ours has left this host", s.at.Sub(s.comes).Round(time.Second))
	case s.age < fresh && lasts(before.goes, s.goes, s.at):
		return fail("only goes", checks.Timeout, checks.PhaseResponse,
			"packets go%s, and for %v none has come back; the last handshake was %v ago", to(s), s.at.Sub(s.goes).Round(time.Second), ago)
	case s.age < fresh:
		return judgement{state: "fresh", verdict: checks.OK, detail: fmt.Sprintf("%v ago", ago) + roamed(s, before)}
	case d.calls(before):
		return fail("keys differ", checks.NoHandshake, checks.PhaseConnect,
			"the hub calls and no session comes of it: the preshared key or a public key has changed, or our answers are lost; the last handshake was %v ago", ago)
	case d.sent >= insisting && d.received == 0:
		return fail("only goes", checks.NoHandshake, checks.PhaseConnect,
			"%d bytes sent%s since the last look, none came back; the last handshake was %v ago, so the keys agreed then", d.sent, to(s), ago)
	case s.Keepalive > 0 && d.took > s.Keepalive && d.sent == 0:
		return fail("nothing goes", checks.NoHandshake, checks.PhaseRoute, "nothing leaves this host though there is a keepalive; the last handshake was %v ago", ago)
	case s.Keepalive > 0:
		return fail("old", checks.NoHandshake, checks.PhaseConnect, "the last handshake was %v ago, with a keepalive of %v", ago, s.Keepalive)
	}
	return judgement{state: "idle", verdict: checks.OK, detail: fmt.Sprintf("idle; the last handshake was %v ago", ago)}
}

// neverShook judges a tunnel that has had no handshake since its device was made.
func neverShook(s sighting, fail func(string, checks.Reason, checks.Phase, string, ...any) judgement) judgement {
	switch {
	case s.Received >= insisting:
		return fail("keys differ", checks.NoHandshake, checks.PhaseConnect,
			"the hub calls and no session comes of it: the preshared key differs, or our answers are lost; no handshake yet")
	case s.Sent >= insisting:
		return fail("only goes", checks.NoHandshake, checks.PhaseConnect,
			"%d bytes sent%s, no handshake yet: the hub is off, UDP to it is blocked, or it has another key for us", s.Sent, to(s))
	case s.Sent > 0 || s.Received > 0:
		return judgement{"asking", checks.Unknown, checks.NotRun, checks.NoPhase, "no handshake yet; the first has just been asked for"}
	case s.Keepalive > 0:
		return fail("nothing goes", checks.NoHandshake, checks.PhaseRoute, "no handshake yet, and nothing leaves this host though there is a keepalive")
	}
	return judgement{"unused", checks.Unknown, checks.NotRun, checks.NoPhase, "no handshake yet, and nothing sent that needs one"}
}

func to(s sighting) string {
	if !s.Endpoint.IsValid() {
		return ""
	}
	return " to " + s.Endpoint.String()
}

// roamed says that the peer is elsewhere than at the look before.
func roamed(s, before sighting) string {
	if !before.Endpoint.IsValid() || !s.Endpoint.IsValid() || s.Endpoint == before.Endpoint {
		return ""
	}
	return fmt.Sprintf("; now at %v, before at %v", s.Endpoint, before.Endpoint)
}

// delta is what passed between two looks; zero where the device has been made
// anew, or there was no look before.
type delta struct {
	sent, received int64
	took           time.Duration
	idle           int64 // bytes that keepalives alone may come to, each way
}

func since(s, before sighting) delta {
	if before.at.IsZero() || s.Sent < before.Sent || s.Received < before.Received || s.Device != before.Device {
		return delta{}
	}
	d := delta{sent: s.Sent - before.Sent, received: s.Received - before.Received, took: s.at.Sub(before.at)}
	d.idle = emptyPacket
	if s.Keepalive > 0 {
		d.idle += emptyPacket * int64(d.took/s.Keepalive)
	}
	return d
}

// compare notes since when only one way goes on, or that it is not so any more.
func (s *sighting) compare(before sighting) {
	d := since(*s, before)
	note := func(was time.Time, this, other int64) time.Time {
		switch {
		case other > 0 || d.took == 0:
			return time.Time{}
		case was.IsZero() && this > d.idle:
			return s.at
		}
		return was
	}
	s.goes, s.comes = note(before.goes, d.sent, d.received), note(before.comes, d.received, d.sent)
}

// lasts says that one way was alone at the look before, and is so still, for
// longer than WireGuard leaves data without an answer.
func lasts(was, is, now time.Time) bool {
	return !was.IsZero() && was.Equal(is) && now.Sub(is) >= mustAnswer
}

// calls: the hub asked for a handshake, more than once, when no session could
// carry data.
func (d delta) calls(before sighting) bool {
	return before.age >= fresh && d.received >= insisting
}

// tell adds the steps and figures of a look.
func (s sighting) tell(r *checks.Result, before sighting, state string) {
	age := "no handshake yet"
	if !s.Last.IsZero() {
		age = fmt.Sprintf("handshake %v ago", s.age.Round(time.Second))
		r.Values = append(r.Values, checks.Value{Name: "handshake_age", Number: s.age.Seconds(), Unit: "s"})
	}
	where := "peer not found yet"
	if s.Endpoint.IsValid() {
		where = "peer at " + s.Endpoint.String()
	}
	d := since(s, before)
	r.Steps = append(r.Steps,
		checks.Step{Phase: checks.PhaseRoute, Name: "device " + s.Device, Detail: where},
		checks.Step{Phase: checks.PhaseConnect, Name: "handshake", Detail: state + "; " + age + roamed(s, before)},
		checks.Step{Phase: checks.PhaseResponse, Name: "traffic", Detail: fmt.Sprintf("%d bytes sent, %d received since the last look", d.sent, d.received)},
	)
	r.Values = append(r.Values, checks.Value{Name: "sent", Number: float64(d.sent), Unit: "By"}, checks.Value{Name: "received", Number: float64(d.received), Unit: "By"})
}
