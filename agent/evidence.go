package agent

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// Bounds of evidence: a flap floods nothing, and neither does a bad day.
const (
	evidenceEvery = 10 * time.Minute // between two of one check, and of one cause
	evidenceDaily = 24               // in 24 hours
	evidenceQueue = 4                // changes that wait to be looked into
)

// evidenceKeeper remembers the last packets of every check, and when one goes
// down or gets worse it freezes them, looks around, and keeps what it saw.
type evidenceKeeper struct {
	agent  *Agent
	flight *spool.Flight
	shelf  *spool.Shelf
	queue  chan frozen

	mu   sync.Mutex
	past []evidence.Entry // of the last 24 hours, whether they are on the shelf yet or not
}

// frozen is a change, with what was known at that moment.
type frozen struct {
	spec   checks.Spec
	bundle evidence.Bundle
}

func newEvidence(a *Agent) *evidenceKeeper {
	k := &evidenceKeeper{agent: a, flight: a.flight, shelf: a.shelf, queue: make(chan frozen, evidenceQueue)}
	kept, err := k.shelf.List()
	if err != nil {
		a.o.Log.Warn("the evidence that was kept cannot be read", "err", err)
	}
	k.past = kept
	return k
}

// edge freezes what is known of a check that went down or got worse, unless that
// is the effect of something else, or was looked into just now.
func (k *evidenceKeeper) edge(s checks.Spec, e checks.Edge, cause why.Finding) {
	if !worsened(e) || e.Reason == checks.Blocked || e.Reason == checks.NotRun || cause.WaitsFor != "" {
		return
	}
	b := evidence.Bundle{
		Version: evidence.Version, Gateway: k.agent.called(), Agent: k.agent.o.Version,
		Subject: evidence.Subject{Class: classOf(s), Name: s.Name, Kind: s.Kind, Network: s.Target.Network, Target: s.Target.Address, StandsFor: s.StandsFor},
		Change: evidence.Change{At: e.At.UTC().Round(0), Noticed: time.Now().UTC().Round(0), From: e.From, To: e.To,
			Reason: e.Reason, Phase: e.Phase, Detail: evidence.Line(e.Detail)},
		Finding: findingOf(cause),
	}
	b.ID = evidence.NewID(b.Gateway, s.Name, b.Change.Noticed)
	if !k.take(b.Entry(), b.Change.Noticed) {
		return
	}
	got := k.flight.Of(s.Name, b.Change.At)
	b.Packets = got.Packets
	b.LastGood, b.Last = evidence.LookOf(s.Kind, s.Target.Address, got.Good), evidence.LookOf(s.Kind, s.Target.Address, got.Last)
	b.Tunnels = k.agent.tunnelEvidence(s.Target.Network)
	b.Links = k.agent.linkEvidence(s.Target.Network)
	select {
	case k.queue <- frozen{s, b}:
	default: // so much breaks at once that one more says nothing
		k.giveBack(b.ID)
	}
}

// worsened says whether a change is to be looked into: to down or degraded, from
// something better.
func worsened(e checks.Edge) bool {
	switch e.To {
	case checks.Down:
		return e.From != checks.Down
	case checks.DegradedState:
		return e.From != checks.Down && e.From != checks.DegradedState
	}
	return false
}

func classOf(s checks.Spec) string {
	if subjectOf(s).Class == block.TunnelClass {
		return "tunnel"
	}
	return "check"
}

func findingOf(f why.Finding) evidence.Finding {
	m := why.Meaning(f.Code)
	who := strings.ReplaceAll(m.Who, "%s", cmp.Or(f.Object, "it"))
	return evidence.Finding{Code: string(f.Code), Object: f.Object, Text: evidence.Line(f.Text), Hint: evidence.Line(f.Hint),
		Means: m.Means, Owner: string(m.Owner), Who: who}
}

// take says whether there may be one more, and counts it.
func (k *evidenceKeeper) take(e evidence.Entry, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.past = slices.DeleteFunc(k.past, func(p evidence.Entry) bool { return now.Sub(p.At) > 24*time.Hour })
	e.At = now
	if !mayLook(k.past, e) {
		return false
	}
	k.past = append(k.past, e)
	return true
}

// mayLook says whether e is not one too many beside those of the last 24 hours:
// of its check or of its cause there is none as new, and the day has room.
func mayLook(past []evidence.Entry, e evidence.Entry) bool {
	same := func(p evidence.Entry) bool {
		return p.Name == e.Name || e.Code != "" && p.Code == e.Code && p.Object == e.Object
	}
	recent := slices.ContainsFunc(past, func(p evidence.Entry) bool { return same(p) && e.At.Sub(p.At) < evidenceEvery })
	return !recent && len(past) < evidenceDaily
}

// giveBack forgets one that came to nothing.
func (k *evidenceKeeper) giveBack(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.past = slices.DeleteFunc(k.past, func(p evidence.Entry) bool { return p.ID == id })
}

// run looks into one change after the other, so that a bad day is no burden. What
// is under way when ctx ends is kept as it is.
func (k *evidenceKeeper) run(ctx context.Context, ready func()) error {
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-k.queue:
			k.look(ctx, &f)
			if err := k.keep(&f.bundle); err != nil {
				k.agent.o.Log.WarnContext(ctx, "evidence cannot be kept", "check", f.spec.Name, "err", err)
				continue
			}
			k.agent.o.Log.InfoContext(ctx, "evidence kept", "check", f.spec.Name, "id", f.bundle.ID)
			k.agent.wakeUplink()
		}
	}
}

func (k *evidenceKeeper) keep(b *evidence.Bundle) error {
	b.Made = time.Now().UTC().Round(0)
	text, err := b.Encode()
	if err != nil {
		return err
	}
	return k.shelf.Put(b.ID, text)
}

// Evidence lists what is kept, the newest first.
func (a *Agent) Evidence(context.Context) ([]evidence.Entry, error) { return a.shelf.List() }

// EvidenceOf gives one back.
func (a *Agent) EvidenceOf(_ context.Context, id string) (*evidence.Bundle, error) {
	return a.shelf.Get(id)
}
