package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
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

// signers are two operators' keys; the first signs.
var signers = sync.OnceValue(func() (two [2]ssh.Signer) {
	for i := range two {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		if two[i], err = ssh.NewSignerFromKey(private); err != nil {
			panic(err)
		}
	}
	return two
})

// desired is a signed config of a gateway.
func desired(t *testing.T, gateway string, generation uint64) []byte {
	t.Helper()
	var lines []string
	for _, s := range signers() {
		lines = append(lines, fmt.Sprintf("%q", bundle.Signer{Key: s.PublicKey()}))
	}
	text := fmt.Sprintf("gateway = %q\ngeneration = %d\nsigners = [%s]\n", gateway, generation, strings.Join(lines, ", "))
	b, err := bundle.Sign([]byte(text), bundle.Config, signers()[0])
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hashOf(t *testing.T, raw []byte) string {
	t.Helper()
	b, err := bundle.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Text)
	return hex.EncodeToString(sum[:])
}

// push is one gateway's part of a push of generation n, with the next as its
// way back.
func (r *rig) push(gateway string, ring int, n uint64) centre.Push {
	r.t.Helper()
	return centre.Push{Gateway: gateway, Ring: ring, Bundle: desired(r.t, gateway, n), Back: desired(r.t, gateway, n+1)}
}

func (r *rig) rollout(id string) centre.Rollout {
	r.t.Helper()
	got, err := r.server.Rollout(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// is waits until a rollout is in a state.
func (r *rig) is(id string, state centre.RolloutState) centre.Rollout {
	r.t.Helper()
	var got centre.Rollout
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = r.rollout(id); got.State == state {
			return got
		}
	}
	r.t.Fatalf("rollout %s is %s (%s, waits %q), not %s: %+v", id, got.State, got.Reason, got.Waits, state, got.Rings)
	return got
}

// TestPushThroughRings pushes to twenty gateways. One of the second ring fails:
// the third is not touched, and all goes back without a key.
func TestPushThroughRings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var fleet []*helm
	n := centre.NewRollout{Name: "fleet 3f2a91c", Rings: []string{"hubs", "canary", "rest"}, Pause: centre.Pause{Gateways: 1, Within: 0.5}}
	for i := range 20 {
		h := r.steers(fmt.Sprintf("site%d", i))
		fleet = append(fleet, h)
		p := r.push(h.name, min(2, (i+3)/4), 15) // 0 | 1 to 4 | the rest
		if i < 2 {
			p.Ring, p.Apart = 0, []string{"kestrel"}
		}
		n.Pushes = append(n.Pushes, p)
	}
	bad := fleet[4]
	bad.set(func() { bad.deaf = true })
	began, err := r.server.StartRollout(t.Context(), alice, n)
	if err != nil {
		t.Fatal(err)
	}
	if began.State != centre.RolloutRunning || began.By != "alice" || began.Rings[2].All != 15 {
		t.Errorf("it begins as %+v", began)
	}
	for i, stage := range []string{"applied", "applied", "applied", "applied", "applying"} {
		r.stage(began.ID, fleet[i].name, stage)
	}
	bad.goBack("the collector answers beside our tables only")
	got := r.is(began.ID, centre.RolloutPaused)
	if want := "1 of 3 gateways of ring canary got worse: site4-1: the collector answers beside our tables only"; got.Reason != want {
		t.Errorf("reason %q, want %q", got.Reason, want)
	}
	for i, h := range fleet {
		if want := map[bool]string{true: "[15]", false: "[]"}[i < 5]; h.generations() != want {
			t.Errorf("%s tried %s, want %s", h.name, h.generations(), want)
		}
	}
	if _, err := r.server.StartRollout(t.Context(), alice, n); codeOf(err) != "rollout_busy" {
		t.Errorf("a second one: %v", err)
	}
	if _, err := r.server.MoveRollout(t.Context(), alice, began.ID, centre.MoveBack); err != nil {
		t.Fatal(err)
	}
	got = r.is(began.ID, centre.RolloutUndone)
	for i, h := range fleet {
		want := "[]"
		switch {
		case h == bad:
			want = "[15]"
		case i < 5:
			want = "[15 16]"
		}
		if h.generations() != want {
			t.Errorf("%s tried %s, want %s", h.name, h.generations(), want)
		}
	}
	if p := got.Gateways[4]; p.State != "failed" || p.Config.Generation != 15 {
		t.Errorf("the one that failed: %+v", p)
	}
	r.wantActs(began.ID, "rollout start", "rollout paused", "rollout back")
	r.wantActs("site2-1", "config offered", "config applied")
	r.wantActs("site4-1", "config offered", "config failed")

	// What is mended goes through, over what is wanted now.
	bad.set(func() { bad.deaf = false })
	fleetNow := r.fleet()
	for i := range n.Pushes {
		g := fleetNow[n.Pushes[i].Gateway]
		n.Pushes[i] = r.push(g.Name, 1, 17)
		n.Pushes[i].Over = g.Desired
	}
	n.Rings = []string{"hubs", "all"}
	began, err = r.server.StartRollout(t.Context(), alice, n)
	if err != nil {
		t.Fatal(err)
	}
	got = r.is(began.ID, centre.RolloutDone)
	if got.Rings[1].Applied != 20 || got.Ended.IsZero() {
		t.Errorf("it ends as %+v", got)
	}
	for _, g := range r.fleet() {
		if g.State != block.ConfigApplied || g.Running != g.Desired || g.Mark != 17 {
			t.Errorf("%+v", g)
		}
	}
}

func (r *rig) fleet() map[string]centre.GatewayState {
	r.t.Helper()
	all, err := r.server.Fleet(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	of := map[string]centre.GatewayState{}
	for _, g := range all {
		of[g.Name] = g
	}
	return of
}

// wantActs looks for acts on an object.
func (r *rig) wantActs(object string, want ...string) {
	r.t.Helper()
	all, err := r.store.Events(r.t.Context(), 10_000)
	if err != nil {
		r.t.Fatal(err)
	}
	had := map[string]bool{}
	for _, e := range all {
		if e.Object == object {
			had[e.Act] = true
			if strings.HasPrefix(e.Act, "config ") && e.New == "" || strings.HasPrefix(e.Act, "rollout p") && e.Old == "" {
				r.t.Errorf("%+v does not say what changed", e)
			}
		}
	}
	for _, act := range want {
		if !had[act] {
			r.t.Errorf("no act %q on %s: %v", act, object, had)
		}
	}
}

var alice = store.By{Name: "alice", From: "192.0.2.9"}
