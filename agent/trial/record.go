package trial

import "time"

// Phase is where a config stands that was accepted.
//
//	trying ----> kept ----> overridden
//	  |  \        ^  ^          (by a technician, from any phase but failed)
//	  |   `-> held   |
//	  v        |     |
//	leaving <--'     `-- by the next receipt
//	  |
//	  v
//	failed
type Phase string

const (
	Trying     Phase = "trying"     // it runs, and is to prove itself
	Held       Phase = "held"       // it runs, and nobody can tell
	Leaving    Phase = "leaving"    // the one before is put back
	Kept       Phase = "kept"       // it runs, and was confirmed
	Failed     Phase = "failed"     // the one before runs
	Overridden Phase = "overridden" // the one before runs: a technician said so
)

// Open reports whether a trial is not over: the config that was kept last is
// not, or not for sure, the one that is to run.
func (p Phase) Open() bool { return p == Trying || p == Held || p == Leaving }

// Record is what the journal says of the newest config that was accepted.
type Record struct {
	Phase      Phase     `json:"phase"`
	Generation uint64    `json:"generation"`
	Hash       string    `json:"hash"`            // SHA-256 of its text, in hex
	Stick      bool      `json:"stick,omitempty"` // a technician brought it, not the centre
	Began      time.Time `json:"began"`
	Ended      time.Time `json:"ended,omitzero"`
	Tries      int       `json:"tries,omitempty"` // with this one

	// While the trial is open:
	Bundle []byte        `json:"bundle,omitempty"` // the config with its signature
	Boot   string        `json:"boot,omitempty"`   // of the kernel that it began under
	Nonce  string        `json:"nonce,omitempty"`  // that the collector is to sign
	Until  time.Time     `json:"until,omitzero"`   // when it is gone back from, unless there is progress
	Limit  time.Duration `json:"limit,omitempty"`  // from Began to the first Until
	Ways   []string      `json:"ways,omitempty"`   // look-ups of the collector and the resolvers, as they were before

	// Tunnels and Checks as they were before the change.
	Tunnels []Part `json:"tunnels,omitempty"`
	Checks  []Part `json:"checks,omitempty"`

	// Of the last decision; see Decision.
	Reason   string   `json:"reason,omitempty"`
	Evidence []string `json:"evidence,omitempty"`
}

// trimmed is r without what only an open trial needs, which may be many MiB.
func (r Record) trimmed() Record {
	if !r.Phase.Open() {
		r.Bundle, r.Boot, r.Nonce, r.Ways, r.Tunnels, r.Checks = nil, "", "", nil, nil, nil
	}
	return r
}
