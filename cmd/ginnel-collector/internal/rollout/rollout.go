// Package rollout decides how a push goes through the fleet: which gateway is
// given its new config next, from which it is taken away again, when the whole
// stops by itself, and when it has ended.
//
// It is pure, as plans of tunnels are: what is kept and what gateways say go
// in, a Decision comes out; whoever asks writes that down and acts on it.
// Nothing is asked twice: the same state gives the same decision.
//
//	        Offer                report            report
//	waiting ------> offered ------------> applying ------> applied
//	   ^               |                   |    ^             | Back
//	   +---------------+                   v    v             v
//	       Withdraw               failed   unconfirmed     offered … back
package rollout

import (
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Rollout is one push on its way.
type Rollout struct {
	Rings  []string
	Pause  centre.Pause
	State  centre.RolloutState
	Reason string // of State
	Ring   int    // that has come; those before it are through
	Pushes []Push
	// Beside is what other rollouts have on trial: by word of Apart, a gateway.
	Beside map[string]string
}

// Push is one gateway's part.
type Push struct {
	Gateway string
	Ring    int
	Window  centre.Window // its own, or the rollout's
	Needs   []string      // gateways whose push must have been applied before
	Apart   []string      // no two pushes with a word in common are on trial at once
	Config  centre.ConfigRef
	Back    centre.ConfigRef // zero: there is no way back
	Progress
}

// Progress is what changes of a Push. Its zero value waits.
type Progress struct {
	Stage     Stage            `json:"stage,omitempty"`
	Since     time.Time        `json:"since,omitzero"`      // of Stage
	Returning bool             `json:"returning,omitempty"` // Back is wanted instead of Config
	Before    checks.State     `json:"before,omitempty"`    // its health when it was offered
	Held      bool             `json:"held,omitempty"`      // it was offered, so Was is known
	Was       centre.ConfigRef `json:"was,omitzero"`        // what was wanted before the offer
	Stopped   bool             `json:"stopped,omitempty"`   // Was had failed there
	Tries     int              `json:"tries,omitempty"`     // that were inconclusive
	Tried     time.Time        `json:"tried,omitzero"`      // began, by the gateway's clock, the last of them
	Worse     string           `json:"worse,omitempty"`     // what got worse since
	Excused   bool             `json:"excused,omitempty"`   // an operator has gone on in spite of it
	Reason    string           `json:"reason,omitempty"`    // of Stage
	Evidence  []string         `json:"evidence,omitempty"`
}

// Stage is where a push stands.
type Stage string

const (
	Waiting     Stage = ""
	Offered     Stage = "offered"
	Applying    Stage = "applying"    // on trial
	Unconfirmed Stage = "unconfirmed" // runs, held until somebody can tell
	Applied     Stage = "applied"
	Failed      Stage = "failed"     // gone back by itself, or refused
	Gone        Stage = "back"       // gone back because an operator wanted it
	Superseded  Stage = "superseded" // a newer rollout wants something else here
)

// Gateway is what is known of one now.
type Gateway struct {
	Running  centre.ConfigRef
	Mark     uint64
	Offer    string            // hash of the offer that State is of; empty: none was made
	State    block.ConfigState // of Offer
	Reason   string            // of State
	Evidence []string
	Began    time.Time // of the trial that State is of, by the gateway's clock
	// Inconclusive: the trial failed, and going back did not mend what it
	// failed by.
	Inconclusive bool

	Health   checks.State
	Headline string
	Seen     time.Time // last; zero: never
	Silent   bool      // has missed its heartbeats, or was never heard

	Wanted  centre.ConfigRef // of it now, by whichever rollout
	Stopped bool             // Wanted failed there
	Given   bool             // it may have been handed what its push wants
}

// Decision is what Next says. Whatever of the rollout is not in it stays.
type Decision struct {
	State  centre.RolloutState
	Reason string
	Ring   int
	Waits  string    // why not all is offered now; empty: all is
	Again  time.Time // when time alone may change the decision; zero: never

	Changed  []Push   // with their new progress
	Offer    []string // of Changed: gateways that are to have Config from now on
	Withdraw []string // that shall not have it any more; none of them has been handed it
	Back     []string // that are to have Back from now on
	Live     bool     // something may still become of it, though it may have ended
}

// Wanted is what is wanted of the gateway while p stands as it does. Not ok:
// p wants nothing.
func (p Push) Wanted() (ref centre.ConfigRef, stopped, ok bool) {
	switch p.Stage {
	case Superseded:
		return ref, false, false
	case Waiting:
		if p.Returning {
			return p.Config, true, true
		}
		return p.Was, p.Stopped, p.Held
	case Failed:
		return p.Target(), true, true
	}
	return p.Target(), false, true
}

// Target is what the gateway is to run.
func (p Push) Target() centre.ConfigRef {
	if p.Returning {
		return p.Back
	}
	return p.Config
}

// onTrial says whether the gateway may have a config that has not been proved.
func (p Push) onTrial() bool {
	return !p.Excused && (p.Stage == Offered || p.Stage == Applying || p.Stage == Unconfirmed)
}

// Trying says whether the gateway is heard and may have what p wants on trial,
// also where a newer rollout wants something else of it by now.
func (p Push) Trying(g Gateway) bool {
	tries := g.Offer == p.Target().Hash && (g.State == block.ConfigApplying || g.State == block.ConfigUnconfirmed)
	return !g.Silent && (p.onTrial() || p.Stage == Superseded && tries)
}
