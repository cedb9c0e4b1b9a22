package checks

import (
	"fmt"
	"time"
)

// Edge is a change of state; or, where From is To and Reason is Unstable, the
// beginning of a time in which the state is held.
type Edge struct {
	At       time.Time // back-dated to the first result that led to it
	From, To State
	// Of that result; empty when To is Up.
	Reason Reason
	Phase  Phase
	Detail string
	Blame  Blame
}

// Tracker turns the results of one check into its state. It is a pure state
// machine: time is what the results say it is.
//
//	       Up times not failed           Up times ok
//	down ----------------------> degraded -----------------> up
//	     <----------------------          <-----------------
//	       Down times failed             Down times not ok
//
// Up times ok leads straight from down to up, Down times failed straight from
// up to down. Unknown results neither count nor interrupt the others, until
// Down of them follow one another: then the state is unknown. From unknown, the
// first rule that is met decides; results that go on contradicting one another
// make it degraded.
//
// A check whose verdict changes too often is unstable: from then on it is
// degraded at least, and its state gets no better until it has settled.
type Tracker struct {
	down, up int
	state    State
	since    time.Time
	paused   bool // in maintenance
	flap     flap
	runs
}

// runs are the consecutive results of a sort up to now. All but unknown leave
// out unknown results.
type runs struct {
	good     run // ok
	passable run // ok or degraded
	poor     run // degraded or failed
	bad      run // failed
	known    run // all
	unknown  run
	trouble  *finding // the last that was not ok; nil: none was
}

// run counts results and remembers the first.
type run struct {
	n     int
	first *finding // nil exactly when n is 0
}

// finding is what a state needs of a Result. It is not changed: runs share it.
type finding struct {
	verdict Verdict
	reason  Reason
	phase   Phase
	detail  string
	blame   Blame
	start   time.Time
}

func findingOf(r Result) *finding {
	return &finding{r.Verdict, r.Reason, r.Phase, r.Detail, r.Blame, r.Start}
}

// next counts one more, or ends the run when that does not belong to it.
func (u *run) next(belongs bool, it func() *finding) {
	if !belongs {
		*u = run{}
		return
	}
	if u.n == 0 {
		u.first = it()
	}
	u.n++
}

// add takes the next result.
func (u *runs) add(r Result) {
	var made *finding
	it := func() *finding {
		if made == nil {
			made = findingOf(r)
		}
		return made
	}
	if r.Verdict == Unknown {
		u.unknown.next(true, it)
		return
	}
	u.unknown = run{}
	u.good.next(r.Verdict == OK, it)
	u.passable.next(r.Verdict != Failed, it)
	u.poor.next(r.Verdict != OK, it)
	u.bad.next(r.Verdict == Failed, it)
	u.known.next(true, it)
	if r.Verdict != OK {
		u.trouble = it()
	}
}

// NewTracker starts in state unknown since at.
func NewTracker(s Spec, at time.Time) *Tracker {
	s = s.withDefaults()
	return &Tracker{down: s.Down, up: s.Up, state: UnknownState, since: at, flap: flap{above: s.Unstable}}
}

// Unstable says whether the state is held because the results change too often.
func (t *Tracker) Unstable() bool { return t.flap.unstable }

// State is the present state and when it began.
func (t *Tracker) State() (State, time.Time) { return t.state, t.since }

// Observe takes the next result. It returns the change that follows from it, if
// one does.
func (t *Tracker) Observe(r Result) (Edge, bool) {
	t.add(r)
	if t.paused {
		return Edge{}, false
	}
	shaken := r.Verdict != Unknown && t.flap.add(r)
	to, by := t.decide()
	switch {
	case shaken:
		return t.shake(to, *findingOf(r)), true
	case to == t.state:
		return Edge{}, false
	case t.flap.unstable && to != UnknownState && severity(to) < severity(t.state):
		return Edge{}, false
	}
	return t.move(to, by), true
}

// shake begins the time in which the worse state is held: of that which is there
// and that which would follow now, and degraded.
func (t *Tracker) shake(to State, by finding) Edge {
	for _, s := range []State{t.state, DegradedState} {
		if severity(s) > severity(to) {
			to = s
		}
	}
	by.reason, by.phase, by.start = Unstable, NoPhase, t.flap.since()
	by.detail = fmt.Sprintf("%.0f %% of its last %d results were changes", t.flap.percent(), flapSlots)
	if to == t.state {
		return Edge{At: later(by.start, t.since), From: to, To: to, Reason: by.reason, Detail: by.detail}
	}
	return t.move(to, by)
}

// Maintain begins or ends maintenance at a time. During it results count, but
// the state stays maintenance; it ends as unknown, from which they decide.
func (t *Tracker) Maintain(on bool, at time.Time) (Edge, bool) {
	if on == t.paused {
		return Edge{}, false
	}
	t.paused = on
	t.forget(run{})
	if on {
		return t.move(MaintenanceMode, finding{start: at, reason: NotRun, detail: "maintenance"}), true
	}
	return t.move(UnknownState, finding{start: at, reason: NotRun, detail: "maintenance has ended"}), true
}

// decide returns the state that the runs speak for, and what began it.
func (t *Tracker) decide() (State, finding) {
	switch {
	case t.unknown.n >= t.down:
		return UnknownState, *t.unknown.first
	case t.bad.n >= t.down:
		return Down, *t.bad.first
	case t.good.n >= t.up:
		return Up, *t.good.first
	}
	switch t.state {
	case Up:
		if t.poor.n >= t.down {
			return DegradedState, *t.poor.first
		}
	case Down:
		if t.passable.n >= t.up {
			return DegradedState, t.mixed(t.passable)
		}
	case UnknownState:
		switch {
		case t.poor.n >= t.down:
			return DegradedState, *t.poor.first
		case t.known.n >= t.up+t.down:
			return DegradedState, t.mixed(t.known)
		}
	}
	return t.state, finding{}
}

// mixed is the first of u, with the reason of the last trouble where it was ok.
func (t *Tracker) mixed(u run) finding {
	if u.first.verdict != OK || t.trouble == nil {
		return *u.first
	}
	f := *t.trouble
	f.start = u.first.start
	return f
}

func (t *Tracker) move(to State, by finding) Edge {
	e := Edge{At: by.start, From: t.state, To: to, Reason: by.reason, Phase: by.phase, Detail: by.detail, Blame: by.blame}
	if to == Up {
		e.Reason, e.Phase, e.Detail, e.Blame = NoReason, NoPhase, "", BlameNobody
	}
	e.At = later(e.At, t.since) // the former state had begun by then
	t.state, t.since = to, e.At
	if to == UnknownState {
		t.forget(t.unknown)
	}
	return e
}

// forget keeps nothing but a run of unknown results: what was known before says
// nothing of what comes after.
func (t *Tracker) forget(but run) {
	t.runs = runs{unknown: but}
	t.flap = flap{above: t.flap.above}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
