package builtin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// fresh is how old a handshake may be while packets flow: WireGuard makes a new
// one after 120 s and refuses keys older than 180 s (REJECT_AFTER_TIME).
const fresh = 180 * time.Second

// Handshake is what a tunnel says of its peer.
type Handshake struct {
	Last           time.Time     // zero: none yet
	Sent, Received int64         // bytes since the device was made
	Keepalive      time.Duration // 0: none, so that silence is normal
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
	before       *Handshake // of the run before; nil: none
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
	r.Verdict, r.Reason, r.Detail = judgeHandshake(h, c.before, now)
	if r.Verdict == checks.Failed {
		r.Phase = checks.PhaseConnect
	}
	c.before = &h
	return r
}

// judgeHandshake decides by the present look and the one before.
func judgeHandshake(h Handshake, before *Handshake, now time.Time) (checks.Verdict, checks.Reason, string) {
	none := h.Last.IsZero()
	age := max(now.Sub(h.Last), 0)
	asks := before != nil && h.Sent > before.Sent && h.Received <= before.Received
	switch {
	case !none && age < fresh:
		return checks.OK, checks.NoReason, fmt.Sprintf("%v ago", age.Round(time.Second))
	case none && (h.Sent > 0 || h.Keepalive > 0):
		return checks.Failed, checks.NoHandshake, fmt.Sprintf("%d bytes sent, no handshake yet", h.Sent)
	case none:
		return checks.Unknown, checks.NotRun, "no handshake yet, and nothing sent that needs one"
	case h.Keepalive > 0:
		return checks.Failed, checks.NoHandshake, fmt.Sprintf("the last handshake was %v ago, with a keepalive of %v", age.Round(time.Second), h.Keepalive)
	case asks:
		return checks.Failed, checks.NoHandshake, fmt.Sprintf("%d bytes sent since the last look, none came back; the last handshake was %v ago", h.Sent-before.Sent, age.Round(time.Second))
	}
	return checks.OK, checks.NoReason, fmt.Sprintf("idle; the last handshake was %v ago", age.Round(time.Second))
}
