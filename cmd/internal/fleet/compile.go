package fleet

import (
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
)

// Desired is the config that a gateway should run.
type Desired struct {
	Gateway string
	Waiting []Waiting // what is left out until a key is there
	Reasons []Reason  // which rows it came from
}

// Waiting is a tunnel that is left out of both its ends until a key is there.
type Waiting struct {
	Network string
	Peer    string // the other end; empty: all of them, for the gateway's own key
	For     string // the gateway whose key is not there
}

// Reason is where a part of a config comes from.
type Reason struct {
	Part  string   // "kestrel", "kestrel, avocet-1", "check records"
	Where []string // "attachments.csv:2"
}

// Text is the config as TOML, with a generation; 0: without one, as by hand. The
// same files make the same text.
func (d Desired) Text(generation uint64) []byte { panic("next landing") }

// Compile makes a gateway's config. Its error is config.Problems.
func (f *Fleet) Compile(gateway string) (Desired, error) { panic("next landing") }

// Collisions is what a gateway's config would take of its own host's network, as
// the gateway reported that at a time: each at the row that could be changed.
func (f *Fleet) Collisions(gateway string, host block.HostSnapshot, reported time.Time) config.Problems {
	panic("next landing")
}
