package rollout

import (
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Trials of one config that were inconclusive: how many there may be, and how
// long after one the next is made.
const (
	maxTries   = 3
	retryAfter = 2 * time.Minute
)

// untaken is how long a gateway may call without taking what it is offered: its
// agent takes nothing from the centre. One that is busy with another trial takes
// it later.
const untaken = 5 * time.Minute

// follow takes what a gateway reports of what p wants there.
func (s *step) follow(p *Push, g Gateway) {
	if p.Stage == Superseded {
		return
	}
	if t := p.Target(); t.Generation < g.Mark && (p.Stage == Waiting || p.Stage == Offered) && !p.Returning == s.running() {
		s.outrun(p, g)
		return
	}
	switch {
	case g.Offer == p.Target().Hash:
		s.report(p, g)
	case g.Running.Hash == p.Target().Hash && p.Stage == Offered:
		p.to(p.kept(), s.now)
	}
	if p.Stage == Offered && g.Seen.Sub(p.Since) > untaken && g.State != block.ConfigApplying && s.r.May(*p, s.freeze, s.now) {
		p.to(Failed, s.now)
		p.Reason = "it calls, and does not take its config"
	}
	if s.r.State == centre.RolloutBack && !p.Returning && p.Back.Hash != "" &&
		(p.Stage == Offered && g.Given || p.Stage == Applying || p.Stage == Unconfirmed || p.Stage == Applied) {
		p.turn(s.now)
	}
}

// running says whether it goes forward.
func (s *step) running() bool {
	return s.r.State == centre.RolloutRunning || s.r.State == centre.RolloutPaused || s.r.State == centre.RolloutDone
}

// outrun is for a gateway that has accepted something newer than what p wants:
// it would refuse it. Where nobody carried that there by hand, this collector
// knows less than it once did.
func (s *step) outrun(p *Push, g Gateway) {
	p.to(Failed, s.now)
	p.Reason = fmt.Sprintf("it has accepted generation %d already, this is %d", g.Mark, p.Target().Generation)
	if s.r.State == centre.RolloutRunning {
		s.pause(p.Gateway + ": " + p.Reason + "; is the collector's store an older copy?")
	}
}

// report takes the state of an offer that is p's.
func (s *step) report(p *Push, g Gateway) {
	switch g.State {
	case block.ConfigApplied:
		p.to(p.kept(), s.now)
	case block.ConfigApplying:
		p.to(Applying, s.now)
	case block.ConfigUnconfirmed:
		p.to(Unconfirmed, s.now)
		p.Reason = g.Reason
	case block.ConfigOverridden:
		p.to(Failed, s.now)
		p.Reason = "a technician went back by hand"
	case block.ConfigFailed:
		s.failed(p, g)
	}
}

// failed takes a trial's end. One that was inconclusive may be tried again,
// a few times.
func (s *step) failed(p *Push, g Gateway) {
	stale := g.Inconclusive && p.Tries > 0 && g.Began.Equal(p.Tried) // what it said before the next try
	switch {
	case stale && (p.Stage == Waiting || p.Stage == Offered):
	case g.Inconclusive && p.Tries+1 < maxTries:
		p.to(Waiting, s.now)
		p.Tries, p.Tried = p.Tries+1, g.Began
		p.Reason, p.Evidence = g.Reason, g.Evidence
	default:
		p.to(Failed, s.now)
		p.Reason, p.Evidence = g.Reason, g.Evidence
	}
}

// kept is the stage of a gateway that runs what is wanted.
func (p Push) kept() Stage {
	if p.Returning {
		return Gone
	}
	return Applied
}

// to is a new stage of p; the one it is in is no change.
func (p *Push) to(stage Stage, now time.Time) {
	if p.Stage == stage {
		return
	}
	p.Stage, p.Since, p.Reason, p.Evidence = stage, now, "", nil
}

// turn makes p go back.
func (p *Push) turn(now time.Time) {
	p.to(Waiting, now)
	p.Returning, p.Tries, p.Tried = true, 0, time.Time{}
}

// compare says what got worse of a gateway since it was offered its config.
func (s *step) compare(p *Push, g Gateway) {
	if p.Worse != "" || p.Returning || p.Stage == Waiting || p.Stage == Failed || p.Stage == Superseded {
		return
	}
	if p.Stage == Applied && s.now.After(p.Since.Add(s.within())) {
		return
	}
	switch {
	case g.Silent && !s.outage && (p.Stage != Offered || g.Given):
		p.Worse = "silent since it was given its config"
	case g.Silent || p.Stage != Applied:
	case known(p.Before) && centre.Severity(g.Health) >= centre.Severity(checks.DegradedState) && centre.Severity(g.Health) > centre.Severity(p.Before):
		p.Worse = fmt.Sprintf("%s, was %s", g.Health, p.Before)
		if g.Headline != "" {
			p.Worse += ": " + g.Headline
		}
	}
}

// known says whether a state can be compared: unknown is neither good nor bad.
func known(s checks.State) bool {
	return s == checks.Up || s == checks.DegradedState || s == checks.MaintenanceMode
}
