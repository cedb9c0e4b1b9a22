package swarm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/trust"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Gateway is one simulated gateway.
type Gateway struct {
	name  string
	id    *identity.Identity
	trust *trust.Trust
	trial *trial.Trial
	up    *uplink.Uplink
	kept  *minutes
	boot  string
	log   *slog.Logger
	born  time.Time

	offers chan *trust.Offer // the newest that is to be tried

	mu      sync.Mutex // guards the following
	config  *config.Config
	text    []byte
	applied time.Time           // when config came into force
	trying  *trust.Offer        // the newest that may run
	refused *uplink.OfferStatus // the newest, where it may not
	stop    context.CancelFunc  // of the trial that runs
}

func newGateway(id *identity.Identity, dir string, log *slog.Logger) (*Gateway, error) {
	name := id.Site().Gateway
	g := &Gateway{name: name, id: id, boot: uuid.NewString(), born: time.Now(), offers: make(chan *trust.Offer, 1), log: log.With("gateway", name)}
	var err error
	if g.trust, err = trust.Open(filepath.Join(dir, "trust"), id.Signers()); err != nil {
		return nil, err
	}
	g.kept = &minutes{g: g, epoch: newEpoch()}
	if g.up, err = uplink.New(uplink.Options{
		Queue: g.kept, Identity: id, Version: "swarm", Snapshot: g.snapshot, Effective: g.effective, Steering: g, Preferred: g.preferred, Log: g.log,
	}); err != nil {
		return nil, err
	}
	pretended := pretence{g}
	g.trial = &trial.Trial{
		Journal: trial.Journal{Dir: filepath.Join(dir, "trial"), LastGood: filepath.Join(dir, "last-good.toml")}, Boot: g.boot,
		Host: pretended, Centre: pretended, Tunnels: pretended, Checks: pretended, Changed: g.up.Wake, Log: g.log,
	}
	return g, nil
}

// newKeys makes a WireGuard key for each network, whose private half nobody
// will need.
func newKeys(networks []string) map[string]key.Public {
	keys := map[string]key.Public{}
	for _, n := range networks {
		keys[n] = key.NewPrivate().Public()
	}
	return keys
}

// run lives until ctx ends.
func (g *Gateway) run(ctx context.Context) error {
	var wg sync.WaitGroup
	var delivered error
	wg.Go(func() { g.tries(ctx) })
	wg.Go(func() { g.kept.run(ctx) })
	wg.Go(func() { delivered = g.up.Deliver(ctx, func() {}) })
	err := g.up.Control(ctx, func() {})
	wg.Wait()
	return errors.Join(err, delivered)
}

// tries tries one offer after the other. A newer one ends a trial that runs.
func (g *Gateway) tries(ctx context.Context) {
	for {
		var o *trust.Offer
		select {
		case <-ctx.Done():
			return
		case o = <-g.offers:
		}
		if err := g.trust.Accept(o); err != nil {
			g.log.Error("cannot accept a config", "err", err)
			continue
		}
		once, stop := context.WithCancel(ctx)
		g.mu.Lock()
		g.stop = stop
		before := g.config
		g.mu.Unlock()
		err := g.trial.Run(once, trial.Change{Generation: o.Config.Generation, Hash: o.Config.Hash, Bundle: o.Bundle.Bytes(),
			Limit: o.Config.Trial, Tunnels: parts(before, o.Config)})
		stop()
		if err != nil && !errors.Is(err, trial.ErrInterrupted) {
			g.log.Error("a trial ended badly", "err", err)
		}
	}
}

// Say completes a message.
func (g *Gateway) Say(s *wire.Said) {
	s.Boot, s.Proofs = g.boot, g.id.Proofs()
	if nonce, hash, ok := g.trial.Asks(); ok {
		s.Nonce, s.Hash = nonce, hash
	}
	if l := g.trust.List(); l != nil {
		s.List = l.Number
	}
}

// Hear takes receipts, lists and what the collector knows of keys.
func (g *Gateway) Hear(ctx context.Context, t wire.Told) {
	if r := t.Receipt; r != nil {
		if err := r.Verify(g.name, []byte(g.id.CA())); err != nil {
			g.log.Warn("a receipt was refused", "err", err)
		} else {
			g.trial.Receipt(r.Nonce, r.Hash)
		}
	}
	if len(t.Known) > 0 {
		if err := g.id.Keep(t.Known); err != nil {
			g.log.Warn("the proofs cannot be kept", "err", err)
		}
	}
	if len(t.List) > 0 {
		if _, err := g.trust.TakeList(t.List); err != nil {
			g.log.Warn("a list was refused", "err", err)
		}
	}
	if len(t.Wanted) > 0 {
		if err := g.prove(t.Wanted); err != nil {
			g.log.Warn("keys cannot be proved", "err", err)
		}
	}
}

// prove makes keys for networks that have none.
func (g *Gateway) prove(networks []string) error {
	stated := g.id.Stated()
	var lacking []string
	for _, n := range networks {
		if _, ok := stated[n]; !ok {
			lacking = append(lacking, n)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	_, err := g.id.Prove(g.name, newKeys(lacking), identity.Secret{})
	return err
}

// Offer judges a config, and has it tried. The same again changes nothing.
func (g *Gateway) Offer(_ context.Context, hash, raw []byte) {
	if now := g.Status(); now.State != uplink.Unset && bytes.Equal(now.Hash, hash) {
		return
	}
	o, err := g.trust.Judge(raw, g.name)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.refused = &uplink.OfferStatus{Hash: hash, State: uplink.Failed, Message: err.Error()}
		return
	}
	if g.stop != nil {
		g.stop()
	}
	g.trying, g.refused = o, nil
	select {
	case <-g.offers: // one that was not begun
	default:
	}
	g.offers <- o
}

// Status is how the newest offer fares.
func (g *Gateway) Status() uplink.OfferStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.refused != nil:
		return *g.refused
	case g.trying == nil:
		return uplink.OfferStatus{}
	}
	hash := sha256.Sum256(g.trying.Bundle.Text)
	s := uplink.OfferStatus{Hash: hash[:], State: uplink.Applying}
	r := g.trial.Record()
	if r.Hash != g.trying.Config.Hash {
		return s // it has not begun
	}
	switch r.Phase {
	case trial.Kept:
		s.State = uplink.Applied
	case trial.Failed:
		s.State, s.Message = uplink.Failed, strings.Join(append([]string{r.Reason}, r.Evidence...), "\n")
	case trial.Held:
		s.Message = r.Reason
	}
	return s
}

// Heard is when the collector answered last; zero: never.
func (g *Gateway) Heard() time.Time { return g.up.Status().LastReceipt }

// Name is the gateway's.
func (g *Gateway) Name() string { return g.name }
