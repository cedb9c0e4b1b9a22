package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// mostProofs is how many proofs of one message are looked at: a gateway has two
// at the most to send.
const mostProofs = 8

// proved is for which networks gateways have proved a key. What they proved is
// for the operators to judge, and in the store.
type proved struct {
	mu       sync.Mutex
	networks map[string]stated // by gateway
}

type stated struct {
	device   string // another one has proved nothing yet
	number   uint64
	networks map[string]bool
}

func (s *Server) loadProofs() error {
	s.proved.networks = map[string]stated{}
	all, err := s.o.Store.Proofs(context.Background())
	if err != nil {
		return fmt.Errorf("read proofs of keys: %w", err)
	}
	for _, k := range all {
		for _, p := range k.Proofs {
			if st, err := p.Claimed(); err == nil {
				s.proved.take(st)
			}
		}
	}
	return nil
}

// take notes a statement; false: it says nothing new.
func (p *proved) take(st identity.Statement) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.networks[st.Gateway]; was.device == string(st.Device) && was.number >= st.Number {
		return false
	}
	now := stated{device: string(st.Device), number: st.Number, networks: map[string]bool{}}
	for n := range st.Keys {
		now.networks[n] = true
	}
	p.networks[st.Gateway] = now
	return true
}

// saveProofs keeps what a gateway proved, and gives the hashes of what is kept.
// One that is not signed by the caller's own device, or is of another gateway,
// is not kept: nobody could ever believe it.
func (s *Server) saveProofs(ctx context.Context, x *exchange, proofs []identity.Proof, now time.Time) (known []string) {
	if len(proofs) == 0 {
		return nil
	}
	var good []identity.Proof
	var stated []identity.Statement
	for _, p := range proofs[:min(mostProofs, len(proofs))] {
		st, err := p.ByDevice(x.caller.key)
		if err == nil && st.Gateway != x.caller.gateway {
			err = fmt.Errorf("it is of gateway %s", st.Gateway)
		}
		if err != nil {
			s.refuseProof(ctx, x, err)
			continue
		}
		good, known, stated = append(good, p), append(known, p.Hash()), append(stated, st)
	}
	if len(good) == 0 {
		return nil
	}
	if err := s.o.Store.SaveProofs(ctx, x.caller.gateway, x.caller.key, good, now); err != nil {
		if errors.Is(err, store.ErrFull) {
			s.refuseProof(ctx, x, store.ErrFull)
		} else {
			s.o.Log.ErrorContext(ctx, "cannot keep proofs of keys", "gateway", x.caller.gateway, "err", err)
		}
		return nil
	}
	for _, st := range stated {
		if s.proved.take(st) {
			s.audit(ctx, store.Event{Actor: st.Gateway, From: x.request.RemoteAddr, Act: "keys", Object: st.Gateway, Detail: describeKeys(st)})
		}
	}
	return known
}

// describeKeys names networks and fingerprints.
func describeKeys(st identity.Statement) string {
	var all []string
	for n, k := range st.Keys {
		all = append(all, n+" "+identity.Fingerprint(k[:]))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (s *Server) refuseProof(ctx context.Context, x *exchange, why error) {
	ok, dropped := s.refuse.allow(s.o.Now())
	if !ok {
		return
	}
	s.o.Log.WarnContext(ctx, "a proof of keys was refused", "gateway", x.caller.gateway, "from", x.request.RemoteAddr, "not_logged", dropped, "err", why)
	s.audit(ctx, store.Event{Actor: x.caller.gateway, From: x.request.RemoteAddr, Act: "refused", Object: x.caller.gateway, Detail: "a proof of keys: " + why.Error()})
}

// unproved are those of the networks that were asked of a gateway for which its
// present device has proved no key; the caller holds mu.
func (s *Server) unproved(gateway string, asked []string) []string {
	device := string(s.keys[gateway])
	s.proved.mu.Lock()
	defer s.proved.mu.Unlock()
	has := s.proved.networks[gateway]
	return slices.DeleteFunc(slices.Clone(asked), func(n string) bool { return has.device == device && has.networks[n] })
}

// Keys gives the proofs that gateways sent.
func (s *Server) Keys(ctx context.Context) ([]centre.Keys, error) { return s.o.Store.Proofs(ctx) }
