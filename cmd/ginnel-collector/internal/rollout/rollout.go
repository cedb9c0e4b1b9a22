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
	Was       centre.ConfigRef `json:"was,omitzero"`        // what was wanted before the offer
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
	Waiting     Stage = "" // "waiting" in the API
	Offered     Stage = "offered"
	Applying    Stage = "applying"    // on trial
	Unconfirmed Stage = "unconfirmed" // runs, held until somebody can tell
	Applied     Stage = "applied"
	Failed      Stage = "failed"     // gone back by itself, or refused
	Gone        Stage = "back"       // gone back because an operator wanted it
	Superseded  Stage = "superseded" // a newer rollout wants something else here
)

// Gateway is what one said last.
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
	Silent   bool // has missed its heartbeats, or was never heard
}

// Decision is what Next says.
type Decision struct {
	State  centre.RolloutState
	Reason string
	Ring   int
	Waits  string    // why nothing is offered now; empty: nothing is waited for
	Again  time.Time // when time alone may change the decision; zero: never

	Changed  []Push   // with their new progress
	Offer    []string // gateways whose Config is wanted from now on
	Withdraw []string // gateways that shall not be offered it any more, unless they have it
	Back     []string // gateways whose Back is wanted from now on
	Stop     []string // gateways whose failed config is never to be offered again
}
