package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/tunnels"
)

// pushedFile is what messages call a config that came signed.
const pushedFile = "pushed.toml"

// pilot moves the gateway from config to config, for the centre (it is the
// uplink's Steering) and for a technician.
type pilot struct {
	a      *Agent
	trial  *trial.Trial
	gauges gauges
	booted chan struct{} // closed once the agent runs what it starts with
	orders chan order
	woken  chan struct{} // an offer waits
	listed chan struct{} // another list is in force

	mu      sync.Mutex // of what follows
	offer   *order     // of the centre, that waits; nil: none
	judged  string     // hash of the offer that was looked at last
	refused uplink.OfferStatus
}

// order is what a technician wants, whose answer comes on done, or the centre.
type order struct {
	apply []byte     // a signed config, to be tried
	back  bool       // go back to the config before, instead
	hash  string     // of apply, in hex, as the centre has it
	done  chan error // nil: it is the centre's
}

var _ uplink.Steering = (*pilot)(nil)

func newPilot(a *Agent) *pilot {
	p := &pilot{a: a, booted: make(chan struct{}), orders: make(chan order), woken: make(chan struct{}, 1), listed: make(chan struct{}, 1)}
	p.gauges.a = a
	p.trial = &trial.Trial{Journal: a.o.Paths.Journal(), Boot: a.boot, Host: p, Tunnels: &p.gauges, Checks: &p.gauges,
		Changed: func() { a.look(); a.wakeUplink() }, Log: a.o.Log}
	p.gauges.record = p.trial.Record
	// Before the first message: what failed is not to be offered anew.
	if err := p.trial.Recall(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.o.Log.Error("the trial's journal cannot be read", "err", err)
	}
	return p
}

// Say completes what goes out.
func (p *pilot) Say(s *wire.Said) {
	if nonce, hash, ok := p.trial.Asks(); ok {
		s.Nonce, s.Hash = nonce, hash
	}
	s.List = p.a.listNumber()
}

// Hear takes a receipt, a list of what is shut out.
func (p *pilot) Hear(ctx context.Context, t wire.Told) {
	if r := t.Receipt; r != nil {
		if err := r.Verify(p.a.called(), []byte(p.a.identity.CA())); err != nil {
			p.a.o.Log.WarnContext(ctx, "a receipt is not believed", "err", err)
		} else {
			p.trial.Receipt(r.Nonce, r.Hash)
		}
	}
	if len(t.List) == 0 {
		return
	}
	if p.a.damaged != nil { // it was told, once
		return
	}
	changed, err := p.a.trust.TakeList(t.List)
	switch {
	case err != nil:
		p.a.o.Log.WarnContext(ctx, "a list of what is shut out is not believed", "err", err)
	case changed:
		p.a.o.Log.InfoContext(ctx, "another list of what is shut out is in force", "number", p.a.listNumber())
		tip(p.listed)
	}
}

// Offer takes a config; the newest one counts. What is on the way already, or
// failed for good, is not looked at again, also after a restart.
func (p *pilot) Offer(_ context.Context, hash, raw []byte) {
	at := hex.EncodeToString(hash)
	known := at == p.trial.Record().Hash
	p.mu.Lock()
	defer p.mu.Unlock()
	if known {
		p.refused = uplink.OfferStatus{} // it was of another one
	}
	if (known || at == p.judged) && !p.mayTryAgain(at) {
		return
	}
	p.judged, p.offer = at, &order{apply: raw, hash: at}
	tip(p.woken)
}

// mayTryAgain: a config that failed and was perhaps not at fault.
func (p *pilot) mayTryAgain(hash string) bool {
	r := p.trial.Record()
	return r.Hash == hash && r.Again()
}

// waiting takes the offer that waits; nil: none does.
func (p *pilot) waiting() *order {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.offer
	p.offer = nil
	return o
}

// Run has a config run, for a trial, and waits until the host is as it wants.
func (p *pilot) Run(ctx context.Context, text []byte) error {
	if text == nil {
		done := p.a.act()
		p.a.putNone(ctx)
		done()
		return nil
	}
	if err := p.a.run(ctx, text, p.comes(text)); err != nil {
		return err
	}
	for deadline := time.Now().Add(settledIn); time.Now().Before(deadline) && ctx.Err() == nil; {
		if steps, err := p.a.o.Tunnels.Plan(ctx); err == nil && p.a.settledAs(steps) {
			break
		}
		pause(ctx, 200*time.Millisecond)
	}
	return ctx.Err()
}

// comes says whether a text is the newest config's and does not run: then it must
// not take what is the host's own, which may be another than when it was judged,
// as after a boot.
func (p *pilot) comes(text []byte) bool {
	p.a.mu.Lock()
	defer p.a.mu.Unlock()
	sum := sha256.Sum256(text)
	return p.trial.Record().Hash == hex.EncodeToString(sum[:]) && !bytes.Equal(text, p.a.text)
}

// settledAs reports whether what is left to do is of networks that cannot be made
// as wanted just now.
func (a *Agent) settledAs(left []tunnels.Step) bool {
	failed := map[string]bool{}
	for _, t := range a.o.Tunnels.Status() {
		failed[t.Network] = t.Err != ""
	}
	return !slices.ContainsFunc(left, func(s tunnels.Step) bool { return !failed[s.Network] })
}

// settledIn is how long the host may take to be as wanted before a trial begins
// to measure all the same.
const settledIn = 10 * time.Second

// Keep has the signers of a confirmed config be the accepted ones.
func (p *pilot) Keep(raw []byte) error {
	o, err := p.a.trust.Judge(raw, p.a.called())
	if err != nil {
		return err
	}
	if err := p.a.trust.Accept(o); err != nil { // once more, should the site pack be another one by now
		return err
	}
	return p.a.trust.Confirm(o)
}

// run works off what the journal, the centre and technicians want.
func (p *pilot) run(ctx context.Context, ready func()) error {
	ready()
	select {
	case <-ctx.Done():
		return nil
	case <-p.booted:
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { p.shutOut(ctx) })
	p.gauges.open()
	work := p.start(ctx, p.resume)
	for {
		var o order
		select {
		case <-ctx.Done():
			work.stop()
			return nil
		case <-work.done:
			work.done = nil
			continue
		case <-p.woken:
			waiting := p.waiting()
			if waiting == nil {
				continue
			}
			o = *waiting
		case o = <-p.orders:
		}
		next, err := p.decide(ctx, o)
		if err == nil && next != nil {
			work.stop()
			work, err = next()
		}
		switch {
		case o.done != nil:
			o.done <- err
		case err != nil && ctx.Err() == nil:
			p.refuse(ctx, o.hash, err)
		}
	}
}

// resume goes on with the journal, unless nobody could keep what comes of it.
func (p *pilot) resume(ctx context.Context) error {
	if p.a.damaged != nil {
		return nil
	}
	return p.trial.Resume(ctx)
}

// decide says what follows from an order; nil: nothing does.
func (p *pilot) decide(ctx context.Context, o order) (func() (*work, error), error) {
	if o.back {
		return func() (*work, error) { return p.goBack(ctx) }, nil
	}
	offer, change, err := p.prepare(ctx, o.apply)
	if err != nil || change == nil {
		return nil, err
	}
	change.Stick = o.done != nil
	return func() (*work, error) {
		if err := p.a.trust.Accept(offer); err != nil {
			return p.start(ctx, p.resume), err
		}
		p.mu.Lock()
		p.judged, p.refused = change.Hash, uplink.OfferStatus{}
		p.mu.Unlock()
		p.a.refuseFile(ctx)
		return p.start(ctx, func(ctx context.Context) error {
			err := p.trial.Run(ctx, *change)
			if err != nil && ctx.Err() == nil && p.trial.Record().Hash != change.Hash { // it did not begin
				p.refuse(ctx, change.Hash, err)
			}
			return err
		}), nil
	}, nil
}

// errNone says that there is no config before this one.
var errNone = &local.Error{Text: "there is no config to go back to", Advice: "ginnel status tells what runs"}

func (p *pilot) goBack(ctx context.Context) (*work, error) {
	if p.a.damaged != nil {
		return p.start(ctx, p.resume), p.a.refuseDamaged("rollback")
	}
	ok, err := p.trial.Override(ctx)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !ok {
		err = errNone
	}
	if err != nil {
		return p.start(ctx, p.resume), err
	}
	return p.start(ctx, func(context.Context) error { return nil }), nil
}

// refuse notes an offer that nothing came of. at is its hash, in hex.
func (p *pilot) refuse(ctx context.Context, at string, err error) {
	p.a.o.Log.ErrorContext(ctx, "a config from the centre is refused, nothing is changed", "err", firstLine(err))
	hash, _ := hex.DecodeString(at) // as EncodeToString made it
	p.mu.Lock()
	p.refused = uplink.OfferStatus{Hash: hash, State: uplink.Failed, Message: err.Error()}
	p.mu.Unlock()
	p.a.wakeUplink()
}

// work is a trial on its way.
type work struct {
	cancel context.CancelFunc
	done   chan struct{} // nil: it has ended
}

func (p *pilot) start(ctx context.Context, f func(context.Context) error) *work {
	ctx, cancel := context.WithCancel(ctx)
	w := &work{cancel, make(chan struct{})}
	p.trial.Centre = nil
	if r := p.a.reach(); r != nil {
		p.trial.Centre = r
	}
	done := w.done
	go func() {
		defer close(done)
		err := f(ctx)
		if err != nil && !errors.Is(err, trial.ErrInterrupted) && !errors.Is(err, fs.ErrNotExist) {
			p.a.o.Log.ErrorContext(ctx, "the trial could not be carried through", "err", err)
		}
	}()
	return w
}

// stop ends it and leaves its journal for the next.
func (w *work) stop() {
	w.cancel()
	if w.done != nil {
		<-w.done
	}
}
