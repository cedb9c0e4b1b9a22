package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// When rollouts are looked at: shortly after news, so that those of many
// gateways are taken together, and now and then, for silence is no news.
const (
	stepGather = 100 * time.Millisecond
	stepAtMost = 5 * time.Second
)

// Steer moves rollouts on, until ctx ends.
func (s *Server) Steer(ctx context.Context, ready func()) error {
	ready()
	for {
		next := s.step(ctx)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.steer.news:
			timer.Stop()
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(stepGather):
		}
	}
}

// step decides and saves, and says when to do so again.
func (s *Server) step(ctx context.Context) time.Duration {
	s.steer.work.Lock()
	defer s.steer.work.Unlock()
	return s.decide(ctx)
}

// decide takes all live rollouts on; the caller holds work. What takes
// something away holds at once, what gives something once it is saved.
func (s *Server) decide(ctx context.Context) time.Duration {
	now := s.o.Now()
	s.mu.Lock()
	again := stepAtMost
	if len(s.steer.live) > 0 {
		known := s.known(now)
		for _, l := range slices.Backward(s.steer.live) { // the newest last: it looks at what others have on trial
			if at := s.advance(l, known, now); !at.IsZero() {
				again = min(again, max(0, at.Sub(now)))
			}
		}
	}
	s.mu.Unlock()
	s.save(ctx, now)
	return again
}

// advance takes one rollout on; the caller holds mu.
func (s *Server) advance(l *live, known map[string]rollout.Gateway, now time.Time) time.Time {
	r := l.r
	r.Beside = s.steer.beside(l, known)
	d := rollout.Next(r, known, s.steer.freeze, now)
	if d.State != l.r.State || d.Reason != l.r.Reason {
		s.o.Log.Info("a rollout moved", "rollout", l.ID, "from", l.r.State, "to", d.State, "reason", d.Reason)
		l.acts = append(l.acts, store.Event{At: now, Actor: "collector", Act: "rollout " + string(d.State), Object: l.ID, Detail: d.Reason, Old: string(l.r.State), New: string(d.State)})
	}
	if d.State != l.r.State || d.Reason != l.r.Reason || d.Ring != l.r.Ring || d.Live != l.Live {
		l.changed = true
	}
	for _, p := range d.Changed {
		l.note(p, now)
		l.r.Pushes[l.at[p.Gateway]] = p
		l.dirty[p.Gateway], l.changed = true, true
		if p.Stage == rollout.Offered {
			s.steer.unsaved[p.Gateway] = true
		}
		if ref, stopped, ok := p.Wanted(); ok {
			s.steer.wanted[p.Gateway] = store.Wanted{Gateway: p.Gateway, ConfigRef: ref, Rollout: l.ID, Since: now, Stopped: stopped}
		}
	}
	l.r.State, l.r.Reason, l.r.Ring, l.waits, l.again, l.Live = d.State, d.Reason, d.Ring, d.Waits, d.Again, d.Live
	l.end(now)
	return d.Again
}

// beside is what other live rollouts than l have on trial, by word of Apart; the
// caller holds mu.
func (t *steering) beside(l *live, known map[string]rollout.Gateway) map[string]string {
	words := map[string]string{}
	for _, o := range t.live {
		if o == l {
			continue
		}
		for _, p := range o.r.Pushes {
			if len(p.Apart) == 0 || !p.Trying(known[p.Gateway]) {
				continue
			}
			for _, w := range p.Apart {
				words[w] = p.Gateway
			}
		}
	}
	return words
}

// end brings what is kept of l in line with its state.
func (l *live) end(now time.Time) {
	l.State, l.Reason, l.Ring = l.r.State, l.r.Reason, l.r.Ring
	switch l.State {
	case centre.RolloutDone, centre.RolloutAborted, centre.RolloutUndone:
		if l.Ended.IsZero() {
			l.Ended, l.changed = now, true
		}
	default:
		l.Ended = time.Time{}
	}
}

// note writes down what became of a push.
func (l *live) note(p rollout.Push, now time.Time) {
	was := l.r.Pushes[l.at[p.Gateway]]
	if was.Stage == p.Stage && was.Returning == p.Returning {
		return
	}
	e := store.Event{At: now, Actor: p.Gateway, Object: p.Gateway, Detail: "rollout " + l.ID, Old: ref(p.Was), New: ref(p.Target())}
	if p.Returning {
		e.Old = ref(p.Config)
	}
	switch p.Stage {
	case rollout.Waiting:
		if was.Stage != rollout.Offered || p.Returning {
			return
		}
		e.Actor, e.Act = "collector", "offer withdrawn"
	case rollout.Offered:
		e.Actor, e.Act = l.By, "config offered"
	case rollout.Gone:
		e.Act = "config applied"
	default:
		e.Act = "config " + string(p.Stage)
	}
	if p.Reason != "" {
		e.Detail += ": " + p.Reason
	}
	l.acts = append(l.acts, e)
}

func ref(c centre.ConfigRef) string {
	if c.Hash == "" {
		return ""
	}
	return fmt.Sprintf("generation %d, %.12s", c.Generation, c.Hash)
}

// save writes what changed of the live rollouts; the caller holds work.
func (s *Server) save(ctx context.Context, now time.Time) {
	s.mu.Lock()
	var todo []saving
	for _, l := range s.steer.live {
		if l.changed {
			todo = append(todo, s.saving(l))
		}
	}
	s.mu.Unlock()
	for _, t := range todo {
		err := s.o.Store.SaveRollout(ctx, t.kept, t.pushes, t.wanted, t.acts)
		s.mu.Lock()
		s.saved(ctx, t, err)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steer.drop() // only now: what could not be saved stays, and is tried again
}

// saving is a copy of what is to be written of a rollout.
type saving struct {
	l      *live
	kept   store.Rollout
	pushes []store.Push
	wanted []store.Wanted
	acts   []store.Event
}

// saving takes what is to be written out of l; the caller holds mu.
func (s *Server) saving(l *live) saving {
	t := saving{l: l, kept: l.Rollout, acts: l.acts}
	for gateway := range l.dirty {
		p := l.push(gateway)
		body, err := json.Marshal(p.Progress)
		if err != nil {
			s.o.Log.Error("cannot write the progress of a push", "rollout", l.ID, "gateway", gateway, "err", err)
			continue
		}
		t.pushes = append(t.pushes, store.Push{Gateway: gateway, Progress: body})
		if w := s.steer.wanted[gateway]; w.Rollout == l.ID {
			t.wanted = append(t.wanted, w)
		}
	}
	l.dirty, l.acts, l.changed = map[string]bool{}, nil, false
	return t
}

// saved makes the offers that are in the store, or keeps what could not be
// written for the next time; the caller holds mu.
func (s *Server) saved(ctx context.Context, t saving, err error) {
	for _, p := range t.pushes {
		if err != nil {
			t.l.dirty[p.Gateway] = true
		} else if !t.l.dirty[p.Gateway] {
			delete(s.steer.unsaved, p.Gateway)
		}
	}
	if err != nil {
		t.l.acts, t.l.changed = append(t.acts, t.l.acts...), true
	}
	switch {
	case err != nil && !s.steer.ill && ctx.Err() == nil:
		s.o.Log.Error("cannot save a rollout, trying on; nothing new is offered", "rollout", t.l.ID, "err", err)
	case err == nil && s.steer.ill:
		s.o.Log.Info("rollouts are saved again")
	}
	s.steer.ill = err != nil
}
