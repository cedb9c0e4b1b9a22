package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// missed is how many heartbeats a gateway may miss before it is silent.
const missed = 3

// steering is what is wanted of gateways, in memory: what messages are answered
// from. The store has it too, and has it first where somebody is to be given
// something; see unsaved.
type steering struct {
	work sync.Mutex    // held by the one change at a time; before Server.mu
	news chan struct{} // of one element: something changed that a rollout may turn on

	// Server.mu guards the following.
	live    []*live                    // newest first: rollouts of which something may still become
	past    map[string]rollout.Gateway // what gateways said before the collector started
	wanted  map[string]store.Wanted
	unsaved map[string]bool // gateways whose offer is not in the store yet, and is not made
	freeze  centre.Freeze
	list    store.List
	denied  *bundle.DenyList
	asked   map[string][]string       // networks to prove a key for, by gateway
	ill     bool                      // the store cannot be written
	over    map[string]centre.Rollout // those that have come to their end, counted, by ID
}

// live is a rollout in memory.
type live struct {
	store.Rollout
	r     rollout.Rollout
	waits string
	again time.Time      // when waiting alone ends it; zero: never
	at    map[string]int // place in r.Pushes, by gateway

	dirty   map[string]bool // gateways whose push is not saved yet
	acts    []store.Event   // not saved yet
	changed bool            // there is something to save
}

// loadSteering reads what is wanted from the store, and what gateways said
// last.
func (s *Server) loadSteering(ctx context.Context) error {
	s.steer.news = make(chan struct{}, 1)
	s.steer.past, s.steer.wanted = map[string]rollout.Gateway{}, map[string]store.Wanted{}
	s.steer.unsaved, s.steer.over = map[string]bool{}, map[string]centre.Rollout{}
	all, err := s.o.Store.Rollouts(ctx)
	if err != nil {
		return err
	}
	for _, kept := range all {
		if !kept.Live && !kept.Ended.IsZero() {
			continue
		}
		l, err := s.open(ctx, kept)
		if err != nil {
			return err
		}
		s.steer.live = append(s.steer.live, l)
	}
	wanted, err := s.o.Store.Wanted(ctx)
	if err != nil {
		return err
	}
	for _, w := range wanted {
		s.steer.wanted[w.Gateway] = w
	}
	heard, err := s.o.Store.Heard(ctx)
	if err != nil {
		return err
	}
	for _, h := range heard {
		s.steer.past[h.Gateway] = said(h.Snapshot, h.At)
	}
	if s.steer.freeze, err = s.o.Store.Freeze(ctx); err != nil {
		return err
	}
	if s.steer.asked, err = s.o.Store.AskedKeys(ctx); err != nil {
		return err
	}
	return s.loadList(ctx)
}

// loadList reads the list in force, which was read once before it was kept.
func (s *Server) loadList(ctx context.Context) error {
	l, err := s.o.Store.List(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := readList(l.Bytes)
	if err != nil {
		return fmt.Errorf("list %d in the store: %w", l.Number, err)
	}
	s.steer.list, s.steer.denied = l, d
	return nil
}

// open reads a rollout with its pushes.
func (s *Server) open(ctx context.Context, kept store.Rollout) (*live, error) {
	pushes, err := s.o.Store.Pushes(ctx, kept.ID)
	if err != nil {
		return nil, err
	}
	return newLive(kept, pushes)
}

func newLive(kept store.Rollout, pushes []store.Push) (*live, error) {
	l := &live{Rollout: kept, at: map[string]int{}, dirty: map[string]bool{},
		r: rollout.Rollout{Rings: kept.Rings, Pause: kept.Pause, State: kept.State, Reason: kept.Reason, Ring: kept.Ring}}
	usual, err := centre.ParseWindow(kept.Window)
	if err != nil {
		return nil, err
	}
	for i, p := range pushes {
		one := rollout.Push{Gateway: p.Gateway, Ring: p.Ring, Window: usual, Needs: p.Needs, Apart: p.Apart, Config: p.Config, Back: p.Back}
		if p.Window != "" {
			if one.Window, err = centre.ParseWindow(p.Window); err != nil {
				return nil, err
			}
		}
		if err := json.Unmarshal(p.Progress, &one.Progress); err != nil {
			return nil, fmt.Errorf("progress of %s in rollout %s: %w", p.Gateway, kept.ID, err)
		}
		l.r.Pushes = append(l.r.Pushes, one)
		l.at[p.Gateway] = i
	}
	return l, nil
}

// push is a gateway's part in l; nil: it has none.
func (l *live) push(gateway string) *rollout.Push {
	if i, ok := l.at[gateway]; ok {
		return &l.r.Pushes[i]
	}
	return nil
}

// busy says whether l is on its way, so that no other may begin.
func (l *live) busy() bool { return l.Ended.IsZero() }

// of is the newest live rollout that wants something of a gateway.
func (t *steering) of(gateway string) (*live, *rollout.Push) {
	for _, l := range t.live {
		if p := l.push(gateway); p != nil && p.Stage != rollout.Superseded {
			return l, p
		}
	}
	return nil, nil
}

// said is what a snapshot tells of configs.
func said(snap block.Snapshot, at time.Time) rollout.Gateway {
	c := snap.Config
	g := rollout.Gateway{Running: centre.ConfigRef{Generation: c.Generation, Hash: c.Hash}, Mark: c.Mark, State: c.State,
		Health: snap.State, Headline: snap.Headline, Seen: at}
	if c.State == block.ConfigApplied {
		g.Offer = c.Hash
	}
	if t := c.Trial; t != nil && c.State != block.ConfigApplied {
		g.Offer, g.Reason, g.Evidence, g.Began = t.Hash, t.Reason, t.Evidence, t.Began
	}
	return g
}

// known is all that is known of gateways; the caller holds mu.
func (s *Server) known(now time.Time) map[string]rollout.Gateway {
	all := make(map[string]rollout.Gateway, len(s.steer.past)+len(s.agents))
	for name, g := range s.steer.past {
		all[name] = s.complete(name, g, now)
	}
	for name, a := range s.agents {
		all[name] = s.complete(name, a.gateway(), now)
	}
	return all
}

// complete adds what the gateway did not say; the caller holds mu.
func (s *Server) complete(name string, g rollout.Gateway, now time.Time) rollout.Gateway {
	seen := g.Seen
	if seen.Before(s.started) && !seen.IsZero() {
		seen = s.started // nobody could be heard before
	}
	g.Silent = now.Sub(seen) > s.silence()
	w := s.steer.wanted[name]
	g.Wanted, g.Stopped = w.ConfigRef, w.Stopped
	a := s.agents[name]
	for _, l := range s.steer.live {
		if p := l.push(name); p != nil && p.Stage == rollout.Offered {
			g.Given = p.Since.Before(s.started) || a != nil && a.given == p.Target().Hash
			break
		}
	}
	return g
}

// silence is how long a gateway may say nothing; the caller holds mu.
func (s *Server) silence() time.Duration {
	return missed * s.idle()
}

// wake has Steer look at the rollouts.
func (s *Server) wake() {
	select {
	case s.steer.news <- struct{}{}:
	default:
	}
}

// supersede takes gateways out of older rollouts; the caller holds mu.
func (s *Server) supersede(gateways func(string) bool, now time.Time) {
	for _, l := range s.steer.live {
		for i := range l.r.Pushes {
			p := &l.r.Pushes[i]
			if p.Stage != rollout.Superseded && gateways(p.Gateway) {
				p.Stage, p.Since, p.Reason, p.Evidence = rollout.Superseded, now, "", nil
				l.dirty[p.Gateway], l.changed = true, true
			}
		}
	}
}

// drop forgets rollouts of which nothing more can become; the caller holds mu.
func (t *steering) drop() {
	t.live = slices.DeleteFunc(t.live, func(l *live) bool { return !l.Live && !l.changed && !l.busy() })
}
