package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// startRollout lets a push through that the operator may make. The networks'
// organisations are an operator's of all organisations to say.
func (s *Server) startRollout(r *http.Request, asked centre.NewRollout) (centre.Rollout, error) {
	ctx := r.Context()
	if scope(ctx).All() {
		began, err := s.steer.StartRollout(ctx, by(ctx), asked)
		if err != nil {
			return began, err
		}
		return began, s.setOrganisations(r, asked.Organisations)
	}
	if err := s.mayPush(ctx, asked); err != nil {
		return centre.Rollout{}, err
	}
	began, err := s.steer.StartRollout(ctx, by(ctx), asked)
	if err != nil {
		return began, err
	}
	return s.mine(ctx, began)
}

// setOrganisations keeps whose each network is, and says what changed.
func (s *Server) setOrganisations(r *http.Request, of map[string]string) error {
	have, err := s.view.store.Organisations(r.Context())
	if err != nil {
		return err
	}
	changed := map[string]string{}
	var acts []store.Event
	for network, organisation := range of {
		if have[network] != organisation {
			changed[network] = organisation
			acts = append(acts, s.act(r, store.Event{Act: "network given", Object: network, Old: have[network], New: organisation}))
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return s.view.store.SetOrganisations(r.Context(), changed, acts...)
}

// mayPush says what keeps an operator of one organisation from a push.
func (s *Server) mayPush(ctx context.Context, asked centre.NewRollout) error {
	sc := scope(ctx)
	for network, organisation := range asked.Organisations {
		if sc.Of[network] != organisation {
			return forbid("network %s would be given to %q", network, organisation)
		}
	}
	of, err := s.networksOf(ctx)
	if err != nil {
		return err
	}
	for gateway, networks := range asked.Wanted {
		if !sc.Sees(of[gateway]) || len(networks) > 0 && !sc.Owns(networks) {
			return forbid("gateway %s would be asked for keys that are not of %s alone", gateway, sc.Organisation)
		}
	}
	now, err := s.wanted(ctx)
	if err != nil {
		return err
	}
	for _, p := range asked.Pushes {
		if !sc.Sees(of[p.Gateway]) {
			return forbid("gateway %s is not of %s", p.Gateway, sc.Organisation)
		}
		old, err := now(p.Gateway)
		if err != nil {
			return err
		}
		for _, raw := range [][]byte{p.Bundle, p.Back} {
			if raw == nil {
				continue
			}
			next, err := configOf(raw)
			if err != nil {
				return &control.Refusal{Status: http.StatusBadRequest, Code: "bad_bundle", Reason: fmt.Sprintf("the config for %s cannot be read: %v", p.Gateway, err)}
			}
			if next.Gateway != p.Gateway {
				return forbid("a config of %s is pushed to %s", next.Gateway, p.Gateway)
			}
			if err := sc.MayReplace(old, next); err != nil {
				return forbid("%v", err)
			}
		}
	}
	return nil
}

// wanted gives a function that reads the config which is wanted of a gateway
// now, or else which it runs; nil where it has none.
func (s *Server) wanted(ctx context.Context) (func(gateway string) (*config.Config, error), error) {
	fleet, err := s.steer.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	hash := map[string]string{}
	for _, g := range fleet {
		hash[g.Name] = g.Desired.Hash
		if hash[g.Name] == "" {
			hash[g.Name] = g.Running.Hash
		}
	}
	return func(gateway string) (*config.Config, error) {
		h := hash[gateway]
		if h == "" {
			return nil, nil
		}
		got, err := s.steer.Bundles(ctx, []string{h})
		if err != nil {
			return nil, err
		}
		if got[h] == nil {
			return nil, forbid("what %s runs was not pushed from here, so what would change for others cannot be told", gateway)
		}
		return configOf(got[h])
	}, nil
}

func configOf(raw []byte) (*config.Config, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return nil, err
	}
	return config.Parse("pushed", b.Text)
}

func (s *Server) rollouts(r *http.Request) ([]centre.Rollout, error) {
	return s.myRollouts(r.Context())
}

// myRollouts gives those that the operator may see, the newest first.
func (s *Server) myRollouts(ctx context.Context) ([]centre.Rollout, error) {
	all, err := s.steer.Rollouts(ctx)
	if err != nil || scope(ctx).All() {
		return all, err
	}
	shown := []centre.Rollout{}
	for _, one := range all {
		whole, err := s.steer.Rollout(ctx, one.ID)
		if err == nil {
			whole, err = s.mine(ctx, whole)
		}
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		whole.Gateways = nil
		shown = append(shown, whole)
	}
	return shown, nil
}

func (s *Server) rollout(r *http.Request) (centre.Rollout, error) {
	one, err := s.steer.Rollout(r.Context(), r.PathValue("id"))
	if err != nil {
		return one, err
	}
	return s.mine(r.Context(), one)
}

// mine takes out of a rollout what the operator may not see, and counts the
// rest anew. ErrNotFound: nothing is left.
func (s *Server) mine(ctx context.Context, r centre.Rollout) (centre.Rollout, error) {
	if scope(ctx).All() {
		return r, nil
	}
	all := len(r.Gateways)
	left, err := seen(ctx, s, r.Gateways, func(p centre.PushState) string { return p.Gateway })
	if err != nil {
		return r, err
	}
	if len(left) == 0 {
		return centre.Rollout{}, fmt.Errorf("rollout %q: %w", r.ID, store.ErrNotFound)
	}
	hidden, err := s.others(ctx)
	if err != nil {
		return r, err
	}
	r.Gateways = left
	for i := range left {
		boundPush(&left[i], hidden)
	}
	for _, text := range []*string{&r.Reason, &r.Waits} {
		if mentions(*text, hidden) {
			*text = aboutOthers
		}
	}
	if len(left) < all {
		r.Rings = slices.Clone(r.Rings)
		for i, ring := range r.Rings {
			r.Rings[i] = count(ring.Name, left)
		}
	}
	return r, nil
}

// others are the names that an operator of one organisation is told nothing of:
// networks of others, and the gateways and sites that are in no other.
func (s *Server) others(ctx context.Context) (map[string]bool, error) {
	sc, hidden := scope(ctx), map[string]bool{}
	of, err := s.networksOf(ctx)
	if err != nil {
		return nil, err
	}
	sites, err := s.view.store.Sites(ctx)
	if err != nil {
		return nil, err
	}
	for _, site := range sites {
		of[site.ID] = site.Networks
	}
	for name, networks := range of {
		hidden[name] = !sc.Sees(networks)
		for _, n := range networks {
			hidden[n] = !sc.Network(n)
		}
	}
	return hidden, nil
}

// boundPush takes out of what became of a push what it says of hidden names.
func boundPush(p *centre.PushState, hidden map[string]bool) {
	p.Evidence = slices.DeleteFunc(slices.Clone(p.Evidence), func(line string) bool { return mentions(line, hidden) })
	for _, text := range []*string{&p.Reason, &p.Worse} {
		if mentions(*text, hidden) {
			*text = aboutOthers
		}
	}
}

// count counts the gateways of a ring by their states.
func count(ring string, all []centre.PushState) centre.RingState {
	n := centre.RingState{Name: ring}
	for _, p := range all {
		if p.Ring != ring {
			continue
		}
		n.All++
		switch p.State {
		case "applied":
			n.Applied++
		case "offered", "applying":
			n.Applying++
		case "unconfirmed":
			n.Unconfirmed++
		case "failed":
			n.Failed++
		}
		if p.Offline {
			n.Offline++
		}
		if p.Worse != "" {
			n.Worse++
		}
	}
	return n
}

// moveRollout pauses, resumes, ends or undoes a rollout. One of an organisation
// may be moved by those of that organisation, since it touches nobody else.
func (s *Server) moveRollout(r *http.Request) (centre.Rollout, error) {
	ctx, id, move := r.Context(), r.PathValue("id"), centre.Move(r.PathValue("move"))
	if !slices.Contains([]centre.Move{centre.MovePause, centre.MoveResume, centre.MoveAbort, centre.MoveBack}, move) {
		return centre.Rollout{}, &control.Refusal{Status: http.StatusNotFound, Code: "no_move", Reason: fmt.Sprintf("%q is nothing that can be done to a rollout", move), Advice: "pause, resume, abort or back"}
	}
	if sc := scope(ctx); !sc.All() {
		one, err := s.rollout(r)
		if err != nil {
			return one, err
		}
		whose, err := s.view.store.Operator(ctx, one.By)
		if errors.Is(err, store.ErrNotFound) || err == nil && whose.Organisation != sc.Organisation {
			return one, forbid("rollout %s was started by %s, who is not of %s", id, one.By, sc.Organisation)
		}
		if err != nil {
			return one, err
		}
	}
	moved, err := s.steer.MoveRollout(ctx, by(ctx), id, move)
	if err != nil {
		return moved, err
	}
	return s.mine(ctx, moved)
}
