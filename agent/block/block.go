// Package block is a gateway's minute, packed: what was measured, the exact
// edges between states, and what was not measured and why. One format for
// spool, wire, store and report; availability and outages are computed from it
// here, so that the gateway and the centre print the same numbers.
package block

import (
	"cmp"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
)

// Block is what one gateway measured in one span of time, normally a minute.
// (Gateway, Epoch, Sequence) names it for ever.
type Block struct {
	Gateway  string        // gateway name, "avocet-1"
	Epoch    uint64        // random, made with the spool; a new spool is a new epoch
	First    uint64        // stands for all sequences from First to Sequence; 0: Sequence
	Sequence uint64        // from 1, without gaps; the highest of a thinned block
	Boot     string        // kernel boot id
	Start    time.Time     // wall clock, UTC
	Length   time.Duration // covered time: [Start, Start+Length)
	Subjects []Subject
	Edges    []Edge // in the order in which they were found; the later one knows better
	Gaps     []Gap  // spans within [Start, Start+Length), or before it, that were not measured
}

// End is where the covered time ends.
func (b *Block) End() time.Time { return b.Start.Add(b.Length) }

// Low is the lowest sequence that the block stands for.
func (b *Block) Low() uint64 { return cmp.Or(b.First, b.Sequence) }

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
	Cause                  // of that state; zero where it needs none

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

// Cause is what an edge says about the state that it leads to.
func (e Edge) Cause() Cause { return Cause{e.Reason, e.Code, e.Text, e.Owner} }

// Cause is why something is in the state that it is in. The fields are those of
// Edge.
type Cause struct {
	Reason checks.Reason
	Code   string
	Text   string
	Owner  string
}

// Gap is time that was not measured; except for Thinned, which only marks it.
type Gap struct {
	From, To time.Time
	Reason   string
}

// Reasons of gaps. A reader shows reasons that it does not know as they are.
const (
	GatewayOff   = "gateway off"       // no agent could run: no power, or shut down
	AgentStopped = "agent stopped"     // the machine ran, the agent did not
	PowerCut     = "lost: power cut"   // measured, and lost before it was on disk
	DiskFull     = "lost: disk full"   // measured, and there was no room to keep it
	Damaged      = "lost: damaged"     // kept, and not readable any more
	ClockStepped = "clock was stepped" // the clock was set forward over it
	Thinned      = "thinned"           // measured and known; only the figures are kept more coarsely
	NoRecord     = "no record"         // nobody says anything about it
)
