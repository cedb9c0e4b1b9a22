package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// badness is the order in which states that contradict each other win.
var badness = []checks.State{checks.Down, checks.DegradedState, checks.UnknownState, checks.MaintenanceMode, checks.Up}

// Timeline gives a subject's states over [From, To) without a hole: time that no
// block covers is unknown, with the reason in Why.
func (r *Record) Timeline(class Class, name string) []Span {
	p := r.things[thing{class, name}]
	if p == nil {
		p = new(past)
	}
	known := p.known()
	slices.SortFunc(p.entries, entry.compare)
	missing := r.missing()
	var line []Span
	at := r.From.UnixNano()
	hole := func(to int64) {
		for _, s := range missing {
			s.from, s.to = max(s.from, at), min(s.to, to)
			if s.from >= s.to {
				continue
			}
			line = appendSpan(line, Span{From: stamp(s.from), To: stamp(s.to), State: checks.UnknownState, Why: s.why})
		}
		at = max(at, to)
	}
	for _, k := range known {
		k.from, k.to = max(k.from, r.From.UnixNano()), min(k.to, r.To.UnixNano())
		if k.from >= k.to {
			continue
		}
		hole(k.from)
		for _, part := range p.parts(k) {
			line = appendSpan(line, p.span(part))
		}
		at = k.to
	}
	hole(r.To.UnixNano())
	return line
}

func stamp(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// parts cuts unknown time where its reason changed.
func (p *past) parts(k run) []run {
	if k.state != checks.UnknownState {
		return []run{k}
	}
	var parts []run
	for _, e := range p.entries {
		if e.state == k.state && e.at > k.from && e.at < k.to {
			parts = append(parts, run{k.from, e.at, k.state})
			k.from = e.at
		}
	}
	return append(parts, k)
}

// appendSpan joins what follows in the same state.
func appendSpan(line []Span, s Span) []Span {
	if n := len(line) - 1; n >= 0 && line[n].State == s.State && line[n].Why == s.Why && line[n].To.Equal(s.From) &&
		(s.State != checks.UnknownState || line[n].Reason == s.Reason) {
		line[n].To = s.To
		return line
	}
	return append(line, s)
}

func (e entry) compare(f entry) int {
	return cmp.Or(cmp.Compare(e.at, f.at), cmp.Compare(e.state, f.state), cmp.Compare(e.cause.Reason, f.cause.Reason),
		cmp.Compare(e.cause.Code, f.cause.Code), cmp.Compare(e.cause.Text, f.cause.Text), cmp.Compare(e.cause.Owner, f.cause.Owner))
}

// span adds the cause of a known stretch.
func (p *past) span(k run) Span {
	s := Span{From: stamp(k.from), To: stamp(k.to), State: k.state, Since: stamp(k.from)}
	after, _ := slices.BinarySearchFunc(p.entries, k.from+1, func(e entry, at int64) int { return cmp.Compare(e.at, at) })
	for i := after - 1; i >= 0; i-- {
		if p.entries[i].state != k.state {
			if p.entries[i].at == k.from {
				continue
			}
			break
		}
		s.Since = stamp(p.entries[i].at)
		if s.Cause == (Cause{}) {
			s.Cause = p.entries[i].cause
		}
	}
	return s
}

// known gives what blocks say of a subject, sorted and without overlaps.
func (p *past) known() runs {
	type edge struct {
		at   int64
		base *run
		over *override
		open bool
	}
	var edges []edge
	for i := range p.runs {
		edges = append(edges, edge{at: p.runs[i].from, base: &p.runs[i], open: true}, edge{at: p.runs[i].to, base: &p.runs[i]})
	}
	for i := range p.later {
		edges = append(edges, edge{at: p.later[i].from, over: &p.later[i], open: true}, edge{at: p.later[i].to, over: &p.later[i]})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	base := make(map[checks.State]int)
	var over []*override
	var known runs
	for i, e := range edges {
		switch {
		case e.base != nil && e.open:
			base[e.base.state]++
		case e.base != nil:
			base[e.base.state]--
		case e.open:
			over = append(over, e.over)
		default:
			over = slices.DeleteFunc(over, func(o *override) bool { return o == e.over })
		}
		if i+1 == len(edges) || edges[i+1].at == e.at {
			continue
		}
		if state := worst(base); state != "" {
			known.add(run{e.at, edges[i+1].at, lastWord(over, state)})
		}
	}
	return known
}

// worst gives the worst state that is there; empty: none is.
func worst(states map[checks.State]int) checks.State {
	for _, s := range badness {
		if states[s] > 0 {
			return s
		}
	}
	return ""
}

// lastWord gives what the newest of the overrides says; otherwise state.
func lastWord(over []*override, state checks.State) checks.State {
	if len(over) == 0 {
		return state
	}
	return slices.MaxFunc(over, func(a, b *override) int {
		return cmp.Or(a.by.compare(b.by), cmp.Compare(a.index, b.index))
	}).state
}

// hole is time without a known state of a subject, cut by reason.
type hole struct {
	from, to int64
	why      string
}

// missing cuts [From, To) by what is to be said about a subject that is unknown
// there: why nothing was measured, or NotChecked where blocks do cover it.
func (r *Record) missing() []hole {
	from, to := r.From.UnixNano(), r.To.UnixNano()
	cuts := []int64{from, to}
	covered := (&past{runs: r.covered}).known()
	for _, c := range covered {
		cuts = append(cuts, c.from, c.to)
	}
	gaps := r.sortedGaps()
	for _, g := range gaps {
		cuts = append(cuts, g.From.UnixNano(), g.To.UnixNano())
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var holes []hole
	next := 0 // of covered
	var open []Gap
	for i, at := range cuts {
		if at < from || at >= to || i+1 == len(cuts) {
			continue
		}
		for next < len(covered) && covered[next].to <= at {
			next++
		}
		for len(gaps) > 0 && gaps[0].From.UnixNano() <= at {
			open, gaps = append(open, gaps[0]), gaps[1:]
		}
		open = slices.DeleteFunc(open, func(g Gap) bool { return g.To.UnixNano() <= at })
		h := hole{at, min(cuts[i+1], to), NoRecord}
		switch {
		case next < len(covered) && covered[next].from <= at:
			h.why = NotChecked
		case len(open) > 0:
			h.why = open[len(open)-1].Reason // the latest to begin says it most closely
		}
		if n := len(holes) - 1; n >= 0 && holes[n].why == h.why && holes[n].to == h.from {
			holes[n].to = h.to
			continue
		}
		holes = append(holes, h)
	}
	return holes
}

func (r *Record) sortedGaps() []Gap {
	gaps := slices.Clone(r.gaps)
	slices.SortFunc(gaps, func(a, b Gap) int {
		return cmp.Or(a.From.Compare(b.From), b.To.Compare(a.To), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.CompactFunc(gaps, func(a, b Gap) bool {
		return a.From.Equal(b.From) && a.To.Equal(b.To) && a.Reason == b.Reason
	})
}

// Missing gives the time that was not measured at all, with the reasons.
func (r *Record) Missing() []Gap {
	var gaps []Gap
	for _, h := range r.missing() {
		if h.why != NotChecked {
			gaps = append(gaps, Gap{stamp(h.from), stamp(h.to), h.why})
		}
	}
	return gaps
}

// Coverage is how much of [From, To) was measured.
func (r *Record) Coverage() time.Duration {
	d := r.To.Sub(r.From)
	for _, g := range r.Missing() {
		d -= g.To.Sub(g.From)
	}
	return d
}
