package spool

import (
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
)

// How far blocks are joined.
const (
	levelFive = 1 + iota // within five minutes of the clock
	levelHour
	levelAll
)

// together says whether two blocks belong into one at a level.
func together(a, b *block.Block, level int) bool {
	switch level {
	case levelFive:
		return a.Start.Truncate(5 * time.Minute).Equal(b.Start.Truncate(5 * time.Minute))
	case levelHour:
		return a.Start.Truncate(time.Hour).Equal(b.Start.Truncate(time.Hour))
	}
	return true
}

// joins says whether b continues a so that one block says exactly what the two
// say: no time between them, one boot, the same subjects in the states in which
// a left them.
func joins(a, b *block.Block) bool {
	if a.Sequence+1 != b.Low() || !a.End().Equal(b.Start) || a.Boot != b.Boot || len(a.Subjects) != len(b.Subjects) {
		return false
	}
	for i := range a.Subjects {
		x, y := &a.Subjects[i], &b.Subjects[i]
		same := x.Class == y.Class && x.Name == y.Name && x.Network == y.Network && x.Target == y.Target && x.StandsFor == y.StandsFor
		if !same || left(a, x) != y.State {
			return false
		}
	}
	return true
}

// left is the state in which a leaves a subject.
func left(b *block.Block, s *block.Subject) checks.State {
	state := s.State
	for _, e := range b.Edges {
		if e.Class == s.Class && e.Name == s.Name {
			state = e.To
		}
	}
	return state
}

// merge joins b to a: all edges and gaps, and the sum of the figures.
func merge(a, b *block.Block) *block.Block {
	m := *a
	m.First, m.Sequence, m.Length = a.Low(), b.Sequence, a.Length+b.Length
	m.Edges = slices.Concat(a.Edges, b.Edges)
	m.Gaps = []block.Gap{{From: m.Start, To: m.End(), Reason: block.Thinned}}
	for _, g := range slices.Concat(a.Gaps, b.Gaps) {
		if g.Reason != block.Thinned {
			m.Gaps = append(m.Gaps, g)
		}
	}
	m.Subjects = slices.Clone(a.Subjects)
	for i := range m.Subjects {
		add(&m.Subjects[i], &b.Subjects[i])
	}
	return &m
}

func add(s, t *block.Subject) {
	s.OK += t.OK
	s.Degraded += t.Degraded
	s.Failed += t.Failed
	s.Unknown += t.Unknown
	s.Sent += t.Sent
	s.Received += t.Received
	if s.RTT == nil && t.RTT == nil {
		return
	}
	sum := new(hist.Histogram)
	sum.Merge(s.RTT)
	sum.Merge(t.RTT)
	s.RTT = sum
}

// fits says whether two blocks joined are still small enough to be packed.
func fits(a, b *block.Block) bool { return len(a.Edges)+len(b.Edges) <= 4096 }

// thin joins blocks at a level.
func thin(blocks []*block.Block, level int) []*block.Block {
	var out []*block.Block
	for _, b := range blocks {
		if n := len(out) - 1; n >= 0 && together(out[n], b, level) && joins(out[n], b) && fits(out[n], b) {
			out[n] = merge(out[n], b)
			continue
		}
		out = append(out, b)
	}
	return out
}

// joinFinished does the same to what waits in memory.
func joinFinished(list []finished, level int) []finished {
	var out []finished
	for _, f := range list {
		if n := len(out) - 1; n >= 0 && together(out[n].block, f.block, level) && joins(out[n].block, f.block) && fits(out[n].block, f.block) {
			out[n] = finished{merge(out[n].block, f.block), slices.Concat(out[n].journals, f.journals)}
			continue
		}
		out = append(out, f)
	}
	return out
}
