package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// MoveRollout pauses, resumes, ends or undoes a rollout.
func (s *Server) MoveRollout(ctx context.Context, by store.By, id string, m centre.Move) (centre.Rollout, error) {
	ctx = context.WithoutCancel(ctx) // see StartRollout
	s.steer.work.Lock()
	defer s.steer.work.Unlock()
	l, err := s.find(ctx, id)
	if err != nil {
		return centre.Rollout{}, err
	}
	now := s.o.Now()
	if err := s.move(l, by, m, now); err != nil {
		return centre.Rollout{}, err
	}
	s.decide(ctx)
	s.wake()
	s.mu.Lock()
	unsaved, state := l.changed, l.r.State
	s.mu.Unlock()
	if unsaved {
		return centre.Rollout{}, &Refusal{http.StatusServiceUnavailable, "not_saved",
			fmt.Sprintf("rollout %s is %s now, but the store could not be written: a restart would forget it", id, state), "look at the collector's disk"}
	}
	return s.rollout(ctx, id)
}

// find gives a rollout in memory, read from the store where it has ended.
func (s *Server) find(ctx context.Context, id string) (*live, error) {
	s.mu.Lock()
	i := slices.IndexFunc(s.steer.live, func(l *live) bool { return l.ID == id })
	if i >= 0 {
		defer s.mu.Unlock()
		return s.steer.live[i], nil
	}
	s.mu.Unlock()
	kept, err := s.o.Store.Rollout(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &Refusal{http.StatusNotFound, "no_rollout", "there is no rollout " + id, ""}
	}
	if err != nil {
		return nil, err
	}
	return s.open(ctx, kept)
}

// move does what an operator asks.
func (s *Server) move(l *live, by store.By, m centre.Move, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved, err := rollout.Move(l.r, m, now)
	if err != nil {
		return &Refusal{http.StatusConflict, "no_move", fmt.Sprintf("rollout %s cannot %s: %v", l.ID, m, err), ""}
	}
	listed := slices.Contains(s.steer.live, l)
	if m == centre.MoveBack && !l.busy() {
		if err := s.free(); err != nil {
			return err
		}
		if !listed && !s.claim(l, &moved) {
			return &Refusal{http.StatusConflict, "no_move", fmt.Sprintf("rollout %s cannot go back: its gateways are wanted to run something newer, or nothing of it has arrived", l.ID),
				"push what they are to run"}
		}
	}
	if !listed {
		s.steer.live = append(s.steer.live, l)
		slices.SortFunc(s.steer.live, func(a, b *live) int { return b.Began.Compare(a.Began) })
	}
	l.acts = append(l.acts, store.Event{At: now, Actor: by.Name, From: by.From, Act: "rollout " + string(m), Object: l.ID, Detail: l.Name, Old: string(l.r.State), New: string(moved.State)})
	s.o.Log.Info("a rollout was moved", "rollout", l.ID, "by", by.Name, "from", l.r.State, "to", moved.State)
	for i, p := range moved.Pushes {
		if was := l.r.Pushes[i]; p.Excused != was.Excused || p.Stage != was.Stage || !p.Since.Equal(was.Since) {
			l.dirty[p.Gateway] = true
		}
	}
	l.r, l.changed, l.Live = moved, true, true
	l.end(now)
	return nil
}

// claim leaves to a rollout that has ended those gateways that it was the last
// to want something of; the caller holds mu.
func (s *Server) claim(l *live, r *rollout.Rollout) (any bool) {
	for i := range r.Pushes {
		p := &r.Pushes[i]
		switch {
		case s.steer.wanted[p.Gateway].Rollout == l.ID:
			any = any || p.Back.Hash != "" && p.Stage == rollout.Applied
		case p.Stage != rollout.Waiting:
			p.Stage = rollout.Superseded
		}
	}
	return any
}

// Freeze is what keeps rollouts from going on.
func (s *Server) Freeze(context.Context) (centre.Freeze, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Now().Before(s.steer.freeze.Until) {
		return centre.Freeze{}, nil
	}
	return s.steer.freeze, nil
}

// SetFreeze keeps rollouts from going on, or, with a zero Until, does not.
func (s *Server) SetFreeze(ctx context.Context, by store.By, f centre.Freeze) (centre.Freeze, error) {
	now := s.o.Now()
	oneLine := len(f.Why) <= mostName && !strings.ContainsFunc(f.Why, unicode.IsControl)
	if !oneLine || !f.Until.IsZero() && (f.Why == "" || !f.Until.After(now)) {
		return f, &Refusal{http.StatusBadRequest, "bad_freeze", "a freeze has an end that is to come, and says why in one line", ""}
	}
	f.Until, f.By = f.Until.UTC(), by.Name
	if f.Until.IsZero() {
		f = centre.Freeze{}
	}
	s.steer.work.Lock()
	defer s.steer.work.Unlock()
	s.mu.Lock()
	old := s.steer.freeze
	s.mu.Unlock()
	act := store.Event{At: now, Actor: by.Name, From: by.From, Act: "freeze", Object: "rollouts", Detail: f.Why, Old: until(old), New: until(f)}
	if f.Until.IsZero() {
		act.Act = "unfreeze"
	}
	if err := s.o.Store.SetFreeze(ctx, f, act); err != nil {
		return f, err
	}
	s.mu.Lock()
	s.steer.freeze = f
	s.mu.Unlock()
	s.decide(ctx)
	s.wake()
	return f, nil
}

func until(f centre.Freeze) string {
	if f.Until.IsZero() {
		return ""
	}
	return "until " + f.Until.UTC().Format(time.RFC3339) + ": " + f.Why
}

// readList reads a signed list.
func readList(raw []byte) (*bundle.DenyList, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return nil, err
	}
	return bundle.ParseList("list", b.Text)
}

// checkList reads a list that is new here, which must be signed by whom it says.
// Whether that one is to be believed, gateways judge.
func checkList(raw []byte) (*bundle.DenyList, error) {
	b, err := bundle.Parse(raw)
	if err == nil {
		_, err = b.Claimed(bundle.List)
	}
	if err != nil {
		return nil, err
	}
	return readList(raw)
}

// SetList puts a signed list in force. Gateways hear of it with their next
// message.
func (s *Server) SetList(ctx context.Context, by store.By, n centre.NewList) (centre.List, error) {
	d, err := checkList(n.Bundle)
	if err != nil {
		return centre.List{}, &Refusal{http.StatusBadRequest, "bad_list", "the list cannot be read: " + err.Error(), ""}
	}
	s.steer.work.Lock()
	defer s.steer.work.Unlock()
	now := s.o.Now()
	s.mu.Lock()
	old := s.steer.list
	s.mu.Unlock()
	if d.Number > old.Number+leap {
		return centre.List{}, &Refusal{http.StatusBadRequest, "bad_list", fmt.Sprintf("list %d is too far above %d, which is in force", d.Number, old.Number), "its number is the next one"}
	}
	l := store.List{Number: d.Number, Bytes: n.Bundle, Since: now.UTC().Truncate(time.Microsecond), By: by.Name}
	err = s.o.Store.SaveList(ctx, l, store.Event{At: now, Actor: by.Name, From: by.From, Act: "list", Object: "list",
		Detail: fmt.Sprintf("%d denials", len(d.Denials)), Old: fmt.Sprint(old.Number), New: fmt.Sprint(d.Number)})
	if errors.Is(err, store.ErrOld) {
		return centre.List{}, &Refusal{http.StatusConflict, "list_outdated", fmt.Sprintf("list %d is not above %d, which %s put in force", d.Number, old.Number, old.By),
			"fetch the list in force and change that: run the command again"}
	}
	if err != nil {
		return centre.List{}, err
	}
	s.mu.Lock()
	s.steer.list, s.steer.denied = l, d
	s.mu.Unlock()
	s.o.Log.InfoContext(ctx, "a list is in force", "number", d.Number, "by", by.Name)
	return s.List(ctx)
}

// List is the list in force, and where it has arrived.
func (s *Server) List(ctx context.Context) (centre.List, error) {
	all, err := s.o.Store.Gateways(ctx)
	if err != nil {
		return centre.List{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := centre.List{Number: s.steer.list.Number, Bundle: s.steer.list.Bytes, Since: s.steer.list.Since, By: s.steer.list.By, All: len(all)}
	for _, a := range s.agents {
		if l.Number > 0 && a.list >= l.Number {
			l.Reached++
		}
	}
	return l, nil
}
