package web

import (
	"cmp"
	"context"
	"html/template"
	"maps"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// charted is the span that charts show.
const charted = time.Hour

// series is the round trips of one tunnel or check, an entry for each block.
type series struct {
	subject
	Network string
	Target  string
	points  []point
	down    []span
	last    time.Time // end of the last block
}

type point struct {
	at       time.Time // middle of the block
	length   time.Duration
	p50, p95 time.Duration
}

type span struct{ from, to time.Time }

// chart is a series as it is shown.
type chart struct {
	Title string // "records, 198.51.100.20:443"
	Words string // what the picture says, for those who do not see it
	SVG   template.HTML
}

// charts draws what the blocks of the last hour say, and after them the newest
// snapshots, whose figures are of five minutes each. A subject that nothing was
// timed of, and that was not down, has no chart. Of shown, where it is not nil,
// are those that may be seen.
func (s *Server) charts(ctx context.Context, gateway string, now time.Time, shown map[subject]bool) ([]chart, error) {
	from := now.Add(-charted)
	found := map[subject]*series{}
	for b, err := range s.view.store.Blocks(ctx, gateway, from, now) {
		if err != nil {
			return nil, err
		}
		for _, sub := range b.Subjects {
			if sub.Class == block.SiteClass {
				continue
			}
			one := seriesOf(found, subject{sub.Class, sub.Name})
			one.Network, one.Target = sub.Network, sub.Target
			one.add(b, sub)
		}
	}
	for sub := range s.view.store.subjects(gateway) {
		one := seriesOf(found, sub)
		one.points = append(one.points, s.view.store.points(gateway, sub, one.end(from))...)
	}
	// Tunnels first, as in the tables; both by name.
	inOrder := slices.SortedFunc(maps.Values(found), func(a, b *series) int {
		return cmp.Or(-cmp.Compare(a.class, b.class), cmp.Compare(a.name, b.name))
	})
	var all []chart
	for _, one := range inOrder {
		if (shown == nil || shown[one.subject]) && (len(one.points) > 0 || len(one.down) > 0) {
			all = append(all, one.draw(from, now))
		}
	}
	return all, nil
}

func seriesOf(found map[subject]*series, sub subject) *series {
	if found[sub] == nil {
		found[sub] = &series{subject: sub}
	}
	return found[sub]
}

// end is where the blocks' record ends, or from where there is none.
func (s *series) end(from time.Time) time.Time {
	if s.last.After(from) {
		return s.last
	}
	return from
}

// add takes one block's measurements, and when its subject was down.
func (s *series) add(b *block.Block, sub block.Subject) {
	s.last = b.End()
	if sub.RTT != nil && sub.RTT.Count() > 0 {
		s.points = append(s.points, point{b.Start.Add(b.Length / 2), b.Length, sub.RTT.Quantile(0.5), sub.RTT.Quantile(0.95)})
	}
	state, at := sub.State, b.Start
	for _, e := range b.Edges {
		if e.Class != sub.Class || e.Name != sub.Name {
			continue
		}
		if state == checks.Down {
			s.wasDown(at, e.At)
		}
		state, at = e.To, e.At
	}
	if state == checks.Down {
		s.wasDown(at, b.End())
	}
}

// wasDown joins a span to the one before where they touch.
func (s *series) wasDown(from, to time.Time) {
	if n := len(s.down); n > 0 && !from.After(s.down[n-1].to.Add(time.Second)) {
		if to.After(s.down[n-1].to) {
			s.down[n-1].to = to
		}
		return
	}
	if to.After(from) {
		s.down = append(s.down, span{from, to})
	}
}

// runs cuts the points where the record has a hole, so that no line is drawn
// over time that was not measured.
func (s *series) runs() [][]point {
	var all [][]point
	for i, p := range s.points {
		if i == 0 || p.at.Sub(s.points[i-1].at) > (p.length+s.points[i-1].length)/2+30*time.Second {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], p)
	}
	return all
}
