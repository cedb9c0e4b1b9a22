package checks

import (
	"context"
	"sync"
)

// teller passes results on to trackers and the Sink, for one check one at a
// time and in order, in a goroutine of its own: a sink that writes to a disk
// holds up no start and no other run.
type teller struct {
	sink Sink // may be nil
	wake chan struct{}

	mu    sync.Mutex
	ready []*worker   // have results that wait, and nobody tells of them
	spare [][]outcome // for results that wait: few checks have any at one time
}

func newTeller(s Sink) *teller { return &teller{sink: s, wake: make(chan struct{}, 1)} }

// mostWaiting is how many results of a check wait to be told, should the sink
// hang.
const mostWaiting = 64

// mostSpare is how much memory for one result is kept: for as many checks as end
// in one tick, where a thousand run each second.
const mostSpare = 64

// deliver queues a result. One too many is given up, and counts as skipped.
func (t *teller) deliver(w *worker, o outcome) {
	t.mu.Lock()
	if len(w.waiting) >= mostWaiting {
		t.mu.Unlock()
		w.skipped.Add(1)
		return
	}
	if n := len(t.spare); w.waiting == nil && n > 0 {
		w.waiting, t.spare[n-1], t.spare = t.spare[n-1], nil, t.spare[:n-1]
	}
	w.waiting = append(w.waiting, o)
	idle := !w.told
	if idle {
		w.told = true
		t.ready = append(t.ready, w)
	}
	t.mu.Unlock()
	if !idle {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// loop tells until ctx ends, and then what is left.
func (t *teller) loop(ctx context.Context) {
	var batch []*worker
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-t.wake:
		}
		t.mu.Lock()
		batch, t.ready = t.ready, batch[:0]
		t.mu.Unlock()
		for i, w := range batch {
			t.drain(w, false)
			batch[i] = nil
		}
		t.flush()
	}
}

func (t *teller) flush() {
	if f, ok := t.sink.(Flusher); ok {
		f.Flush()
	}
}

// next takes the oldest result of w that waits.
func (t *teller) next(w *worker) (outcome, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(w.waiting) == 0 {
		w.told = false
		return outcome{}, false
	}
	o := w.waiting[0]
	copy(w.waiting, w.waiting[1:])
	n := len(w.waiting) - 1
	w.waiting[n] = outcome{}
	if w.waiting = w.waiting[:n]; n == 0 {
		if len(t.spare) < mostSpare && cap(w.waiting) == 1 {
			t.spare = append(t.spare, w.waiting)
		}
		w.waiting = nil
	}
	return o, true
}

// drain tells of all that waits of w. A change of state takes a while to be
// told; patient says that the caller has that while, else another goroutine
// goes on from there.
func (t *teller) drain(w *worker, patient bool) {
	for {
		o, ok := t.next(w)
		if !ok && patient {
			t.flush()
		}
		if !ok {
			return
		}
		e, changed := w.take(o)
		if !changed {
			continue
		}
		if !patient {
			w.runner.wg.Go(func() {
				w.tellChange(e)
				t.drain(w, true)
			})
			return
		}
		w.tellChange(e)
	}
}
