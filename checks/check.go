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

// Starter is a Check whose runs share a socket with those of other checks, so
// that a thousand of them take no thousand goroutines. A Runner calls Begin
// where a Check has it, else Run; both measure the same.
type Starter interface {
	Check
	// Begin starts a run and returns at once. It calls done once, from any
	// goroutine, when the run has ended: by deadline, or soon after ctx has.
	// It is not called again before that.
	Begin(ctx context.Context, deadline time.Time, done func(Result))
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
	OneShot bool           // a person asked for this one run; there is no other
}

// Spec is one wanted check.
type Spec struct {
	Name      string
	Kind      string
	Target    Target
	Beside    string        // it is paired: this address is asked at the same instant beside the tunnels; empty: it is not
	StandsFor string        // what reports call it; empty: Name
	Own       bool          // it asks what is ours: no Manners, and nobody switches it off
	Required  bool          // a trial of a config is judged by it
	Interval  time.Duration // between starts; 0: 30 s
	Down      int           // consecutive failures that make it down; 0: 3
	Up        int           // consecutive successes that make it up; 0: 2
	Degraded  time.Duration // a run whose median RTT is above this is degraded; 0: none
	Unstable  int           // percent of its last results that may be changes; 0: 30; 100: all of them
}

// EchoPort is the UDP port at which a hub answers test packets of its sites, inside
// the tunnels only. It is not that of STAMP, 862, which takes a right to bind.
const EchoPort = 8620

// EchoRate is how many test packets of one gateway a hub answers in a second, in the
// long run, and EchoCount how many a udp check sends in a run unless it says so.
const (
	EchoRate  = 200
	EchoCount = 10
)

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
	Unstable     Reason = "unstable"      // of an Edge: the results change too often
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
	Verdict Verdict
	Reason  Reason // empty exactly when Verdict is OK
	Phase   Phase  // of the failure
	Detail  string // one line for people; no secrets

	Due   time.Time // when it should have begun; zero: it was not scheduled
	Start time.Time // when it began, with its monotonic reading
	Path  string    // the link that it left by, as "gn-kestrel-n"; empty: not known

	RTT      []time.Duration // one for each answer in time, in the order of the questions; none where nothing was timed
	Stamps   Stamps          // where RTT comes from
	Sent     int             // questions asked
	Received int             // answers in time
	Odd      Odd             // what else came, or did not go
	Packets  []Packet        // each question, where there are several or they are worth keeping

	Blame  Blame   // of a paired check: where the fault lies
	Beside *Result // of a paired check: what came beside the tunnel

	Steps  []Step  // what was done, in order; what --explain prints
	Values []Value // further figures, as an offset or days to expiry
}

// Odd counts what is neither an answer in time nor a loss. None of it but
// Reordered is in Received.
type Odd struct {
	Late      int // answers after their time, also to questions of the run before: they are lost as well
	Duplicate int // further answers to one question
	Reordered int // answers in time that came after the answer to a later question (RFC 4737)
	Corrupt   int // answers whose content had changed
	Unsent    int // questions that this host could not send; they are not in Sent
	Dropped   int // answers, of whatever, that this host had no room for meanwhile
}

// Packet is one question and what became of it.
type Packet struct {
	At   time.Duration // when it left, since Start
	RTT  time.Duration // of an answer, also a late one; 0: none
	Fate Fate
}

// Fate is what became of a Packet.
type Fate string

const (
	Answered Fate = "answered"
	Lost     Fate = "lost"
	Late     Fate = "late"
	Corrupt  Fate = "corrupt"
	Denied   Fate = "denied" // a router or the target said no
	Unsent   Fate = "unsent" // this host could not send it
)

// Step is a part of a run.
type Step struct {
	Phase  Phase
	Name   string        // "connect 198.51.100.20:443"
	Took   time.Duration // 0: not timed
	Detail string        // what was found; one line, no secrets
}

// Value is a figure of a run that is no RTT.
type Value struct {
	Name   string // "offset", as a word of an identifier
	Number float64
	Unit   string // base units, as "s", "By", "1"

	// Warn and Crit are the ranges outside of which whoever measured it warns, as
	// monitoring plugins write them: "10" is 0 to 10, "@10:20" outside of that.
	Warn, Crit string   // empty: none
	Min, Max   *float64 // what it can be; nil: not known
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
