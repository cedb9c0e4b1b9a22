package rollout

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// step is one decision in the making.
type step struct {
	r      Rollout
	before []Push // as they were given
	of     map[string]Gateway
	index  map[string]int // of r.Pushes, by gateway
	freeze centre.Freeze
	now    time.Time
	opens  map[centre.Window]time.Time // when each is next open
	outage bool
	waits  []string
	d      Decision
}

// Next decides what comes next of r, given what is known of the gateways.
func Next(r Rollout, of map[string]Gateway, f centre.Freeze, now time.Time) Decision {
	s := &step{r: r, before: r.Pushes, of: of, index: make(map[string]int, len(r.Pushes)), freeze: f, now: now,
		opens: map[centre.Window]time.Time{}, outage: outage(of, now)}
	s.r.Pushes = slices.Clone(r.Pushes)
	for i, p := range r.Pushes {
		s.index[p.Gateway] = i
	}
	for i := range s.r.Pushes {
		s.follow(&s.r.Pushes[i], s.gateway(s.r.Pushes[i].Gateway))
	}
	s.judge()
	s.withdraw()
	for ring := -1; ring != s.r.Ring; { // what is given may end a ring
		ring, s.waits = s.r.Ring, nil
		s.give()
		s.advance()
	}
	s.finish()
	return s.d
}

// gateway is what is known of one; nothing at all is silence.
func (s *step) gateway(name string) Gateway {
	g, ok := s.of[name]
	if !ok {
		g.Silent = true
	}
	return g
}

// outage says whether more gateways went silent within the hour than are
// heard, or none is heard at all: then silence is the centre's trouble, and
// says nothing of any gateway.
func outage(of map[string]Gateway, now time.Time) bool {
	heard, lost := 0, 0
	for _, g := range of {
		switch {
		case !g.Silent:
			heard++
		case now.Sub(g.Seen) < time.Hour:
			lost++
		}
	}
	return heard == 0 || lost > heard
}

// judge counts what got worse, and pauses a running rollout where that is too
// much.
func (s *step) judge() {
	worse := make([][]string, len(s.r.Rings))
	size := make([]int, len(s.r.Rings))
	for i := range s.r.Pushes {
		p := &s.r.Pushes[i]
		s.compare(p, s.gateway(p.Gateway))
		size[p.Ring]++
		if what := p.trouble(); what != "" && !p.Excused {
			worse[p.Ring] = append(worse[p.Ring], p.Gateway+": "+what)
		}
	}
	if s.r.State != centre.RolloutRunning {
		return
	}
	for ring, all := range worse {
		most := max(1, s.r.Pause.Gateways, int(math.Ceil(s.r.Pause.Share*float64(size[ring]))))
		if len(all) >= max(1, min(most, size[ring])) { // behind a ring that is bad altogether nothing goes on
			s.pause(fmt.Sprintf("%d of %d gateways of ring %s got worse: %s", len(all), size[ring], s.r.Rings[ring], some(all)))
			return
		}
	}
}

// some is the first few of many.
func some(all []string) string {
	const few = 3
	if len(all) > few {
		return strings.Join(all[:few], "; ") + fmt.Sprintf("; and %d more", len(all)-few)
	}
	return strings.Join(all, "; ")
}

func (s *step) pause(why string) {
	s.r.State, s.r.Reason = centre.RolloutPaused, why
}

// trouble is what went wrong with a push; empty: nothing.
func (p Push) trouble() string {
	if p.Stage == Failed && !p.Returning {
		return cmp.Or(p.Reason, "it went back")
	}
	return p.Worse
}

// withdraw takes offers back that may not be made now and that nobody has
// been handed.
func (s *step) withdraw() {
	for i := range s.r.Pushes {
		p := &s.r.Pushes[i]
		if g := s.gateway(p.Gateway); p.Stage != Offered || g.Given || !g.Silent && s.r.May(*p, s.freeze, s.now) {
			continue
		}
		p.to(Waiting, s.now)
		s.d.Withdraw = append(s.d.Withdraw, p.Gateway)
	}
}

// advance goes from ring to ring, and to the end.
func (s *step) advance() {
	switch s.r.State {
	case centre.RolloutRunning:
		if s.outage && len(s.r.Pushes) > 0 {
			s.wait("too few gateways are heard")
			return
		}
		for s.r.Ring < len(s.r.Rings) && s.through(s.r.Ring) {
			s.r.Ring++
		}
		if s.r.Ring == len(s.r.Rings) {
			s.r.State, s.r.Reason = centre.RolloutDone, ""
		}
	case centre.RolloutBack:
		if !s.outage && !slices.ContainsFunc(s.r.Pushes, func(p Push) bool { return p.Returning && !s.settled(p) }) {
			s.r.State, s.r.Reason = centre.RolloutUndone, ""
		}
	}
}

// through says whether nothing more is to come of a ring, and it has been well
// for as long as it takes to get worse.
func (s *step) through(ring int) bool {
	for _, p := range s.r.Pushes {
		if p.Ring == ring && !s.settled(p) {
			return false
		}
	}
	for _, p := range s.r.Pushes {
		if proved := p.Since.Add(s.within()); p.Ring == ring && p.Stage == Applied && s.now.Before(proved) {
			s.wait("ring " + s.r.Rings[ring] + " is watched until " + clock(proved))
			s.again(proved)
			return false
		}
	}
	return true
}

// settled says whether nothing more comes of p now. What is offline takes its
// config when it comes back, and is not waited for.
func (s *step) settled(p Push) bool {
	switch p.Stage {
	case Applied:
		return !p.Returning
	case Failed, Gone, Superseded:
		return true
	}
	return s.gateway(p.Gateway).Silent || p.Stage == Waiting && !p.Returning && s.hopeless(p)
}

// hopeless says whether a gateway that p needs will not get its config, or
// nobody knows when.
func (s *step) hopeless(p Push) bool {
	for _, name := range p.Needs {
		i, ok := s.index[name]
		if !ok {
			continue // it has what it takes already
		}
		if q := s.r.Pushes[i]; q.Returning || q.Stage != Applied && s.settled(q) {
			return true
		}
	}
	return false
}

// finish writes down what is different now.
func (s *step) finish() {
	s.d.State, s.d.Reason, s.d.Ring = s.r.State, s.r.Reason, s.r.Ring
	for i, p := range s.r.Pushes {
		if !reflect.DeepEqual(p.Progress, s.before[i].Progress) {
			s.d.Changed = append(s.d.Changed, p)
		}
		late := p.Stage == Waiting && (p.Returning || s.r.State != centre.RolloutAborted && s.r.State != centre.RolloutUndone)
		s.d.Live = s.d.Live || late || p.Stage == Offered || p.Stage == Applying || p.Stage == Unconfirmed
	}
	if len(s.waits) > 0 && s.r.State != centre.RolloutPaused {
		s.d.Waits = s.waits[0]
	}
}

// wait says what is waited for; the first word counts.
func (s *step) wait(why string) {
	if !slices.Contains(s.waits, why) {
		s.waits = append(s.waits, why)
	}
}

// again says when to look again.
func (s *step) again(at time.Time) {
	if !at.IsZero() && at.After(s.now) && (s.d.Again.IsZero() || at.Before(s.d.Again)) {
		s.d.Again = at
	}
}

func (s *step) within() time.Duration {
	return time.Duration(s.r.Pause.Within * float64(time.Second))
}

// clock is a time as people at the centre read it.
func clock(t time.Time) string { return t.In(centre.Zone()).Format("Mon 15:04") }
