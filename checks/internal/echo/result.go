package echo

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// Result says what an outcome means for the target, which is called to.
func (o Outcome) Result(to string) checks.Result {
	r := checks.Result{
		Verdict: checks.OK, Start: o.Start, Sent: o.Sent, Received: o.Received,
		RTT: o.RTT, Stamps: o.Stamps, Odd: o.Odd, Packets: o.kept(),
	}
	if f := o.fault(to); f != nil {
		r.Verdict, r.Reason, r.Phase, r.Detail = f.Verdict, f.Reason, f.Phase, f.Detail
	}
	return r
}

// fault is what kept an outcome from being good; nil: nothing did. What this host
// may have lost itself is never said to be the target's loss.
func (o Outcome) fault(to string) *reach.Fault {
	switch {
	case o.Broken:
		return reach.Ours(checks.NotRun, checks.PhaseResponse, "waiting for %s: broken off", to)
	case o.Err != nil:
		return o.Err
	case o.Sent == 0 && o.Denial != nil:
		return o.Denial.fault(to)
	case o.Sent == 0 && o.Odd.Unsent == 0:
		return reach.Fail(checks.Timeout, checks.PhaseRequest, "no time to ask %s", to)
	case o.Received == o.Sent && o.Sent > 0:
		return nil
	case o.Dropped > 0:
		return reach.Ours(checks.SelfFault, checks.PhaseResponse, "our socket's buffer was full, %d packets were thrown away", o.Dropped)
	case o.Odd.Unsent > 0 && o.Denial == nil:
		return reach.Ours(checks.SelfFault, checks.PhaseRequest, "this host had no room to send %d of %d", o.Odd.Unsent, o.Sent+o.Odd.Unsent)
	case o.Received > 0:
		f := reach.Fail(checks.Loss, checks.PhaseResponse, "%d of %d replies from %s%s", o.Received, o.Sent, to, o.damage())
		f.Verdict = checks.Degraded
		return f
	case o.Denial != nil:
		return o.Denial.fault(to)
	case o.Odd.Corrupt == o.Sent:
		return reach.Fail(checks.Protocol, checks.PhaseResponse, "all %d replies from %s came back changed", o.Sent, to)
	}
	return reach.Fail(checks.Timeout, checks.PhaseResponse, "no reply from %s to %d requests%s", to, o.Sent, o.damage())
}

// damage tells of what is missing but not lost without trace.
func (o Outcome) damage() string {
	var text strings.Builder
	lateHere := 0
	for _, p := range o.Packets {
		if p.Fate == checks.Late {
			lateHere++
		}
	}
	if lateHere > 0 {
		fmt.Fprintf(&text, ", %d came too late", lateHere)
	}
	if o.Odd.Corrupt > 0 {
		fmt.Fprintf(&text, ", %d came back changed", o.Odd.Corrupt)
	}
	return text.String()
}

// kept are the packets where they say more than the figures do.
func (o Outcome) kept() []checks.Packet {
	if len(o.Packets) == 0 || len(o.Packets) == 1 && o.Packets[0].Fate == checks.Answered {
		return nil
	}
	packets := make([]checks.Packet, len(o.Packets))
	for i, p := range o.Packets {
		if packets[i] = p.Packet; p.Fate == checks.Denied {
			packets[i].RTT = 0
		}
	}
	return packets
}

// fault is what a denial means.
func (d *Denial) fault(to string) *reach.Fault {
	who := "this host"
	if d.By.IsValid() {
		who = d.By.String()
	}
	errno, _ := errors.AsType[syscall.Errno](d.Errno)
	switch {
	case errno == syscall.ECONNREFUSED:
		return reach.Fail(checks.Refused, checks.PhaseRequest, "%s says: nobody there takes it", who)
	case errno == syscall.EMSGSIZE && d.MTU > 0:
		return reach.Fail(checks.Unreachable, checks.PhaseRoute, "%s says: too long for the way to %s, which takes %d bytes", who, to, d.MTU)
	}
	return reach.Fail(checks.Unreachable, checks.PhaseRoute, "%s says: %v", who, d.Errno)
}
