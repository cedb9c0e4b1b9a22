package trial

import (
	"context"
	"time"
)

// What a trial needs of the gateway. An agent has all four; a simulated gateway
// may answer as it likes.

// Host runs configs.
type Host interface {
	// Run has a config run in the place of the one that does, and returns once
	// the host is as it wants or cannot be; nil: none is to run. A config that
	// is refused as a whole changes nothing and is an error.
	Run(ctx context.Context, text []byte) error
	// Keep is told of a signed config that was confirmed: its signers are the
	// accepted ones now. Twice is once.
	Keep(bundle []byte) error
}

// Centre is the way to the collector.
type Centre interface {
	// Ways are the look-ups of the collector's and the resolvers' addresses
	// (route and rule), a line each, and of the collector's name.
	Ways(ctx context.Context) []string
	// Fresh has later messages go over a connection that is opened after it.
	Fresh()
	// Heard says when it last answered anything; zero: never.
	Heard() time.Time
	// Answers tries a connection of its own to the collector; beside: on a
	// socket that passes our tables by.
	Answers(ctx context.Context, beside bool) bool
}

// Tunnels measures the tunnels of a site, or the sites of a hub.
type Tunnels interface {
	// Tunnels says how each is by what was seen since that time only; its
	// Before, Touched and Wanted mean nothing.
	Tunnels(ctx context.Context, since time.Time) []Part
}

// Checks measures the required checks, as Tunnels does.
type Checks interface {
	Required(ctx context.Context, since time.Time) []Part
}

// Change is a new config with what is known before it is applied.
type Change struct {
	Generation uint64
	Hash       string // SHA-256 of its text, in hex
	Stick      bool   // a technician brought it, not the centre
	Bundle     []byte // as bundle.Parse reads it
	Limit      time.Duration
	// Touched, Wanted, Before and Was of each. While an older trial is open also
	// those that it took away and this config has again, with a Before of Unsure:
	// how they were before the older one counts.
	Tunnels []Part
	Checks  []Part
}
