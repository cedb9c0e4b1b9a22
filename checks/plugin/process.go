package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// process keeps one program running, for all checks of all its kinds.
//
//	starting -> running -> (ended, stuck) -> waiting -> starting ...
//	         -> absent -> starting ...
//	                                      -> quarantined -> (offer touched) -> starting ...
//	                    -> (Close) -> gone
type process struct {
	options Options
	log     *slog.Logger

	cancel context.CancelFunc
	gone   chan struct{} // closed when supervise has returned

	mu     sync.Mutex
	offers map[string]Offer // by kind; they name one program
	latest map[string]*remote
	live   *session // nil: not running
	absent error    // why it could not be started the last time; nil: it could
	state  string   // as in checks.Standing
	users  int

	known map[string]*pb.Kind // what the program said at its first start; supervise's own
}

const (
	startMost = 10 * time.Second // from start to handshake
	firstMost = 5 * time.Second  // that begin waits for the first
	lookEvery = 2 * time.Second  // at the offers, for a change
)

// errSlow is about a program that takes its time to start.
var errSlow = fmt.Errorf("it does not answer yet, after %v", firstMost)

// begin starts the program and waits until it speaks, or did not: then the error
// says why, and it is tried again. In both cases the process goes on by itself
// until Close. There is none if ctx ended.
func begin(ctx context.Context, o Offer, opts Options) (*process, error) {
	p := &process{offers: map[string]Offer{o.Kind: o}, latest: map[string]*remote{}, options: opts, log: opts.Log.With("plugin", o.Kind),
		gone: make(chan struct{}), users: 1, state: checks.ProgramStarting}
	var life context.Context
	life, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan error, 1)
	go p.supervise(life, first)
	select {
	case err := <-first:
		return p, err
	case <-time.After(firstMost):
		return p, errSlow
	case <-ctx.Done():
		p.stop()
		return nil, context.Cause(ctx)
	}
}

// supervise starts the program again and again. It keeps the thread that it
// does this from, because the kernel kills the program when that thread ends,
// and lets it go with what it shed.
func (p *process) supervise(ctx context.Context, first chan<- error) {
	defer close(p.gone)
	runtime.LockOSThread() // for ever
	if err := shed(); err != nil {
		p.log.Warn("the plugin keeps some of the agent's rights", "err", err)
	}
	book := ledger{first: p.options.pause}
	for {
		began := time.Now()
		s, err := p.start(ctx)
		news := p.publish(s, err)
		if first != nil {
			first <- err                                     // there is room for it
			first, news = nil, time.Since(began) > firstMost // else the caller tells
		}
		touched := false
		if err == nil {
			if news {
				p.log.Info("a check plugin is running")
			}
			touched = p.watch(ctx, s.program.ended, 0)
			news = p.publish(nil, nil)
			err = s.end()
		}
		if ctx.Err() != nil {
			return
		}
		if touched {
			p.log.Info("an offer has changed: the plugin is started anew")
			book, p.known = ledger{first: p.options.pause}, nil
			continue
		}
		next := book.ended(time.Now(), time.Since(began), err)
		p.sentence(next, err)
		switch {
		case next.quarantine != "":
			p.log.Error("a check plugin is quarantined: it is not started again", "why", next.quarantine, "err", err)
		case news:
			p.log.Warn("a check plugin is not running; it is started again", "err", err, "in", next.pause)
		}
		if p.watch(ctx, nil, next.pause) {
			book, p.known = ledger{first: p.options.pause}, nil
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// watch waits for the end of the program, of ctx, or of a pause; 0 is one
// without end. It reports true when an offer was touched meanwhile.
func (p *process) watch(ctx context.Context, ended <-chan struct{}, pause time.Duration) (touched bool) {
	var over <-chan time.Time
	if pause > 0 {
		over = time.After(pause)
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		case <-over:
			return false
		case <-look.C:
			if p.reread() {
				return true
			}
		}
	}
}

// reread looks whether the owner has touched an offer, and takes it up. What is
// no offer any more is left as it was.
func (p *process) reread() (touched bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for kind, old := range p.offers {
		if old.untouched() {
			continue
		}
		o, err := readOffer(old.File, p.options.Owner)
		if err == nil && o.Kind == kind {
			p.offers[kind], touched = o, true
		}
	}
	return touched
}

// program is the offer to start, of those that share it.
func (p *process) program() (Offer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kinds := slices.Sorted(maps.Keys(p.offers))
	o := p.offers[kinds[0]]
	for _, k := range kinds[1:] {
		if other := p.offers[k]; other.program() != o.program() {
			return o, &FileError{Path: other.File, Err: fmt.Errorf("names another program now than %s", o.File),
				Hint: "restart the agent, or make both name the same"}
		}
	}
	return o, nil
}

// offer is that of a kind.
func (p *process) offer(kind string) Offer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offers[kind]
}

// publish says what is running, or why nothing is; true if that is news.
func (p *process) publish(s *session, absent error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := absent != nil && p.absent != nil && absent.Error() == p.absent.Error()
	p.live, p.absent, p.state = s, absent, checks.ProgramWaiting
	if s != nil {
		p.state = checks.ProgramRunning
	}
	return !same
}

// sentence says what follows from an end.
func (p *process) sentence(next verdict, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, file := errors.AsType[*FileError](err)
	switch {
	case next.quarantine != "":
		p.state, p.absent = checks.ProgramQuarantined, fmt.Errorf("%s%s: %w", checks.QuarantinePrefix, next.quarantine, err)
	case file:
		p.state = checks.ProgramAbsent
	}
}

// now is the running session, or why there is none; neither while it is between
// two lives.
func (p *process) now() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live, p.absent
}

// standing tells how the program is that a kind has.
func (p *process) standing(kind string) checks.Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := checks.Standing{State: p.state, Path: p.offers[kind].Path, Weaker: p.options.weaker()}
	switch {
	case p.live != nil:
		if _, err := p.live.has(kind); err != nil {
			s.Detail = err.Error()
		}
	case p.absent != nil:
		s.Detail = p.absent.Error()
	}
	return s
}

// share counts one more kind that the process serves.
func (p *process) share(o Offer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.offers[o.Kind]; !ok {
		p.offers[o.Kind] = o
	}
	p.users++
}

// follow notes where an offer is now. What else of it has changed, reread finds.
func (p *process) follow(o Offer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offers[o.Kind].File != o.File {
		p.offers[o.Kind] = o
	}
}

// leave ends the program when the last of its kinds is closed; till then one that
// is, and has no later value, is none of its own any more.
func (p *process) leave(r *remote) error {
	p.mu.Lock()
	p.users--
	last := p.users <= 0
	if !last && p.latest[r.kind] == r {
		delete(p.offers, r.kind)
	}
	p.mu.Unlock()
	if last {
		p.stop()
	}
	return nil
}

// stop ends the program for good.
func (p *process) stop() {
	p.cancel()
	<-p.gone
}
