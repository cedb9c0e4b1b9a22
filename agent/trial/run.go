package trial

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Trial tries one config after the other. Set the exported fields before the
// first call and leave them. Of Run, Resume and Override one may run at a time;
// the other methods may be called at any time.
type Trial struct {
	Journal Journal
	Boot    string // the kernel's boot id
	Host    Host
	Centre  Centre // nil: this gateway has no collector
	Tunnels Tunnels
	Checks  Checks
	Changed func() // called when Record has changed; nil: nobody is told
	Log     *slog.Logger

	mu      sync.Mutex // of what follows
	record  Record
	asks    bool // the collector is to be asked for a receipt
	receipt bool // it has given one
	wake    chan struct{}
}

// The pace of a trial.
const (
	tick     = time.Second      // between looks
	heldTick = 10 * time.Second // the same while it is held
	again    = 2 * time.Second  // between tries of what has to be done
	// aftermath is how long what was found dead may take to live again under
	// the old config.
	aftermath = 30 * time.Second
	// share is the part of the time that the last look and going back may take,
	// least what they need where nothing answers: a name, an exchange.
	share = 6
	least = 7 * time.Second
	// most is how many times its time a trial may last while it gets on.
	most = 2
)

// ErrInterrupted is what Run and Resume give when ctx ended while the trial was
// open. Its journal is as it was; Resume goes on with it.
var ErrInterrupted = errors.New("the trial was interrupted")

// Record is how the newest config fares; its Phase is empty where there is none.
func (t *Trial) Record() Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.record
}

// Asks is what the collector is to sign; ok is false while nothing is asked.
func (t *Trial) Asks() (nonce, hash string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.record.Nonce, t.record.Hash, t.asks && !t.receipt
}

// Receipt takes a nonce that the collector has signed; its signature has been
// verified.
func (t *Trial) Receipt(nonce, hash string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asks && nonce == t.record.Nonce && hash == t.record.Hash {
		t.receipt = true
		poke(t.wake)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run tries a change until it is kept or failed, and as long as it is held. What
// an open trial knew of before the change goes on to count: it is the same old
// config that this one is gone back from to.
func (t *Trial) Run(ctx context.Context, c Change) error {
	now := time.Now()
	r := Record{Phase: Trying, Generation: c.Generation, Hash: c.Hash, Stick: c.Stick, Bundle: c.Bundle, Boot: t.Boot, Nonce: rand.Text(),
		Began: now, Until: now.Add(c.Limit), Limit: c.Limit, Tries: 1}
	former, err := t.Journal.Read()
	if err == nil && former.Hash == c.Hash {
		r.Tries += former.Tries
	}
	open := err == nil && former.Phase.Open()
	r.Tunnels, r.Checks = inherit(c.Tunnels, former.Tunnels, open), inherit(c.Checks, former.Checks, open)
	if t.Centre != nil {
		if r.Ways = former.Ways; !open {
			r.Ways = t.Centre.Ways(ctx)
		}
	}
	if err := t.note(r); err != nil {
		return err
	}
	return t.apply(ctx, r)
}

// apply has the new config run, and watches what comes of it.
func (t *Trial) apply(ctx context.Context, r Record) error {
	text, err := r.text()
	if err == nil {
		err = t.Host.Run(ctx, text)
	}
	switch {
	case ctx.Err() != nil:
		return ErrInterrupted
	case err != nil:
		return t.back(ctx, r, Decision{Act: Back, Reason: "it could not be applied", Evidence: []string{err.Error()}}, nil)
	}
	return t.watch(ctx, r)
}

// inherit gives parts what was known of them before an older trial of the same
// old config.
func inherit(parts, former []Part, open bool) []Part {
	if !open {
		return parts
	}
	for i, p := range parts {
		for _, f := range former {
			if f.Name == p.Name {
				parts[i].Before, parts[i].Was, parts[i].Echoes, parts[i].Touched = f.Before, f.Was, f.Echoes, p.Touched || f.Touched
				if !p.Left.IsValid() { // the same endpoints as in the older trial, which were not proved
					parts[i].Left = f.Left
				}
			}
		}
	}
	return parts
}

// Recall has Record say what the journal does, until Resume goes on with it. The
// error is fs.ErrNotExist where no config was ever accepted.
func (t *Trial) Recall() error {
	r, err := t.Journal.Read()
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.record = r
	t.mu.Unlock()
	return nil
}

// Resume goes on with what the journal says, after a start. What Journal.Boots
// says should run already; of a config on trial that is made sure.
func (t *Trial) Resume(ctx context.Context) error {
	r, err := t.Journal.Read()
	if err != nil {
		return err
	}
	switch {
	case t.Journal.kept(r):
		return t.keep(ctx, r, Decision{Act: Confirm, Reason: r.Reason, Evidence: r.Evidence})
	case r.Phase == Trying && r.Boot != t.Boot:
		return t.back(ctx, r, Decision{Act: Back, Reason: restarted}, nil)
	case r.Phase == Leaving:
		return t.back(ctx, r, Decision{Act: Back, Reason: r.Reason, Evidence: r.Evidence}, nil)
	case r.Phase == Trying || r.Phase == Held:
		r = r.inTime(time.Now())
		t.set(r)
		return t.apply(ctx, r)
	case r.Phase == Overridden:
		t.set(r)
		return t.Journal.settle(r)
	}
	t.set(r)
	return nil
}

// Override has the config before run until there is a newer one. False: there
// is none to go back to, or it runs already.
func (t *Trial) Override(ctx context.Context) (bool, error) {
	r, err := t.Journal.Read()
	if err != nil || r.Phase == Failed || r.Phase == Overridden {
		return false, err
	}
	r.Reason, r.Evidence, r.Ended = "a technician went back by hand", nil, time.Now()
	text, err := t.Journal.Override(r)
	if err != nil || text == nil {
		return false, err
	}
	r.Phase = Overridden
	t.set(r)
	return true, t.Host.Run(ctx, text)
}

// watch looks until it can be decided.
func (t *Trial) watch(ctx context.Context, r Record) error {
	begin := time.Now()
	t.listen(r)
	defer t.deafen()
	end := r.end()
	best := -1
	for {
		e := t.look(ctx, r, begin, !time.Now().Before(end))
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		if n := e.score(); n > best {
			if best >= 0 {
				end = r.extended(end)
			}
			best = n
		}
		d := Verdict(e)
		switch d.Act {
		case Confirm:
			return t.keep(ctx, r, d)
		case Back:
			dead, _ := e.sort()
			return t.back(ctx, r, d, dead)
		case Hold:
			if r.Phase != Held {
				r = t.hold(r, e, d)
			}
		}
		pause := tick
		if r.Phase == Held {
			pause = heldTick
		}
		select {
		case <-ctx.Done():
			return ErrInterrupted
		case <-t.wake:
		case <-time.After(pause):
		}
	}
}

// reserve is what is left of the time when it is decided: the old config is back
// when the time is up, not only on its way.
func (r Record) reserve() time.Duration { return min(r.Limit/2, max(r.Limit/share, least)) }

// inTime is r as it was begun now at the latest: it is kept by the time of day, and
// the clock may have been set back since.
func (r Record) inTime(now time.Time) Record {
	if r.Began.After(now) {
		r.Began, r.Until = now, now.Add(r.Limit)
	}
	return r
}

// end is when it is to be decided.
func (r Record) end() time.Time { return r.Until.Add(-r.reserve()) }

// extended is the end of a trial that has just got on: it has at least the
// reserve left, up to the most that one may last.
func (r Record) extended(end time.Time) time.Time {
	last := r.Began.Add(most * r.Limit)
	if next := time.Now().Add(r.reserve()); next.After(end) && end.Before(last) {
		return next
	}
	return end
}

// score grows as a trial gets on.
func (e Evidence) score() int {
	n := 0
	for _, list := range [][]Part{e.Tunnels, e.Checks} {
		for _, p := range list {
			if p.Judged() && p.Now == Good {
				n++
			}
		}
	}
	if e.Reach != nil && e.Reach.Answers {
		n++
	}
	return n
}

// listen begins to ask the collector, over a new connection: what is asked goes
// out on no older one.
func (t *Trial) listen(r Record) {
	if t.Centre != nil {
		t.Centre.Fresh()
	}
	t.mu.Lock()
	t.record, t.asks, t.receipt = r, true, false
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
	}
	t.mu.Unlock()
	t.tell()
}

func (t *Trial) deafen() {
	t.mu.Lock()
	t.asks = false
	t.mu.Unlock()
}

// look gathers what is known now. What takes a while, it asks only when the
// time is up.
func (t *Trial) look(ctx context.Context, r Record, since time.Time, over bool) Evidence {
	e := Evidence{Over: over, Held: r.Phase == Held}
	e.Tunnels = merge(r.Tunnels, t.Tunnels.Tunnels(ctx, since))
	e.Checks = merge(r.Checks, t.Checks.Required(ctx, since))
	if t.Centre == nil {
		return e
	}
	t.mu.Lock()
	e.Reach = &Reach{Receipt: t.receipt}
	t.mu.Unlock()
	e.Reach.Answers = e.Reach.Receipt || t.Centre.Heard().After(since)
	if e.Reach.Receipt || !over || e.Held {
		return e
	}
	e.Reach.Moved = moved(r.Ways, t.Centre.Ways(ctx))
	beside := t.Centre.Answers(ctx, true)
	// Asked last: one that came back meanwhile speaks for nobody's fault.
	plain := t.Centre.Answers(ctx, false)
	e.Reach.Answers = e.Reach.Answers || plain
	e.Reach.Beside = beside && !plain
	if plain {
		e.Reach.Moved = nil // by whatever way, it can be reached
		t.Centre.Fresh()
	}
	return e
}
