// Package swarm is many simulated gateways in one process: what they say to the
// collector and how they try a config is the agent's own code (agent/uplink,
// agent/identity, agent/trust, agent/trial); their tunnels are pretended.
//
// It starts no collector and signs no config: those are the lab's commands.
package swarm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Options are what New needs. Dir and API must be set.
type Options struct {
	Dir     string // where the gateways keep what an agent keeps in /var/lib/ginnel
	API     *centre.Client
	Signers []string // whom the gateways believe at first, as lines of OpenSSH
	// At is where the collector is called instead of what it says of itself;
	// empty: there.
	At  string
	Log *slog.Logger // nil: none
}

// Swarm is simulated gateways. Its methods may be called at once.
type Swarm struct {
	o Options

	mu       sync.Mutex // guards the following
	gateways []*Gateway
}

// New makes a swarm without gateways.
func New(o Options) *Swarm {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Swarm{o: o}
}

// enrolling is how many gateways enrol at once. A certificate is a signature of
// the collector, so more would only wait there.
const enrolling = 16

// Network is what gateways of a swarm join.
const Network = "kestrel"

// Name is the name of the gateway with a number, from 0.
func Name(i int) string { return site(i) + "-1" }

func site(i int) string { return fmt.Sprintf("swarm-%04d", i+1) }

// Add has the collector wait for n more gateways, and enrols them.
func (s *Swarm) Add(ctx context.Context, n int) error {
	ca, err := s.o.API.CA(ctx)
	if err != nil {
		return err
	}
	if s.o.At != "" {
		ca.URL = s.o.At
	}
	first := len(s.Gateways())
	return s.each(ctx, n, func(ctx context.Context, i int) (identity.Pack, error) { return s.pack(ctx, ca, first+i) })
}

// AddPacks enrols a gateway with each site pack, which it spends.
func (s *Swarm) AddPacks(ctx context.Context, files []string) error {
	return s.each(ctx, len(files), func(_ context.Context, i int) (identity.Pack, error) {
		p, err := identity.ReadPack(files[i])
		if err == nil && len(s.o.Signers) > 0 {
			p.Signers = s.o.Signers
		}
		return p, err
	})
}

// pack is a new site's.
func (s *Swarm) pack(ctx context.Context, ca centre.CA, i int) (identity.Pack, error) {
	p := identity.Pack{
		Site:      identity.Site{ID: site(i), Name: "Simulated " + site(i), Gateway: Name(i), Networks: []string{Network}},
		Collector: []string{ca.URL}, CA: ca.PEM, Token: identity.NewToken(), Secret: identity.NewSecret(), Signers: s.o.Signers,
		Expires: time.Now().UTC().Truncate(time.Second).AddDate(0, 0, 1),
	}
	hash := p.Token.Hash()
	_, err := s.o.API.AddSite(ctx, centre.NewSite{ID: p.Site.ID, Name: p.Site.Name, Gateway: p.Site.Gateway,
		Networks: p.Site.Networks, TokenSHA256: hex.EncodeToString(hash[:]), Expires: p.Expires})
	return p, err
}

// each makes n gateways of the packs that it is given, some at once.
func (s *Swarm) each(ctx context.Context, n int, pack func(context.Context, int) (identity.Pack, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	made := make([]*Gateway, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(enrolling, n) {
		wg.Go(func() {
			for i := range next {
				p, err := pack(ctx, i)
				if err == nil {
					made[i], err = s.enrol(ctx, p)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("enrol the swarm: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gateways = append(s.gateways, made...)
	return nil
}

func (s *Swarm) enrol(ctx context.Context, p identity.Pack) (*Gateway, error) {
	dir := filepath.Join(s.o.Dir, p.Site.Gateway)
	id, err := identity.Open(filepath.Join(dir, "identity"))
	if err != nil {
		return nil, err
	}
	if err := id.Prepare(); err != nil {
		return nil, err
	}
	if _, err := id.Prove(p.Site.Gateway, newKeys(p.Site.Networks), p.Secret); err != nil {
		return nil, err
	}
	if id, err = uplink.Enrol(ctx, uplink.Enrolment{Pack: p, Dir: id.Dir(), Version: "swarm"}); err != nil {
		return nil, err
	}
	return newGateway(id, dir, s.o.Log)
}

// Run has all gateways live until ctx ends. They begin one after the other within
// spread, so that they do not all call in the same moment ever after.
func (s *Swarm) Run(ctx context.Context, spread time.Duration) error {
	var wg sync.WaitGroup
	all := s.Gateways()
	errs := make([]error, len(all))
	for i, g := range all {
		wg.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(spread * time.Duration(i) / time.Duration(len(all))):
				errs[i] = g.run(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Gateways are all of them, in the order in which they came.
func (s *Swarm) Gateways() []*Gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gateways[:len(s.gateways):len(s.gateways)]
}

// Count is what a swarm is at, in numbers of gateways.
type Count struct {
	All      int
	Reached  int            // the last exchange with the collector was good
	Applied  int            // run a config that was confirmed
	Applying int            // are on trial, or hold
	Failed   int            // have gone back from one, or refused it
	Trouble  map[string]int // by kind, of those that do not reach it
}

// Count counts.
func (s *Swarm) Count() Count {
	c := Count{Trouble: map[string]int{}}
	for _, g := range s.Gateways() {
		c.All++
		if kind := g.up.Trouble(); kind != "" {
			c.Trouble[string(kind)]++
		} else if !g.Heard().IsZero() {
			c.Reached++
		}
		switch g.Status().State {
		case uplink.Applied:
			c.Applied++
		case uplink.Applying:
			c.Applying++
		case uplink.Failed:
			c.Failed++
		}
	}
	return c
}
