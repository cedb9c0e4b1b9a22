package centre

import (
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/checks"
)

// GatewayState is what one gateway runs, and what it should run: GET
// /api/v1/fleet answers with all of them, by name.
type GatewayState struct {
	Name     string       `json:"name"`
	Site     string       `json:"site"`
	Enrolled time.Time    `json:"enrolled,omitzero"`  // absent: not yet
	LastSeen time.Time    `json:"last_seen,omitzero"` // absent: never
	Silent   bool         `json:"silent,omitempty"`   // has missed its heartbeats
	Version  string       `json:"version,omitempty"`
	Health   checks.State `json:"health"`
	Headline string       `json:"headline,omitempty"`

	Desired ConfigRef            `json:"desired,omitzero"` // what a rollout last wanted here
	Running ConfigRef            `json:"running,omitzero"` // what it says that it runs
	Mark    uint64               `json:"mark,omitempty"`   // the highest generation that it ever accepted
	State   block.ConfigState    `json:"state,omitempty"`  // of Desired
	Trial   *block.TrialSnapshot `json:"trial,omitempty"`
	List    uint64               `json:"list,omitempty"`
	Host    block.HostSnapshot   `json:"host,omitzero"`
	Clones  []Copy               `json:"clones,omitempty"` // two or more boot ids under one identity
}

// ConfigRef names a config.
type ConfigRef struct {
	Generation uint64 `json:"generation"`
	Hash       string `json:"hash"` // SHA-256 of its text, in hex
}

// Copy is one of several machines that share an identity.
type Copy struct {
	Boot string    `json:"boot"`
	From string    `json:"from"` // address
	Seen time.Time `json:"seen"`
}

// Keys are the proofs that gateways sent, oldest first: GET /api/v1/keys.
type Keys struct {
	Gateway string           `json:"gateway"`
	Proofs  []identity.Proof `json:"proofs"`
	Arrived []time.Time      `json:"arrived"`
}

// NewRollout is what `ginnelctl push` sends: POST /api/v1/rollouts.
type NewRollout struct {
	Name  string   `json:"name"`  // of the plan: "fleet 3f2a91c"
	Rings []string `json:"rings"` // in order; the first is always "hubs", may be empty of gateways
	// Window is when gateways may be given a new config; empty: always.
	Window string `json:"window,omitempty"` // "Mon-Thu 19:00-23:00", Europe/London
	Pause  Pause  `json:"pause"`
	Pushes []Push `json:"pushes"`
	// Wanted are networks for which gateways are to make and prove a key.
	Wanted map[string][]string `json:"wanted,omitempty"`
	// Organisations own networks: by network.
	Organisations map[string]string `json:"organisations,omitempty"`
}

// Pause is when a rollout stops by itself: when as many gateways of a ring as
// the larger of both counts, and at least one, or all that it has, failed or got
// worse within that time of their new config. A ring has come to its end that time after the last
// of its gateways; only then does the next begin.
type Pause struct {
	Gateways int     `json:"gateways"`
	Share    float64 `json:"share"` // of the ring, 0 to 1
	Within   float64 `json:"within_seconds"`
}

// Push is one gateway's new config.
type Push struct {
	Gateway string   `json:"gateway"`
	Ring    int      `json:"ring"`             // index into Rings
	Window  string   `json:"window,omitempty"` // its own; wins
	Needs   []string `json:"needs,omitempty"`  // gateways that must have applied theirs before
	Apart   []string `json:"apart,omitempty"`  // no two pushes with a word in common are on trial at once
	Bundle  []byte   `json:"bundle"`
	Back    []byte   `json:"back,omitempty"` // signed: a newer generation with the old content
	// Over is what was wanted of the gateway when the plan was made, or what it
	// ran, if nothing was or that had failed. The collector refuses the push if
	// something else was wanted since.
	Over ConfigRef `json:"over,omitzero"`
}

// RolloutState is where a rollout stands.
type RolloutState string

const (
	RolloutRunning RolloutState = "running"
	RolloutPaused  RolloutState = "paused" // by an operator, or by itself: see Reason
	RolloutBack    RolloutState = "going back"
	RolloutDone    RolloutState = "done"
	RolloutAborted RolloutState = "aborted" // what is applied stays
	RolloutUndone  RolloutState = "back"
)

// Rollout is one push on its way: GET /api/v1/rollouts and .../{id}.
// POST .../{id}/pause, /resume, /abort and /back move it.
type Rollout struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	By       string       `json:"by"`
	Began    time.Time    `json:"began"`
	Ended    time.Time    `json:"ended,omitzero"`
	State    RolloutState `json:"state"`
	Reason   string       `json:"reason,omitempty"` // of a pause: what got worse, where
	Waits    string       `json:"waits,omitempty"`  // "window Mon 19:00", "frozen until …"
	Rings    []RingState  `json:"rings"`
	Gateways []PushState  `json:"gateways,omitempty"` // in the answer for one
}

// RingState counts the gateways of a ring.
type RingState struct {
	Name        string `json:"name"`
	All         int    `json:"all"`
	Applied     int    `json:"applied"`
	Applying    int    `json:"applying"`
	Unconfirmed int    `json:"unconfirmed"`
	Failed      int    `json:"failed"`
	Offline     int    `json:"offline"` // take it when they come back
	Worse       int    `json:"worse"`
}

// PushState is how one gateway's push fares.
type PushState struct {
	Gateway  string    `json:"gateway"`
	Ring     string    `json:"ring"`
	Config   ConfigRef `json:"config"`
	State    string    `json:"state"` // "waiting", "offered", "applying", "applied", "unconfirmed", "failed", "back", "superseded"
	Since    time.Time `json:"since,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Evidence []string  `json:"evidence,omitempty"`
	Worse    string    `json:"worse,omitempty"` // what got worse since
	Offline  bool      `json:"offline,omitempty"`
}

// Freeze keeps every rollout from going on: PUT /api/v1/freeze; GET tells.
type Freeze struct {
	Until time.Time `json:"until,omitzero"` // absent: nothing is frozen
	Why   string    `json:"why,omitempty"`
	By    string    `json:"by,omitempty"`
}

// NewList is a signed list of what is shut out: PUT /api/v1/list; GET gives the
// one in force.
type NewList struct {
	Bundle []byte `json:"bundle"`
}

// List is the list in force, and where it has arrived.
type List struct {
	Number  uint64    `json:"number"`
	Bundle  []byte    `json:"bundle,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	By      string    `json:"by,omitempty"`
	Reached int       `json:"reached"` // gateways that said it is in force
	All     int       `json:"all"`
}

// Act is a line of the log of acts: GET /api/v1/audit?after=ID&limit=N.
type Act struct {
	ID     int64     `json:"id"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor"`
	From   string    `json:"from,omitempty"` // address
	Act    string    `json:"act"`
	Object string    `json:"object"`
	Detail string    `json:"detail,omitempty"`
	Old    string    `json:"old,omitempty"`
	New    string    `json:"new,omitempty"`
}
