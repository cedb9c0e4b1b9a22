package rollout

import (
	"maps"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// May says whether a gateway may be handed what p wants at this time: it is not
// while the rollout is paused or aborted, nor, forward, while all is frozen or
// outside the window. Going back is asked for by somebody who needs it now.
func (r Rollout) May(p Push, f centre.Freeze, now time.Time) bool {
	if p.Returning {
		return r.State == centre.RolloutBack || r.State == centre.RolloutUndone
	}
	return (r.State == centre.RolloutRunning || r.State == centre.RolloutDone) &&
		p.Ring <= r.Ring && !now.Before(f.Until) && p.Window.Open(now)
}

// Hand says whether a gateway that has just said g is to be handed what is
// wanted of it: not what it runs or tries already, nothing that failed there,
// and nothing older than what it once accepted.
func Hand(g Gateway) bool {
	w := g.Wanted
	return w.Hash != "" && !g.Stopped && w.Hash != g.Running.Hash && w.Hash != g.Offer && w.Generation >= g.Mark
}

// Hand is Hand while p, which has not ended, is what wants it.
func (r Rollout) Hand(p Push, g Gateway, f centre.Freeze, now time.Time) bool {
	if p.Stage == Offered && !r.May(p, f, now) {
		return false
	}
	if g.Offer == p.Target().Hash && g.State == block.ConfigFailed && p.Stage == Offered && p.Tries > 0 && p.Tried.Equal(g.Began) {
		g.Offer = "" // once more
	}
	return Hand(g)
}

// give offers what may be offered: in the rings that have come, to gateways
// that are there, hubs before those that need them, nothing beside a trial that
// it must stand apart from.
func (s *step) give() {
	apart := map[string]string{} // word -> gateway on trial
	maps.Copy(apart, s.r.Beside)
	stays := map[string]string{} // gateway -> one that needs it and has still to go back
	for _, p := range s.r.Pushes {
		if p.Returning && !s.settled(p) {
			for _, name := range p.Needs {
				stays[name] = p.Gateway
			}
		}
		if p.onTrial() {
			hold(apart, p)
			s.again(p.Window.Closes(s.now))
		}
	}
	for i := range s.r.Pushes {
		p := &s.r.Pushes[i]
		g := s.gateway(p.Gateway)
		if p.Stage != Waiting || g.Silent || !s.ready(p) {
			continue
		}
		if first := stays[p.Gateway]; p.Returning && first != "" {
			s.wait(p.Gateway + " goes back after " + first)
			continue
		}
		if word := slices.IndexFunc(p.Apart, func(w string) bool { return apart[w] != "" && apart[w] != p.Gateway }); word >= 0 {
			s.apart(apart[p.Apart[word]], p)
			continue
		}
		s.offer(p, g)
		hold(apart, *p)
	}
}

func hold(apart map[string]string, p Push) {
	for _, w := range p.Apart {
		apart[w] = p.Gateway
	}
}

// apart has p wait for a gateway on trial, or, where that is not heard any
// more, the whole rollout for an operator.
func (s *step) apart(other string, p *Push) {
	s.wait("one after the other: " + p.Gateway + " waits for " + other)
	if s.r.State == centre.RolloutRunning && !s.outage && s.gateway(other).Silent {
		s.pause(other + " is silent since it was given its config, and " + p.Gateway + " must not change beside it")
	}
}

// ready says whether it is p's turn, apart from what else is on trial.
func (s *step) ready(p *Push) bool {
	if p.Returning {
		return s.r.May(*p, s.freeze, s.now) && s.rested(p)
	}
	if s.r.State != centre.RolloutRunning && s.r.State != centre.RolloutDone || p.Ring > s.r.Ring {
		return false
	}
	if s.now.Before(s.freeze.Until) {
		s.wait("frozen until " + s.freeze.Until.In(centre.Zone()).Format("Mon 2 Jan 15:04"))
		s.again(s.freeze.Until)
		return false
	}
	if opens := s.opensOf(p.Window); opens.After(s.now) {
		s.wait("window " + clock(opens))
		s.again(opens)
		return false
	}
	for _, name := range p.Needs {
		if i, ok := s.index[name]; ok && (s.r.Pushes[i].Stage != Applied || s.r.Pushes[i].Returning) {
			s.wait(p.Gateway + " waits for " + name)
			return false
		}
	}
	return s.rested(p)
}

// rested says whether the last try of p was long enough ago.
func (s *step) rested(p *Push) bool {
	if p.Tries == 0 || !s.now.Before(p.Since.Add(retryAfter)) {
		return true
	}
	s.wait(p.Gateway + " is tried again " + clock(p.Since.Add(retryAfter)))
	s.again(p.Since.Add(retryAfter))
	return false
}

// opensOf is when a window is next open; the answer is kept, for most gateways
// share one.
func (s *step) opensOf(w centre.Window) time.Time {
	at, ok := s.opens[w]
	if !ok {
		at = w.Opens(s.now)
		s.opens[w] = at
	}
	return at
}

// offer decides that a gateway is to have what p wants.
func (s *step) offer(p *Push, g Gateway) {
	p.to(Offered, s.now)
	if p.Returning {
		s.d.Back = append(s.d.Back, p.Gateway)
		return
	}
	if !p.Held {
		p.Held, p.Was, p.Stopped, p.Before = true, g.Wanted, g.Stopped, g.Health
	}
	s.d.Offer = append(s.d.Offer, p.Gateway)
	s.again(p.Window.Closes(s.now))
}
