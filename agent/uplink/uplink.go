// Package uplink is the gateway's end of the way to the centre: enrolment, the
// control link (OpAMP over HTTPS POST) and the delivery of blocks. All go out
// from here by one HTTP client, through a proxy where there is one, and nothing
// ever comes in.
//
// The messages are those of opamp-go; its client is not used. Version 0.23.0
// has no time limit on a request and no limit on the size of an answer, drops a
// message that a status other than 429 or 503 answers, follows a server that
// asks for the full state without end, cannot tell a login page from a fault of
// the collector, and links its test library into the agent. None of this can be
// mended from outside, and the plain HTTP transport is one message out and one
// back. That both speak the same is shown by a test here with opamp-go's server,
// and by one of the collector's control package with its client.
package uplink

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Options are what New needs. Identity, Version and Snapshot must be set.
type Options struct {
	Identity *identity.Identity // enrolled
	Version  string
	Snapshot func() block.Snapshot // how the gateway is now
	// Effective gives the running config: its hash in hex, and its text with
	// secrets taken out. Nil, or an empty hash: none runs.
	Effective func() (hash, text string)
	Steering  Steering // what the centre can move; nil: nothing
	Queue     Queue    // blocks to deliver; nil: Deliver has nothing to do
	Evidence  Evidence // goes after the blocks; nil: there is none
	// Keys gives the public key of a network, and makes it on first use. Nil:
	// none are made for networks that the collector wants later.
	Keys func(network string) (key.Public, error)
	Boot string // the kernel's boot id; empty: it is not told
	// Preferred are the collectors to be tried before those of the site pack and
	// those that answered in former times. Nil: none are.
	Preferred func() []string
	Proxy     string // http://HOST:PORT of a CONNECT proxy; empty: none
	ExtraCA   []byte // PEM; empty: the CA of the site pack only
	// Clock is told, at each answer, how far our clock is ahead of the
	// collector's, and by how much that may be wrong. Nil: nobody is.
	Clock   func(off, fine time.Duration)
	Slowest time.Duration // the longest pause between tries; 0: 60 s
	Log     *slog.Logger  // nil: none
}

// Uplink is the way to one collector. Its methods are safe for concurrent use.
type Uplink struct {
	o       Options
	http    *transport
	untold  time.Time // the collector takes no evidence before; of Deliver alone
	link    *link
	control *pulse // wakes Control
	deliver *pulse // wakes Deliver

	mu     sync.Mutex // guards the following
	status block.CollectorSnapshot
	heard  time.Time        // status.LastReceipt by the clock that only runs on
	faults map[string]error // by loop; what is wrong now
	first  string           // of the collectors, when it was looked last
	away   time.Time        // since when, or when last, another one than the first was called
}

// homeAfter is how often the first collector is tried while another one answers.
const homeAfter = 10 * time.Minute

// New makes the way of an enrolled gateway to its collector. It opens no
// connection.
func New(o Options) (*Uplink, error) {
	if o.Identity == nil || o.Snapshot == nil {
		return nil, errors.New("uplink: no identity or no snapshot function was given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Slowest == 0 {
		o.Slowest = time.Minute
	}
	tls, err := o.Identity.TLSConfig(o.ExtraCA)
	if err != nil {
		return nil, err
	}
	t, err := newTransport(tls, o.Proxy)
	if err != nil {
		return nil, err
	}
	t.heard, t.doubt = o.Clock, o.Identity.Doubt
	u := &Uplink{o: o, http: t, control: newPulse(), deliver: newPulse(), faults: map[string]error{}}
	if u.link, err = openLink(o.Identity.Dir()); err != nil {
		o.Log.Warn("the pace and the former collectors are forgotten", "err", err)
	}
	u.base()
	return u, nil
}

// Wake says that something changed: a state, which the centre learns within a
// second, or the queue, which has a new block. It never blocks.
func (u *Uplink) Wake() {
	u.control.wake()
	u.deliver.wake()
}

// Fresh has every later message go over a connection that is opened after this
// call, as the trial of a change wants it. What is on its way is cut off and sent
// again, and no pause between tries is waited out.
func (u *Uplink) Fresh() {
	u.http.fresh()
	u.control.heal()
	u.deliver.heal()
}

// Status is the way to the centre as it is now.
func (u *Uplink) Status() block.CollectorSnapshot {
	waiting := -1
	if q, ok := u.o.Queue.(Counted); ok {
		waiting = q.Len()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.status
	if waiting >= 0 {
		s.Waiting = waiting
	}
	for _, loop := range []string{controlLoop, deliverLoop} {
		if err := u.faults[loop]; err != nil {
			s.Error = err.Error()
			break
		}
	}
	return s
}

// Heard is when the collector answered last, to be compared with other times of
// this process: the host's clock may be set meanwhile. Zero: it never did.
func (u *Uplink) Heard() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.heard
}

// Trouble is the kind of what is wrong now; empty: nothing.
func (u *Uplink) Trouble() Kind {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, loop := range []string{controlLoop, deliverLoop} {
		if err := u.faults[loop]; err != nil {
			if kind := kindOf(err); kind != "" {
				return kind
			}
			return Broken
		}
	}
	return ""
}

// The two loops, as the log and the status call them.
const (
	controlLoop = "control"
	deliverLoop = "delivery"
)

// succeeded notes an answer of the collector at base; the first after trouble
// is logged, and brings the other loop out of its pause.
func (u *Uplink) succeeded(ctx context.Context, loop, base string) {
	u.kept(ctx, u.link.answered(base))
	u.mu.Lock()
	had := u.faults[loop]
	delete(u.faults, loop)
	u.heard = time.Now()
	u.status.LastReceipt = u.heard.UTC()
	other := len(u.faults) > 0
	u.mu.Unlock()
	if had != nil {
		u.o.Log.InfoContext(ctx, "the collector answers again", "loop", loop)
	}
	if had != nil && other {
		u.control.heal()
		u.deliver.heal()
	}
}

// failed notes trouble with the collector at base, and says how long to wait: a
// moment while others are to be tried, else as p says. It is logged when it is
// new, or of another kind.
func (u *Uplink) failed(ctx context.Context, loop, base string, err error, p *pace) time.Duration {
	all := u.Collectors()
	u.mu.Lock()
	had := u.faults[loop]
	u.faults[loop] = err
	if kindOf(err) != "" && u.status.URL == base { // else the fault is our own, or the other loop has gone on already
		u.status.URL = all[(slices.Index(all, base)+1)%len(all)]
		u.away = time.Now()
	}
	u.mu.Unlock()
	if had == nil || kindOf(had) != kindOf(err) {
		u.o.Log.WarnContext(ctx, "no answer from the collector, trying on", "loop", loop, "collector", base, "err", err)
	}
	if p.other(len(all)) {
		return leastPause + rand.N(firstPause)
	}
	return p.next(wish(err), u.link.slot())
}

// Collectors are the URLs of all collectors that may be tried, in order. There
// is at least one.
func (u *Uplink) Collectors() []string {
	var preferred []string
	if u.o.Preferred != nil {
		preferred = u.o.Preferred()
	}
	return u.link.collectors(preferred, u.o.Identity.Collector())
}

// base is the URL of the collector that is tried now: the one that answered
// last, and now and then the first.
func (u *Uplink) base() string {
	all := u.Collectors()
	u.mu.Lock()
	defer u.mu.Unlock()
	if all[0] != u.first || !slices.Contains(all, u.status.URL) || time.Since(u.away) > homeAfter {
		u.first, u.status.URL, u.away = all[0], all[0], time.Now()
	}
	return u.status.URL
}

// kept notes that something could not be kept for the next start.
func (u *Uplink) kept(ctx context.Context, err error) {
	if err != nil {
		u.o.Log.WarnContext(ctx, "this will be forgotten at the next start", "err", err)
	}
}

// setWaiting notes how many blocks are known to wait, for a queue that cannot
// count.
func (u *Uplink) setWaiting(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status.Waiting = n
}
