package block

import (
	"cmp"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// NotChecked is why a span is unknown although the gateway measured: it did not
// have that subject then.
const NotChecked = "not checked"

// Span is a stretch of time in one state.
type Span struct {
	From, To time.Time
	State    checks.State
	Since    time.Time // when the state began, as far as is known; may be before From
	Why      string    // of UnknownState: why nothing was measured; empty: it was, and could not be told
	Cause              // of the state
}

// Length is how long the span lasts.
func (s Span) Length() time.Duration { return s.To.Sub(s.From) }

// Record is what blocks say about [From, To). Blocks may be added in any order
// and more than once: the outcome is the same. It keeps states and edges, not
// figures, so that a month of them is small.
//
// Where the spans of two blocks overlap, because the clock was set back or
// because one stands for the other, the worse state counts. An edge that was
// dated back into an earlier block's time counts more than what that block
// said, but never says anything about time that no block covers.
type Record struct {
	From, To time.Time

	covered runs
	gaps    []Gap
	things  map[thing]*past
}

// thing is the key of a subject.
type thing struct {
	class Class
	name  string
}

// past is what is known of one subject. Times are in nanoseconds since 1970.
type past struct {
	about     Subject // as last described, without figures
	described order
	first     order // where it was first seen
	place     int   // and in which place there
	runs      runs
	later     []override
	entries   []entry
}

// order puts blocks in line.
type order struct {
	start           int64
	epoch, sequence uint64
}

func (o order) compare(p order) int {
	return cmp.Or(cmp.Compare(o.start, p.start), cmp.Compare(o.epoch, p.epoch), cmp.Compare(o.sequence, p.sequence))
}

// run is a stretch that a block covers, in one state.
type run struct {
	from, to int64
	state    checks.State
}

type runs []run

// add appends r; blocks in order, all in one state, take one run.
func (l *runs) add(r run) {
	if r.from >= r.to {
		return
	}
	if n := len(*l) - 1; n >= 0 && (*l)[n].state == r.state && (*l)[n].from <= r.from && r.from <= (*l)[n].to {
		(*l)[n].to = max((*l)[n].to, r.to)
		return
	}
	*l = append(*l, r)
}

// override is what an edge says about time before its block.
type override struct {
	run
	by    order
	index int
}

// entry is the beginning of a state, with its cause.
type entry struct {
	at    int64
	state checks.State
	cause Cause
}

// NewRecord returns an empty record: all of it is unknown.
func NewRecord(from, to time.Time) *Record {
	return &Record{From: from, To: to, things: make(map[thing]*past)}
}

// Add takes in what b says. It keeps nothing of b itself.
func (r *Record) Add(b *Block) {
	for _, g := range b.Gaps {
		if g.Reason != Thinned && g.From.Before(g.To) && g.From.Before(r.To) && g.To.After(r.From) {
			r.gaps = append(r.gaps, g)
		}
	}
	inside := b.Start.Before(r.To) && b.End().After(r.From)
	if !inside && !r.datesBack(b) {
		return
	}
	measured := b.measured()
	for _, m := range measured {
		r.covered.add(m)
	}
	by := order{b.Start.UnixNano(), b.Epoch, b.Sequence}
	for i := range b.Subjects {
		r.subject(b, &b.Subjects[i], i, by, measured)
	}
}

// datesBack says whether an edge of b tells something about [From, To) from
// after it.
func (r *Record) datesBack(b *Block) bool {
	return b.Start.After(r.From) && slices.ContainsFunc(b.Edges, func(e Edge) bool { return e.At.Before(b.Start) && e.At.Before(r.To) })
}

// measured gives the block's time without the gaps inside of it.
func (b *Block) measured() runs {
	var inside []Gap
	for _, g := range b.Gaps {
		if g.Reason != Thinned && g.To.After(b.Start) && g.From.Before(b.End()) {
			inside = append(inside, g)
		}
	}
	slices.SortFunc(inside, func(a, b Gap) int { return a.From.Compare(b.From) })
	var l runs
	at, end := b.Start.UnixNano(), b.End().UnixNano()
	for _, g := range inside {
		l.add(run{at, min(g.From.UnixNano(), end), checks.Up})
		at = max(at, g.To.UnixNano())
	}
	l.add(run{at, end, checks.Up})
	return l
}

func (r *Record) subject(b *Block, s *Subject, place int, by order, measured runs) {
	p := r.things[thing{s.Class, s.Name}]
	if p == nil {
		p = &past{first: by, place: place, described: order{start: -1 << 63}}
		r.things[thing{s.Class, s.Name}] = p
	}
	if by.compare(p.first) < 0 {
		p.first, p.place = by, place
	}
	if by.compare(p.described) >= 0 {
		p.described = by
		p.about = Subject{Class: s.Class, Name: s.Name, Network: s.Network, Target: s.Target, StandsFor: s.StandsFor}
	}
	p.enter(s.Since, s.State, s.Cause)
	for _, l := range p.paint(b, s, by) {
		for _, m := range measured {
			p.runs.add(run{max(l.from, m.from), min(l.to, m.to), l.state})
		}
	}
}

// paint gives the states of s over the block, by the state at its start and the
// edges, of which each knows better than those before it. What an edge says
// about time before the block goes to p.later.
func (p *past) paint(b *Block, s *Subject, by order) []run {
	start, end := b.Start.UnixNano(), b.End().UnixNano()
	painted := []run{{start, end, s.State}}
	for i, e := range b.Edges {
		if e.Class != s.Class || e.Name != s.Name {
			continue
		}
		p.enter(e.At, e.To, e.Cause())
		at := e.At.UnixNano()
		if at < start {
			p.later = append(p.later, override{run{at, start, e.To}, by, i})
			at = start
		}
		for len(painted) > 0 && painted[len(painted)-1].from >= at {
			painted = painted[:len(painted)-1]
		}
		if n := len(painted) - 1; n >= 0 {
			painted[n].to = min(painted[n].to, at)
		}
		painted = append(painted, run{at, end, e.To})
	}
	return painted
}

func (p *past) enter(at time.Time, state checks.State, cause Cause) {
	if at.IsZero() {
		return
	}
	e := entry{at.UnixNano(), state, cause}
	if n := len(p.entries) - 1; n < 0 || p.entries[n] != e {
		p.entries = append(p.entries, e)
	}
}

// Subjects gives all that were seen, in the order in which the blocks first
// listed them, without figures and states.
func (r *Record) Subjects() []Subject {
	var all []*past
	for _, p := range r.things {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *past) int {
		return cmp.Or(a.first.compare(b.first), cmp.Compare(a.place, b.place))
	})
	list := make([]Subject, len(all))
	for i, p := range all {
		list[i] = p.about
	}
	return list
}
