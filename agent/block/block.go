// Package block is a gateway's minute, packed: what was measured, the exact
// edges between states, and what was not measured and why. One format for
// spool, wire, store and report; availability and outages are computed from it
// here, so that the gateway and the centre print the same numbers.
package block

import (
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
)

// Block is what one gateway measured in one span of time, normally a minute.
// (Gateway, Epoch, Sequence) names it for ever.
type Block struct {
	Gateway  string        // gateway name, "avocet-1"
	Epoch    uint64        // random, made with the spool; a new spool is a new epoch
	Sequence uint64        // from 1, without gaps
	Boot     string        // kernel boot id
	Start    time.Time     // wall clock, UTC
	Length   time.Duration // covered time: [Start, Start+Length)
	Subjects []Subject
	Edges    []Edge // in order of time
	Gaps     []Gap  // spans within [Start, Start+Length), or before it, that were not measured
}

// Class is what sort of thing a Subject is.
type Class string

const (
	SiteClass   Class = "site" // the whole gateway
	TunnelClass Class = "tunnel"
	CheckClass  Class = "check"
)

// Subject is one thing that has a state, with what was measured of it.
type Subject struct {
	Class     Class
	Name      string // check name; "network/hub" of a tunnel; gateway name of a site
	Network   string
	Target    string
	StandsFor string
	State     checks.State // at the block's start
	Since     time.Time    // of that state

	OK, Degraded, Failed, Unknown uint32 // runs by verdict
	Sent, Received                uint64
	RTT                           *hist.Histogram // nil: nothing timed
}

// Edge is a change of state, at the time when it began.
type Edge struct {
	At       time.Time // back-dated to the first failure or success
	Class    Class
	Name     string
	From, To checks.State
	Reason   checks.Reason
	Code     string // "GN-HUB-02"; empty: none
	Text     string // the first broken step, in words
	Owner    string // whose it is: "line", "centre", "site", "service"; empty: not known
}

// Gap is time that was not measured.
type Gap struct {
	From, To time.Time
	Reason   string // "gateway off", "agent stopped", "lost: power cut", "thinned"
}
