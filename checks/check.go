// Package checks measures whether what a site depends on works, and says what
// state it is in.
//
// A Check measures once. A Kind makes checks of its sort; a Registry is the set
// of kinds that a program has, built in or from plugins, which look the same
// from here. A Tracker turns results into a State, and a Runner keeps the
// wanted checks running. Where results go is the business of whoever starts
// the Runner.
package checks

import (
	"context"
	"net/netip"
	"time"
)

// Check measures one thing once. Run obeys ctx's deadline, never panics on
// foreign input, and may be called again after it returned, not while it runs.
type Check interface {
	Run(ctx context.Context) Result
}

// Func is a function as a Check.
type Func func(ctx context.Context) Result

func (f Func) Run(ctx context.Context) Result { return f(ctx) }

// Target is what a Check is made for.
type Target struct {
	Check   string         // the check's name in the config
	Address string         // in the form of its kind: "host:port", a URL, a host
	Network string         // the virtual network it goes through; empty: beside the tunnels
	Source  []netip.Addr   // addresses to bind, at most one of each family; none: the host's choice
	Timeout time.Duration  // of one run; 0: 5 s; at most nine tenths of the interval
	Options map[string]any // by the kind's schema; see Schema.Resolve
}

// Spec is one wanted check.
type Spec struct {
	Name      string
	Kind      string
	Target    Target
	StandsFor string        // what reports call it; empty: Name
	Required  bool          // a trial of a config is judged by it
	Interval  time.Duration // between starts; 0: 30 s
	Down      int           // consecutive failures that make it down; 0: 3
	Up        int           // consecutive successes that make it up; 0: 2
	Degraded  time.Duration // a run whose median RTT is above this is degraded; 0: none
}

// Verdict is the answer of one run.
type Verdict string

const (
	OK       Verdict = "ok"
	Degraded Verdict = "degraded"
	Failed   Verdict = "failed"
	Unknown  Verdict = "unknown" // nothing can be said: the fault is ours, or we did not look
)

// Reason says why a Verdict is not OK. The list is closed.
type Reason string

const (
	NoReason     Reason = ""
	Timeout      Reason = "timeout"       // no answer in time
	Refused      Reason = "refused"       // the other side said no
	Unreachable  Reason = "unreachable"   // a router, or this host, said that there is no way
	NotResolved  Reason = "not_resolved"  // the name has no address, or the resolver did not answer
	Certificate  Reason = "certificate"   // TLS did not accept the other side, or expiry is near
	Protocol     Reason = "protocol"      // an answer that is not one
	Assertion    Reason = "assertion"     // an answer, but not the wanted one
	Slow         Reason = "slow"          // above the wanted time
	Loss         Reason = "loss"          // some answers are missing
	NoHandshake  Reason = "no_handshake"  // the tunnel has none, or an old one under traffic
	SelfFault    Reason = "self_fault"    // a full socket, a late tick, a panic: ours, never loss
	Blocked      Reason = "blocked"       // something that it needs is down; see Result.Detail
	NotRun       Reason = "not_run"       // maintenance, a budget, or no such kind here
	ClockStepped Reason = "clock_stepped" // the clock moved under the measurement
)

// Phase is where a run failed. The list is closed.
type Phase string

const (
	NoPhase       Phase = ""
	PhaseResolve  Phase = "resolve"
	PhaseRoute    Phase = "route"
	PhaseConnect  Phase = "connect"
	PhaseTLS      Phase = "tls"
	PhaseRequest  Phase = "request"
	PhaseResponse Phase = "response"
	PhaseAssert   Phase = "assert"
)

// Result is what one run found. The zero Result is not valid; a Verdict is
// always set.
type Result struct {
	Verdict  Verdict
	Reason   Reason          // empty exactly when Verdict is OK
	Phase    Phase           // of the failure
	Detail   string          // one line for people; no secrets
	Start    time.Time       // when it began, with its monotonic reading
	RTT      []time.Duration // one for each answer; none where nothing was timed
	Sent     int             // questions asked
	Received int             // answers in time
	Stamps   Stamps          // where RTT comes from
}

// Stamps says who took the times of an RTT.
type Stamps string

const (
	UserStamps     Stamps = "user"      // this process
	KernelRXStamps Stamps = "kernel_rx" // receive by the kernel, send by this process
	KernelStamps   Stamps = "kernel"    // both by the kernel
)

// State is the state of a check, tunnel or site.
type State string

const (
	Up              State = "up"
	DegradedState   State = "degraded"
	Down            State = "down"
	UnknownState    State = "unknown"
	MaintenanceMode State = "maintenance"
)
