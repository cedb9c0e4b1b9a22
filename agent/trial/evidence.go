package trial

import "net/netip"

// Evidence is what is known of a trial at one moment.
type Evidence struct {
	Over    bool   // the time is up: decide
	Held    bool   // it was decided before, and could not be told
	Reach   *Reach // nil: this gateway has no collector
	Tunnels []Part
	Checks  []Part // the required ones, of the old config and the new
}

// Reach is how the collector is reached since the change.
type Reach struct {
	// Receipt: it has signed for this trial, over a connection that was made
	// through the new state.
	Receipt bool
	// Answers: it was heard at all, be it that it asks to come later.
	Answers bool
	// Moved is how the ways to it, and to the resolvers, differ from those
	// before, a line each; none: they are the same.
	Moved []string
	// Beside: it does not answer, and did at the same time on a socket that
	// passes our tables by.
	Beside bool
}

// Part is a tunnel, or at a hub one of its sites, or a required check.
type Part struct {
	Name    string
	Touched bool   // by the change, or by something that it shares
	Wanted  bool   // it is in the new config too
	Before  State  // how it was before the change
	Now     State  // how it is since
	Proven  bool   // it was seen to be good since the change, before the trial was held
	Was, Is string // the same in words; may be empty
	Echoes  bool   // before, it answered questions: a session alone proves less
	// Left is where its hub was called before, where the new config has other
	// endpoints for it.
	Left netip.AddrPort `json:",omitzero"`
}

// State is how a part is, as far as a trial has to know.
type State byte

const (
	Unsure State = iota // not measured, or not often enough
	Good
	Dead
)

func (s State) String() string {
	switch s {
	case Good:
		return "good"
	case Dead:
		return "dead"
	}
	return "unsure"
}
