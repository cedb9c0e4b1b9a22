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
	ready []*worker // have results that wait, and nobody tells of them
}

func newTeller(s Sink) *teller { return &teller{sink: s, wake: make(chan struct{}, 1)} }

// mostWaiting is how many results of a check wait to be told, should the sink
// hang.
const mostWaiting = 64

// deliver queues a result. One too many is given up, and counts as skipped.
func (t *teller) deliver(w *worker, o outcome) {
	t.mu.Lock()
	if len(w.waiting) >= mostWaiting {
		t.mu.Unlock()
		w.skipped.Add(1)
		return
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
	w.waiting[0] = outcome{}
	if w.waiting = w.waiting[1:]; len(w.waiting) == 0 {
		w.waiting = w.first[:0]
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
