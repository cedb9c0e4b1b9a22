package checks

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// tick is the grain of starts: what is due within one is started together, so
// that a thousand checks wake the machine fifty times a second at most: half of what
// a run took at a hundred was waking.
const tick = 20 * time.Millisecond

// engine starts the runs of all workers, and answers for those that do not end
// in time. It is one goroutine, which sleeps while nothing is due. Time is
// monotonic.
type engine struct {
	now   func() time.Time
	slept func() time.Duration
	begin time.Time // by the wall clock of then a multiple of tick
	wake  chan struct{}
	acts  []act // of this turn; loop's own

	mu      sync.Mutex
	manners *etiquette
	queue   queue // what is not retired and not held back by a predecessor
	lag     lags
}

// act is what a turn has decided to do.
type act struct {
	flight *flight
	kind   actKind
}

type actKind int

const (
	nothing actKind = iota
	begins          // start the run
	skips           // leave it out: the run before has not ended
	overdue         // answer for it
	refuses         // leave it out: manners
)

func newEngine(clock func() time.Time, slept func() time.Duration) *engine {
	now := clock()
	return &engine{now: clock, slept: slept, manners: newEtiquette(), begin: now.Add(-time.Duration(now.UnixNano()) % tick), wake: make(chan struct{}, 1)}
}

// loop runs until ctx ends.
func (e *engine) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.wake:
		}
		for _, a := range e.turn() {
			a.do()
		}
		e.mu.Lock()
		if len(e.queue) > 0 {
			timer.Reset(e.tickAt(e.queue[0].at).Sub(e.now()))
		} else {
			timer.Stop()
		}
		e.mu.Unlock()
	}
}

// tickAt is the first tick that is not before at.
func (e *engine) tickAt(at time.Time) time.Time {
	n := (at.Sub(e.begin) + tick - 1) / tick
	return e.begin.Add(n * tick)
}

// turn decides about all that is due by now.
func (e *engine) turn() []act {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	clear(e.acts)
	e.acts = e.acts[:0]
	for len(e.queue) > 0 && !e.queue[0].at.After(now) {
		e.acts = append(e.acts, e.step(e.queue[0], now))
		heap.Fix(&e.queue, 0)
	}
	return e.acts
}

// step decides about the first thing that is due for w, and when it is looked at
// again.
func (e *engine) step(w *worker, now time.Time) act {
	f := w.flight
	f.look(now)
	switch {
	case f == nil:
	case now.Before(f.deadline) && now.Before(w.next):
		w.at = earlier(w.next, f.lookAt)
		return act{f, nothing}
	case !f.passed && !now.Before(f.deadline):
		f.passed, f.behind = true, now.Sub(f.deadline)
		w.at = earlier(w.next, f.late)
		return act{f, nothing}
	case f.passed && !f.answered && !now.Before(f.late):
		f.answered, f.behind = true, max(f.behind, now.Sub(f.late))
		w.at = w.next
		return act{f, overdue}
	}
	due := w.next
	w.next = w.starts.after(now)
	w.at = w.next
	fresh := &flight{worker: w, due: now.Add(due.Sub(now)), start: now, deadline: now.Add(w.spec.Target.Timeout)}
	if f != nil {
		e.lag.add(now, now.Sub(due), w.spec.Interval)
		return act{fresh, skips}
	}
	why, until := e.manners.may(w.curb, w.runner.metered(w.spec), now)
	switch {
	case until.After(now) && until.Before(w.next): // a little later it may
		w.next, w.at = until, until
		return act{fresh, nothing}
	case why != "":
		fresh.why = why
		return act{fresh, refuses}
	}
	e.lag.add(now, now.Sub(due), w.spec.Interval)
	fresh.late = fresh.deadline.Add(grace)
	if w.next.After(fresh.deadline) && w.next.Before(fresh.late) {
		fresh.late = w.next
	}
	w.flight = fresh
	fresh.slept = e.slept()
	fresh.lookAt = earlier(now.Add(looks), fresh.deadline)
	w.at = earlier(w.next, fresh.lookAt)
	w.runner.wg.Add(1) // the loop holds the group above zero
	return act{fresh, begins}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// add lets a worker run, unless it was retired before that.
func (e *engine) add(w *worker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.admit(w)
}

func (e *engine) admit(w *worker) {
	for w != nil && w.gone {
		w.held, w = false, w.heir
	}
	if w == nil {
		return
	}
	w.held = false
	w.starts = newSchedule(w.runner.options.Gateway, w.spec, e.now())
	w.curb = e.manners.curb(w.spec)
	w.next = w.starts.first()
	if w.curb.national {
		w.next = w.starts.next // a restart brings it forward for nobody
	}
	w.at = w.next
	heap.Push(&e.queue, w)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// remove starts no more runs of w. Its heir, if there is one, is started once
// the last run of w has ended.
func (e *engine) remove(w, heir *worker) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.gone, w.heir = true, heir
	if w.index > 0 {
		heap.Remove(&e.queue, w.index-1)
	}
	if !w.held && w.flight == nil {
		e.admit(heir)
	}
}

// ended notes that a run has ended, and reports whether somebody has answered
// for it. It reports true as well where the run had ended before.
func (e *engine) ended(f *flight, r Result) (again, answered bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := f.worker
	if w.flight != f {
		return true, true
	}
	e.manners.charge(w.curb, w.runner.metered(w.spec), r, e.now())
	w.flight = nil
	f.look(e.now())
	if now := e.now(); !f.passed && now.After(f.deadline) {
		f.behind = now.Sub(f.deadline) // else the loop had been there before
	}
	if slept := e.slept() - f.slept; !f.answered {
		f.behind, f.stalled = max(f.behind, slept), max(f.stalled, slept)
	}
	switch {
	case w.gone:
		e.admit(w.heir)
	case w.index > 0 && w.at != w.next:
		w.at = w.next
		heap.Fix(&e.queue, w.index-1)
	}
	return false, f.answered
}

// queue is a heap of workers by when they are to be looked at.
type queue []*worker

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i+1, j+1
}

func (q *queue) Push(x any) {
	w := x.(*worker)
	*q = append(*q, w)
	w.index = len(*q)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last], *q = nil, (*q)[:last]
	w.index = 0
	return w
}
