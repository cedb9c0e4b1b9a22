package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Fleet is what every gateway runs and should run, by name; with those that
// have not enrolled yet.
func (s *Server) Fleet(ctx context.Context) ([]centre.GatewayState, error) {
	sites, err := s.o.Store.Sites(ctx)
	if err != nil {
		return nil, err
	}
	enrolled, err := s.o.Store.Gateways(ctx)
	if err != nil {
		return nil, err
	}
	heard, err := s.o.Store.Heard(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]*centre.GatewayState{}
	for _, site := range sites {
		all[site.Gateway] = &centre.GatewayState{Name: site.Gateway, Site: site.ID, Health: checks.UnknownState}
	}
	for _, g := range enrolled {
		all[g.Name] = &centre.GatewayState{Name: g.Name, Site: g.Site, Enrolled: g.Enrolled, LastSeen: g.LastSeen, Health: checks.UnknownState}
	}
	for _, h := range heard {
		g := all[h.Gateway]
		if g == nil {
			continue // its site is gone
		}
		snap := h.Snapshot
		g.Version, g.Health, g.Headline, g.Host, g.List, g.Trial = snap.Agent.Version, snap.State, snap.Headline, snap.Host, snap.Config.List, snap.Config.Trial
		g.LastSeen = later(g.LastSeen, h.At)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	known := s.known(now)
	list := make([]centre.GatewayState, 0, len(all))
	for name, g := range all {
		s.show(g, known[name])
		g.Clones = s.copies.of(name, now)
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b centre.GatewayState) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// show adds what is known now; the caller holds mu.
func (s *Server) show(to *centre.GatewayState, g rollout.Gateway) {
	w := s.steer.wanted[to.Name]
	to.Desired, to.Running, to.Mark = w.ConfigRef, g.Running, g.Mark
	to.LastSeen = later(to.LastSeen, g.Seen)
	to.Silent = !to.LastSeen.IsZero() && s.o.Now().Sub(to.LastSeen) > s.silence()
	if w.Hash != "" && (g.Offer == w.Hash || g.Running.Hash == w.Hash) {
		to.State = g.State
	}
	if to.Silent {
		to.Health = checks.UnknownState
	}
	if a := s.agents[to.Name]; a != nil && !a.said.Seen.IsZero() {
		to.List = a.list
		if !to.Silent {
			to.Health, to.Headline = g.Health, g.Headline
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b.UTC()
	}
	return a
}

// Bundles gives those that are kept, by the hash of their text.
func (s *Server) Bundles(ctx context.Context, hashes []string) (map[string][]byte, error) {
	got, err := s.o.Store.Bundles(ctx, hashes)
	all := make(map[string][]byte, len(got))
	for _, b := range got {
		all[b.Hash] = b.Bytes
	}
	return all, err
}

// Rollouts gives all, the newest first, without their gateways.
func (s *Server) Rollouts(ctx context.Context) ([]centre.Rollout, error) {
	kept, err := s.o.Store.Rollouts(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]centre.Rollout, 0, len(kept))
	for _, k := range kept {
		r, err := s.counted(ctx, k)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// counted is a rollout without its gateways. Those that have come to their end
// are counted once: there are many, and each may have thousands of gateways.
func (s *Server) counted(ctx context.Context, kept store.Rollout) (centre.Rollout, error) {
	over := !kept.Live && !kept.Ended.IsZero()
	s.mu.Lock()
	r, ok := s.steer.over[kept.ID]
	s.mu.Unlock()
	if over && ok && r.Ended.Equal(kept.Ended) {
		return r, nil
	}
	r, err := s.shown(ctx, kept)
	r.Gateways = nil
	if err == nil && over {
		s.mu.Lock()
		s.steer.over[kept.ID] = r
		s.mu.Unlock()
	}
	return r, err
}

// Rollout gives one with its gateways, or store.ErrNotFound.
func (s *Server) Rollout(ctx context.Context, id string) (centre.Rollout, error) {
	return s.rollout(ctx, id)
}

func (s *Server) rollout(ctx context.Context, id string) (centre.Rollout, error) {
	kept, err := s.o.Store.Rollout(ctx, id)
	if err != nil {
		return centre.Rollout{}, err
	}
	return s.shown(ctx, kept)
}

// shown is a rollout as the API tells it: from memory where it is there.
func (s *Server) shown(ctx context.Context, kept store.Rollout) (centre.Rollout, error) {
	s.mu.Lock()
	if i := slices.IndexFunc(s.steer.live, func(l *live) bool { return l.ID == kept.ID }); i >= 0 {
		defer s.mu.Unlock()
		return s.steer.live[i].shown(s.known(s.o.Now())), nil
	}
	s.mu.Unlock()
	l, err := s.open(ctx, kept)
	if err != nil {
		return centre.Rollout{}, err
	}
	return l.shown(nil), nil
}

// shown tells l; known is nil where nothing more becomes of it.
func (l *live) shown(known map[string]rollout.Gateway) centre.Rollout {
	r := centre.Rollout{ID: l.ID, Name: l.Name, By: l.By, Began: l.Began, Ended: l.Ended, State: l.r.State, Reason: l.r.Reason, Waits: l.waits}
	for _, name := range l.Rings {
		r.Rings = append(r.Rings, centre.RingState{Name: name})
	}
	for _, p := range l.r.Pushes {
		g, ok := known[p.Gateway]
		one := centre.PushState{Gateway: p.Gateway, Ring: l.Rings[p.Ring], Config: p.Target(), State: cmp.Or(string(p.Stage), "waiting"), Since: p.Since,
			Reason: p.Reason, Evidence: p.Evidence, Worse: p.Worse, Offline: known != nil && (!ok || g.Silent)}
		r.Gateways = append(r.Gateways, one)
		add(&r.Rings[p.Ring], p, one)
	}
	return r
}

// add counts one gateway.
func add(n *centre.RingState, p rollout.Push, shown centre.PushState) {
	n.All++
	switch p.Stage {
	case rollout.Applied:
		n.Applied++
	case rollout.Offered, rollout.Applying:
		n.Applying++
	case rollout.Unconfirmed:
		n.Unconfirmed++
	case rollout.Failed:
		n.Failed++
	}
	if shown.Offline {
		n.Offline++
	}
	if p.Worse != "" {
		n.Worse++
	}
}
