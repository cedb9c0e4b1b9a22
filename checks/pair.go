package checks

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A paired check asks twice at the same instant, through the tunnel and beside
// it. What differs is the tunnel's; what does not, is not.

// Blame is where a fault lies, as far as a pair tells.
type Blame string

const (
	BlameNobody   Blame = ""         // nothing is wrong, or it cannot be told
	BlameLine     Blame = "line"     // cable, address, route or router at the site
	BlameSupplier Blame = "supplier" // what the line leads to
	BlameTunnel   Blame = "tunnel"   // the tunnel, or what lies behind it
	BlameService  Blame = "service"  // the target itself
)

// Way is what is known of the line, by others than the pair.
type Way int

const (
	WayNotKnown   Way = iota
	WayLives          // something else answers over it now
	WayDead           // it ends at the site: no carrier, address, route or router
	WayDeadBeyond     // the router is there, and nothing beyond it answers
)

// pair runs a check and its twin at once.
type pair struct{ through, beside Check }

// Run returns the result through the tunnel, with the other one in Beside.
func (p pair) Run(ctx context.Context) Result {
	var other Result
	var wg sync.WaitGroup
	defer wg.Wait() // also where the next line panics
	wg.Go(func() { other = guarded(ctx, p.beside).Result })
	r := p.through.Run(ctx)
	wg.Wait()
	r.Beside = &other
	return r
}

// starters is a pair of which both are Starters.
type starters struct {
	pair
	a, b Starter
}

func (p starters) Begin(ctx context.Context, deadline time.Time, done func(Result)) {
	var mu sync.Mutex
	var through, beside *Result
	take := func(into **Result) func(Result) {
		return func(r Result) {
			mu.Lock()
			first := *into == nil
			*into = &r
			both := first && through != nil && beside != nil
			mu.Unlock()
			if both {
				through.Beside = beside
				done(*through)
			}
		}
	}
	p.a.Begin(ctx, deadline, take(&through))
	p.b.Begin(ctx, deadline, take(&beside))
}

// pairOf makes one check of two.
func pairOf(through, beside Check) Check {
	p := pair{through, beside}
	a, ok := through.(Starter)
	b, both := beside.(Starter)
	if ok && both {
		return starters{p, a, b}
	}
	return p
}

// compare puts into a result what its pair says: who is to be blamed, the step
// beside the tunnel, and the difference of the times.
func compare(r Result, way Way) Result {
	b := *r.Beside
	text := ""
	r.Blame, text = Compare(r, b, way)
	if text != "" {
		r.Detail = oneLine(r.Detail + "; " + text)
	}
	s := Step{Phase: b.Phase, Name: "beside the tunnel", Detail: string(b.Verdict)}
	if b.Detail != "" {
		s.Detail += ": " + b.Detail
	}
	if len(b.RTT) > 0 {
		s.Took = median(b.RTT)
		r.Values = append(r.Values, Value{Name: "beside_rtt", Number: s.Took.Seconds(), Unit: "s"})
		if len(r.RTT) > 0 {
			r.Values = append(r.Values, Value{Name: "tunnel_extra", Number: (median(r.RTT) - s.Took).Seconds(), Unit: "s"})
		}
	}
	r.Steps = append(r.Steps, s)
	return r
}

// Compare says where the fault lies of a target that was asked through the
// tunnel and beside it at the same instant, and in words why.
func Compare(through, beside Result, way Way) (Blame, string) {
	switch {
	case through.Verdict == OK || through.Verdict == Unknown || beside.Verdict == Unknown:
		return BlameNobody, ""
	case beside.Verdict == OK:
		return BlameTunnel, "beside the tunnel it is well" + in(beside)
	case through.Verdict == Degraded && beside.Verdict == Degraded:
		return BlameNobody, "beside the tunnel as well: not the tunnel"
	case through.Verdict == Degraded:
		return BlameNobody, "" // beside it, there may be no way at all
	case reached(through) && reached(beside):
		return BlameService, "beside the tunnel as well"
	case reached(through):
		return BlameService, "" // it came through
	case reached(beside):
		return BlameTunnel, "beside the tunnel it answers" + in(beside)
	}
	switch way {
	case WayDead:
		return BlameLine, "nothing leaves this site"
	case WayDeadBeyond:
		return BlameSupplier, "nothing answers over the line"
	case WayLives:
		return BlameService, "beside the tunnel as well, and others answer over the line"
	}
	return BlameNobody, "beside the tunnel as well: the line or the service"
}

// reached says whether a target has answered, be it with a no.
func reached(r Result) bool {
	switch r.Reason {
	case NoReason, Slow, Loss, Refused, Certificate, Protocol, Assertion:
		return r.Verdict != Unknown && (r.Reason != Loss || r.Received > 0)
	}
	return false
}

// in is how fast, in words.
func in(r Result) string {
	if len(r.RTT) == 0 {
		return ""
	}
	return fmt.Sprintf(" in %.1f ms", median(r.RTT).Seconds()*1e3)
}
