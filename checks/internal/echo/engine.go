package echo

import (
	"cmp"
	"container/heap"
	"context"
	"net/netip"
	"sync"
	"time"
)

const (
	// tick is the least time between two passes: what becomes due, or comes,
	// meanwhile is dealt with together.
	tick = 20 * time.Millisecond
	// early is how much less than a tick may have passed for what is new, and how
	// much longer than one it is waited for.
	early = tick / 5
	// linger is how long a socket that no train uses stays open, and an answer
	// to a train that has ended is still recognised.
	linger = 10 * time.Second
	// mostEnded is the most ended trains that are remembered.
	mostEnded = 2048
)

// Engine runs trains. Its zero value is ready for use; it has a goroutine, and
// sockets, from the first train until a little after the last.
type Engine struct {
	mu        sync.Mutex
	begun     []*train // since the last pass
	cancelled []*train
	loop      *parking // nil: there is no goroutine
	closing   bool

	// What follows belongs to the goroutine.
	trains  map[uint64]*train // not told yet
	ghosts  map[uint64]ghost  // told
	due     dueHeap
	ended   []*train // in this pass; not yet told
	past    []ending // of the ghosts; oldest first
	sockets map[place]*socket
	in      *inbox
	out     *outbox
	lastID  uint64
	heard   int // messages read in this pass
	room    int // of a socket, for tests; 0: 1 MiB
}

// place is what trains that share a socket have in common.
type place struct {
	from      netip.Addr
	device    string
	v6        bool
	udp       bool
	reflected bool // questions are test packets of STAMP
	df        bool // the kernel knows that by socket only
}

// Begin starts a train and returns at once. It calls done once, from the
// engine's goroutine, which must not be held up: when all questions have their
// fate, at the deadline, or soon after ctx is done.
func (e *Engine) Begin(ctx context.Context, t Train, done func(Outcome)) {
	t.To, t.From = netip.AddrPortFrom(t.To.Addr().Unmap(), t.To.Port()), t.From.Unmap()
	r := &train{Train: t, begun: time.Now(), done: done, place: -1}
	if end, ok := ctx.Deadline(); ok && (r.Deadline.IsZero() || end.Before(r.Deadline)) {
		r.Deadline = end
	}
	if r.Deadline.IsZero() {
		r.Deadline = r.begun.Add(5 * time.Second)
	}
	if ctx.Done() != nil {
		r.stop = context.AfterFunc(ctx, func() { e.cancel(ctx, r) })
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = append(e.begun, r)
	e.kick()
}

// Close ends all trains, and returns when nothing is left of them. The engine may
// be used again.
func (e *Engine) Close() error {
	e.mu.Lock()
	p := e.loop
	if p != nil {
		e.closing = true
		e.kick()
	}
	e.mu.Unlock()
	if p != nil {
		<-p.gone
	}
	return nil
}

// cancel ends a train before its time. At its deadline it ends by itself.
func (e *Engine) cancel(ctx context.Context, t *train) {
	if ctx.Err() == context.DeadlineExceeded {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancelled = append(e.cancelled, t)
	e.kick()
}

// kick lets the goroutine see what is new, and starts it where there is none.
// The caller holds e.mu.
func (e *Engine) kick() {
	if e.loop == nil {
		e.loop = newParking()
		go e.run(e.loop)
	}
	e.loop.kick()
}

// run makes passes until there is nothing left to do for a while.
func (e *Engine) run(p *parking) {
	defer p.close()
	e.trains, e.ghosts, e.sockets = map[uint64]*train{}, map[uint64]ghost{}, map[place]*socket{}
	e.in, e.out = new(inbox), new(outbox)
	for {
		next := e.pass(p)
		e.mu.Lock()
		if len(e.begun)+len(e.cancelled) == 0 && (e.closing || len(e.sockets)+len(e.due) == 0) {
			e.clear()
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		p.until(later(next, p.last.Add(e.grain())))
		p.wait(e.allStamped(), e.heard > 0, len(e.due) > 0)
	}
}

// grain is the least time from one pass to the next: a tick, or less while a train
// is under way whose questions follow one another more closely. They would leave in
// pairs else.
func (e *Engine) grain() time.Duration {
	grain := tick
	for _, t := range e.due {
		if n := len(t.packets); n > 0 && n < t.Count {
			grain = min(grain, max(t.Gap/2, time.Millisecond))
		}
	}
	return grain
}

// clear leaves nothing behind.
func (e *Engine) clear() {
	for _, s := range e.sockets {
		s.close()
	}
	e.loop, e.closing = nil, false
	e.trains, e.ghosts, e.sockets, e.past, e.in, e.out = nil, nil, nil, nil, nil, nil
}

// pass does all that there is to do, and says when there is more.
func (e *Engine) pass(p *parking) (next time.Time) {
	e.mu.Lock()
	begun, cancelled := e.begun, e.cancelled
	e.begun, e.cancelled = nil, nil
	closing := e.closing
	p.passed()
	e.mu.Unlock()
	e.heard = len(begun)
	for _, s := range e.sockets {
		e.read(s)
	}
	for _, t := range begun {
		e.admit(t, p)
	}
	for _, t := range cancelled {
		t.broken = true
		e.end(t)
	}
	for closing && len(e.due) > 0 {
		e.due[0].broken = true
		e.end(e.due[0])
	}
	e.send(time.Now())
	e.tell()
	return e.tidy(p, time.Now())
}

// admit takes a new train in.
func (e *Engine) admit(t *train, p *parking) {
	e.lastID++
	t.id = e.lastID
	e.trains[t.id] = t
	k := place{from: t.From, device: t.Device, v6: t.To.Addr().Is6(), udp: t.To.Port() != 0, reflected: t.Session != 0, df: t.DF}
	s := e.sockets[k]
	if s == nil {
		var err error
		if s, err = open(k, cmp.Or(e.room, 1<<20)); err == nil {
			if err = p.watch(s.fd); err != nil {
				p.forget(s.fd)
			}
		}
		if err != nil {
			t.err = faultOfOpening(k, err)
			s.close()
			e.end(t)
			return
		}
		e.sockets[k] = s
	}
	s.users++
	t.socket, t.drops, t.name, t.next = s, s.drops, nameOf(t.To), later(t.begun, s.ready)
	heap.Push(&e.due, t)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// send lets all questions leave that are due, and ends what is over.
func (e *Engine) send(now time.Time) {
	for len(e.due) > 0 && !e.due[0].next.After(now) {
		t := e.due[0]
		if !now.Before(t.Deadline) {
			e.end(t)
			continue
		}
		if t.start.IsZero() {
			t.start = now
		}
		t.packets = append(t.packets, packet{})
		t.open++
		t.socket.queue = append(t.socket.queue, question{t, len(t.packets) - 1, now})
		t.next = t.Deadline
		if n := len(t.packets); n < t.Count {
			t.next = t.start.Add(time.Duration(n) * t.Gap)
		}
		heap.Fix(&e.due, 0)
	}
	for _, s := range e.sockets {
		e.flush(s, now)
	}
}

// end takes a train out. What comes for it later is no longer its own.
func (e *Engine) end(t *train) {
	if t.ended {
		return
	}
	if t.place >= 0 {
		heap.Remove(&e.due, t.place)
	}
	for i := range t.packets {
		if t.packets[i].fate == "" {
			t.settle(i, fateOfOpen(&t.packets[i]))
		}
	}
	t.ended = true
	e.ended = append(e.ended, t)
}

// settled ends a train that has nothing to wait for.
func (e *Engine) settled(t *train) {
	if t.complete() {
		e.end(t)
	}
}

// tell passes on what has ended.
func (e *Engine) tell() {
	for i, t := range e.ended {
		now := time.Now()
		if t.stop != nil {
			t.stop()
		}
		o := t.outcome()
		if t.socket != nil {
			t.socket.users--
			t.socket.idle = now
		}
		e.ended[i] = nil
		e.haunt(t, now)
		t.done(o)
	}
	e.ended = e.ended[:0]
}

// tidy forgets what is over, closes what nobody uses, and says when to look
// again.
func (e *Engine) tidy(p *parking, now time.Time) (next time.Time) {
	next = now.Add(linger)
	e.forget(now)
	for k, s := range e.sockets {
		if s.users == 0 && now.Sub(s.idle) > linger {
			p.forget(s.fd)
			s.close()
			delete(e.sockets, k)
		}
		if len(s.queue) > 0 {
			next = now
		}
	}
	if len(e.due) > 0 && e.due[0].next.Before(next) {
		next = e.due[0].next
	}
	return next
}

// allStamped says whether the kernel times all that comes, so that it need not be
// read at once.
func (e *Engine) allStamped() bool {
	for _, s := range e.sockets {
		if !s.stamped {
			return false
		}
	}
	return true
}

// dueHeap has the train that is due next at its top.
type dueHeap []*train

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *dueHeap) Push(x any) {
	t := x.(*train)
	t.place = len(*h)
	*h = append(*h, t)
}

func (h *dueHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h, t.place = old[:len(old)-1], -1
	return t
}
