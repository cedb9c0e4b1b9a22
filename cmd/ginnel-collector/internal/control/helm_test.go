package control

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// helm is a gateway's Steering that tries a config until the receipt comes, or
// goes back from it at once.
type helm struct {
	t    *testing.T
	id   *identity.Identity
	name string
	wake func()

	mu      sync.Mutex
	fails   string // why every trial fails; empty: none does
	deaf    bool   // to receipts
	running centre.ConfigRef
	before  centre.ConfigRef
	mark    uint64
	health  checks.State
	status  uplink.OfferStatus
	nonce   string
	list    []byte
	wanted  []string
	tried   []uint64 // generations, in order
}

func (h *helm) Say(s *wire.Said) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Boot = "boot-" + h.name
	if h.nonce != "" {
		s.Nonce, s.Hash = h.nonce, hex.EncodeToString(h.status.Hash)
	}
	if h.list != nil {
		b, err := bundle.Parse(h.list)
		if err != nil {
			h.t.Error(err)
			return
		}
		l, err := bundle.ParseList("list", b.Text)
		if err != nil {
			h.t.Error(err)
			return
		}
		s.List = l.Number
	}
}

func (h *helm) Hear(_ context.Context, told wire.Told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if told.List != nil {
		h.list = told.List
	}
	if told.Wanted != nil {
		h.wanted = told.Wanted
	}
	if told.Receipt == nil || h.deaf || told.Receipt.Nonce != h.nonce {
		return
	}
	if err := told.Receipt.Verify(h.name, []byte(h.id.CA())); err != nil {
		h.t.Error(err)
	}
	h.nonce, h.status.State = "", uplink.Applied
	go h.wake()
}

func (h *helm) Offer(_ context.Context, hash, raw []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := bundle.Parse(raw)
	if err != nil || b.Hash() != hex.EncodeToString(hash) {
		h.t.Errorf("%s is offered what is no bundle, or another: %v", h.name, err)
		return
	}
	if bytes.Equal(hash, h.status.Hash) {
		return
	}
	c, err := config.Parse(h.name, b.Text)
	if err != nil {
		h.t.Error(err)
		return
	}
	if c.Generation <= h.mark {
		h.t.Errorf("%s is offered generation %d after %d", h.name, c.Generation, h.mark)
	}
	h.mark, h.tried = c.Generation, append(h.tried, c.Generation)
	h.before = h.running
	h.status = uplink.OfferStatus{Hash: bytes.Clone(hash), State: uplink.Applying}
	if h.fails != "" {
		h.status.State, h.status.Message = uplink.Failed, h.fails
	} else {
		h.running, h.nonce = centre.ConfigRef{Generation: c.Generation, Hash: b.Hash()}, rand.Text()
	}
	go h.wake()
}

func (h *helm) Status() uplink.OfferStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

func (h *helm) set(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	h.wake()
}

// goBack ends a trial.
func (h *helm) goBack(why string) {
	h.set(func() {
		h.running, h.nonce = h.before, ""
		h.status.State, h.status.Message = uplink.Failed, why
	})
}

func (h *helm) snapshot() block.Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := snapshot(h.health)
	s.Config = block.ConfigSnapshot{Generation: h.running.Generation, Hash: h.running.Hash, Mark: h.mark}
	return s
}

func (h *helm) generations() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.tried)
}

// steers runs a gateway that takes configs.
func (r *rig) steers(site string) *helm {
	r.t.Helper()
	h := &helm{t: r.t, id: r.enrolled(site), name: site + "-1", health: checks.Up}
	var ready sync.WaitGroup
	ready.Add(1)
	h.wake = func() { ready.Wait() }
	g := r.run(h.id, func(o *uplink.Options) { o.Steering, o.Snapshot, o.Effective = h, h.snapshot, nil })
	h.mu.Lock()
	h.wake = g.Wake
	h.mu.Unlock()
	ready.Done()
	return h
}

// signers are two operators; the first signs.
var signers = [2]bundletest.Operator{bundletest.New("alice"), bundletest.New("bob")}

// desired is a signed config of a gateway.
func desired(gateway string, generation uint64) []byte {
	text := fmt.Sprintf("gateway = %q\ngeneration = %d\nsigners = [%q, %q]\n", gateway, generation, signers[0].Line(), signers[1].Line())
	return signedText(text, bundle.Config)
}

func signedText(text, namespace string) []byte { return signers[0].Bundle(text, namespace).Bytes() }

func hashOf(t *testing.T, raw []byte) string {
	t.Helper()
	b, err := bundle.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Text)
	return hex.EncodeToString(sum[:])
}
