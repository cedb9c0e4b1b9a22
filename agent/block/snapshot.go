package block

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// Snapshot is a gateway as it is now: what `ginnel status --json` prints, what
// the control link carries, and what the collector's API shows for the gateway.
// Times are RFC 3339; durations are seconds as numbers, and say so in their
// names.
type Snapshot struct {
	Gateway  string       `json:"gateway"`
	Site     string       `json:"site,omitempty"`
	Name     string       `json:"name,omitempty"`
	State    checks.State `json:"state"`
	Since    time.Time    `json:"since"`
	Code     string       `json:"code,omitempty"`
	Headline string       `json:"headline,omitempty"` // the one cause, in words; empty when up
	At       time.Time    `json:"at"`

	Tunnels []TunnelSnapshot `json:"tunnels"`
	Checks  []CheckSnapshot  `json:"checks"`

	Programs  []ProgramSnapshot   `json:"programs,omitempty"`  // of checks, that checks.d offers
	Refused   []RefusedSnapshot   `json:"refused,omitempty"`   // since the agent's start; only what is not 0
	Contested []ContestedSnapshot `json:"contested,omitempty"` // what another program keeps changing

	Config    ConfigSnapshot    `json:"config"`
	Collector CollectorSnapshot `json:"collector"`
	Agent     AgentSnapshot     `json:"agent"`
	Clock     ClockSnapshot     `json:"clock,omitzero"`
	Host      HostSnapshot      `json:"host,omitzero"`
}

// TunnelSnapshot is one tunnel: a network's device towards one hub, or, in the
// hub role, a network's device with all its sites.
type TunnelSnapshot struct {
	Network      string       `json:"network"`
	Role         string       `json:"role"`
	Hub          string       `json:"hub,omitempty"`
	Device       string       `json:"device"`
	State        checks.State `json:"state"`
	Since        time.Time    `json:"since"`
	Reason       string       `json:"reason,omitempty"`
	Code         string       `json:"code,omitempty"`
	WaitsFor     string       `json:"waits_for,omitempty"`   // what it is only an effect of: "line"
	Hint         string       `json:"hint,omitempty"`        // what to do about Reason
	HandshakeAge *float64     `json:"handshake_age_seconds"` // null: none yet
	Figures
	Peers   int `json:"peers"`
	PeersUp int `json:"peers_up"`
}

// CheckSnapshot is one check.
type CheckSnapshot struct {
	Name      string       `json:"name"`
	Kind      string       `json:"kind"`
	Network   string       `json:"network,omitempty"` // empty: beside the tunnels
	Target    string       `json:"target"`
	StandsFor string       `json:"stands_for,omitempty"`
	State     checks.State `json:"state"`
	Since     time.Time    `json:"since"`
	Reason    string       `json:"reason,omitempty"`
	Code      string       `json:"code,omitempty"`
	Detail    string       `json:"detail,omitempty"`
	WaitsFor  string       `json:"waits_for,omitempty"` // what blocks it
	Blame     checks.Blame `json:"blame,omitempty"`     // of a paired check that is not well: where the fault lies
	Unstable  bool         `json:"unstable,omitempty"`  // its results change too often: the worse state is held
	Figures
}

// ProgramSnapshot is a program that makes checks of a kind.
type ProgramSnapshot struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	State  string `json:"state"`            // as in checks.Standing
	Detail string `json:"detail,omitempty"` // why it does not run, or what its last run came to
	Weaker string `json:"weaker,omitempty"` // what does not keep it in bounds on this host
}

// RefusedSnapshot counts what one rule of a network's filter has refused.
type RefusedSnapshot struct {
	Network string `json:"network"`
	Rule    string `json:"rule"` // as in "into-lan"
	Packets uint64 `json:"packets"`
}

// ContestedSnapshot is an object of ours that another program keeps changing.
type ContestedSnapshot struct {
	Network string    `json:"network"`
	Object  string    `json:"object"` // kind and text, as in a plan
	Since   time.Time `json:"since"`
	Times   int       `json:"times"`
	Culprit string    `json:"culprit,omitempty"`
}

// Figures are measured over the last five minutes. Null: nothing was measured,
// or too little to say.
type Figures struct {
	RTTp50 *float64 `json:"rtt_p50_seconds"`
	RTTp95 *float64 `json:"rtt_p95_seconds"`
	Loss   *float64 `json:"loss_ratio"` // RFC 6673

	// LossBetween is where the loss of the way lies, with 95 % confidence
	// (Wilson's interval of Sent and Received).
	LossBetween *[2]float64 `json:"loss_ratio_95,omitempty"`

	RTTMin   *float64 `json:"rtt_min_seconds,omitempty"`
	RTTp99   *float64 `json:"rtt_p99_seconds,omitempty"` // of 100 answers or more
	PDV      *float64 `json:"pdv_p99_seconds,omitempty"` // RTTp99 above RTTMin (RFC 5481, 4.2)
	Jitter   *float64 `json:"jitter_seconds,omitempty"`  // RFC 3550, 6.4.1, of round trips
	TooFew   string   `json:"rtt_p99_missing,omitempty"` // why there is no RTTp99, in words
	Sent     int      `json:"sent,omitempty"`            // questions asked
	Received int      `json:"received,omitempty"`        // answers in time
	Odd      OddCount `json:"odd,omitzero"`
}

// OddCount counts what is neither an answer in time nor a loss; see checks.Odd.
type OddCount struct {
	Late      int `json:"late,omitempty"`
	Duplicate int `json:"duplicate,omitempty"`
	Reordered int `json:"reordered,omitempty"`
	Corrupt   int `json:"corrupt,omitempty"`
	Unsent    int `json:"unsent,omitempty"`
	Dropped   int `json:"dropped,omitempty"`
}

// ConfigSnapshot is the running config.
type ConfigSnapshot struct {
	Generation uint64    `json:"generation"` // 0: by hand
	Applied    time.Time `json:"applied"`
	Hash       string    `json:"hash"` // SHA-256 of the file, in hex
	Error      string    `json:"error,omitempty"`
	Code       string    `json:"code,omitempty"` // of Error, or else of a newest one that failed or is unconfirmed

	Ignored string `json:"ignored,omitempty"` // a config by hand that does not count, in words

	State ConfigState    `json:"state,omitempty"` // of the newest signed one; empty: there was none
	Stick bool           `json:"stick,omitempty"` // that one came by ginnel apply, not from the centre
	Trial *TrialSnapshot `json:"trial,omitempty"` // the trial that runs, or the last one that was not confirmed
	Mark  uint64         `json:"mark,omitempty"`  // the highest generation that was ever accepted
	List  uint64         `json:"list,omitempty"`  // number of the list of what is shut out; 0: none
}

// ConfigState is how the newest config that a gateway was sent fares.
type ConfigState string

const (
	ConfigApplied     ConfigState = "applied"     // it runs and was confirmed
	ConfigApplying    ConfigState = "applying"    // on trial
	ConfigUnconfirmed ConfigState = "unconfirmed" // it runs, held until somebody can tell
	ConfigFailed      ConfigState = "failed"      // gone back from, or refused before a write
	ConfigOverridden  ConfigState = "overridden"  // a technician went back by hand, until the next generation
)

// TrialSnapshot is one trial.
type TrialSnapshot struct {
	Generation uint64    `json:"generation"`
	Hash       string    `json:"hash"`
	Began      time.Time `json:"began"`
	Until      time.Time `json:"until,omitzero"` // its deadline, while it runs
	Reason     string    `json:"reason,omitempty"`
	Evidence   []string  `json:"evidence,omitempty"` // one line each: what was seen before, and since
}

// HostSnapshot is what of the host a config could collide with.
type HostSnapshot struct {
	Links    []LinkSnapshot `json:"links,omitempty"`
	Gateways []netip.Addr   `json:"gateways,omitempty"` // default routers
}

// LinkSnapshot is one of the host's own links, none of ours.
type LinkSnapshot struct {
	Name     string         `json:"name"`
	Prefixes []netip.Prefix `json:"prefixes"` // with the host's own address, not masked
	Uplink   bool           `json:"uplink,omitempty"`
}

// CollectorSnapshot is the way to the centre.
type CollectorSnapshot struct {
	URL         string    `json:"url,omitempty"`         // empty: not enrolled
	LastReceipt time.Time `json:"last_receipt,omitzero"` // zero: never
	Waiting     int       `json:"waiting_blocks"`
	Error       string    `json:"error,omitempty"`
	Code        string    `json:"code,omitempty"` // of Error
}

// ClockSnapshot is how far the gateway's clock can be trusted. Null: not known.
type ClockSnapshot struct {
	Kept   bool     `json:"kept"`             // something keeps it, as NTP does
	Within *float64 `json:"within_seconds"`   // how well, by the kernel
	Off    *float64 `json:"off_seconds"`      // against the collector's; above 0: ahead
	Fine   *float64 `json:"off_give_seconds"` // by how much that may be wrong
	Text   string   `json:"text,omitempty"`   // in words
}

// AgentSnapshot is the program itself.
type AgentSnapshot struct {
	Version   string  `json:"version"`
	Backend   string  `json:"backend"` // "kernel", "userspace", or empty
	SpoolUsed float64 `json:"spool_used_ratio"`
	Trouble   string  `json:"trouble,omitempty"` // of the spool, in words

	Lag LagSnapshot `json:"lag,omitzero"` // of the runs of checks

	// Outdated are data planes of another version than the installed one.
	Outdated []OutdatedSnapshot `json:"outdated,omitempty"`
}

// LagSnapshot is how late the agent started the runs of checks, in the last five
// to ten minutes.
type LagSnapshot struct {
	Starts uint64  `json:"starts"`
	P50    float64 `json:"p50_seconds"`
	P99    float64 `json:"p99_seconds"`
	Max    float64 `json:"max_seconds"`
	Missed uint64  `json:"missed"` // starts left out because the agent did not run; since it began
}

// OutdatedSnapshot is a data plane that runs a program which has been replaced.
type OutdatedSnapshot struct {
	Network   string `json:"network"`
	Device    string `json:"device"`
	Version   string `json:"version"`
	Installed string `json:"installed"`
}
