package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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

// taker is a gateway that takes every config it is offered, and keeps it when
// the receipt comes.
type taker struct {
	t *testing.T

	mu      sync.Mutex
	running centre.ConfigRef
	offered []uint64 // generations, in order
	status  uplink.OfferStatus
	nonce   string
	wake    func()
}

func (k *taker) Say(s *wire.Said) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.Boot = "one"
	if k.nonce != "" {
		s.Nonce, s.Hash = k.nonce, k.running.Hash
	}
}

func (k *taker) Hear(_ context.Context, told wire.Told) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if told.Receipt != nil && told.Receipt.Nonce == k.nonce {
		k.nonce, k.status.State = "", uplink.Applied
		go k.wake()
	}
}

func (k *taker) Offer(_ context.Context, hash, raw []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, err := bundle.Parse(raw)
	if err != nil {
		k.t.Error(err)
		return
	}
	c, err := config.Parse("offered", b.Text)
	if err != nil {
		k.t.Error(err)
		return
	}
	if b.Hash() == k.running.Hash {
		return
	}
	k.offered = append(k.offered, c.Generation)
	k.running = centre.ConfigRef{Generation: c.Generation, Hash: b.Hash()}
	k.status, k.nonce = uplink.OfferStatus{Hash: append([]byte(nil), hash...), State: uplink.Applying}, rand.Text()
	go k.wake()
}

func (k *taker) Status() uplink.OfferStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

func (k *taker) snapshot() block.Snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return block.Snapshot{State: checks.Up, Since: time.Now(), At: time.Now(), Tunnels: []block.TunnelSnapshot{}, Checks: []block.CheckSnapshot{},
		Config: block.ConfigSnapshot{Generation: k.running.Generation, Hash: k.running.Hash, Mark: k.running.Generation}}
}

// run enrols avocet-1 and has it call until the test ends.
func (k *taker) run(c *collector) {
	token := identity.NewToken()
	hash := token.Hash()
	_, err := c.client().AddSite(c.Context(), centre.NewSite{ID: "avocet", Name: "Avocet Surgery", Networks: []string{"kestrel"},
		TokenSHA256: hex.EncodeToString(hash[:]), Expires: time.Now().Add(time.Hour)})
	must(c, err)
	ca, err := c.client().CA(c.Context())
	must(c, err)
	id, err := uplink.Enrol(c.Context(), uplink.Enrolment{Version: "0.1.0", Dir: filepath.Join(c.TempDir(), "identity"), Pack: identity.Pack{
		Site:      identity.Site{ID: "avocet", Name: "Avocet Surgery", Gateway: "avocet-1", Networks: []string{"kestrel"}},
		Collector: []string{"https://" + c.gateways}, CA: ca.PEM, Expires: time.Now().Add(time.Hour), Token: token}})
	must(c, err)
	up, err := uplink.New(uplink.Options{Identity: id, Version: "0.1.0", Slowest: time.Second, Snapshot: k.snapshot, Steering: k})
	must(c, err)
	k.mu.Lock()
	k.wake = up.Wake
	k.mu.Unlock()
	ctx, cancel := context.WithCancel(c.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := up.Control(ctx, func() {}); err != nil {
			c.Error(err)
		}
	})
	c.Cleanup(func() { cancel(); wg.Wait() })
}

func (k *taker) generations() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(k.offered)
}

// push is a config for avocet-1 and its way back.
func push(t *testing.T, alice, bob bundletest.Operator, generation uint64) centre.NewRollout {
	t.Helper()
	r := centre.NewRollout{Name: fmt.Sprint("fleet ", generation), Rings: []string{"hubs", "rest"}, Pause: centre.Pause{Gateways: 1, Share: 0.02, Within: 1}}
	p := centre.Push{Gateway: "avocet-1", Ring: 1}
	for i, to := range []*[]byte{&p.Bundle, &p.Back} {
		text := fmt.Sprintf("gateway = \"avocet-1\"\ngeneration = %d\nsigners = [%q, %q]\n", generation+uint64(i), alice.Line(), bob.Line())
		b := alice.Bundle(text, bundle.Config)
		*to = b.Bytes()
	}
	r.Pushes = []centre.Push{p}
	return r
}

// TestCollectorOfYesterdayPushesNothingOld goes the whole way with a gateway
// that calls: what it accepted since the backup stays, and pages say so.
func TestCollectorOfYesterdayPushesNothingOld(t *testing.T) {
	dir := t.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "backup.tar")
	c := start(t, data, "--listen-pages", "127.0.0.1:0", "--heartbeat", "1s")
	alice, bob := bundletest.New("alice"), bundletest.New("bob")

	k := &taker{t: t, wake: func() {}}
	k.run(c)
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited in vain until %s; offered %s\n%s", what, k.generations(), c.log)
			}
		}
	}
	state := func() (g centre.GatewayState) {
		if all, err := c.client().Fleet(t.Context()); err == nil && len(all) == 1 {
			g = all[0]
		}
		return g
	}
	applied := func(n uint64) func() bool {
		return func() bool {
			g := state()
			return g.Running.Generation == n && g.Desired == g.Running && g.State == block.ConfigApplied
		}
	}
	await("it calls", func() bool { return !state().LastSeen.IsZero() })
	start1 := push(t, alice, bob, 1)
	began, err := c.client().StartRollout(t.Context(), start1)
	must(t, err)
	await("generation 1 runs", applied(1))
	await("the rollout is through", func() bool {
		r, err := c.client().Rollout(t.Context(), began.ID)
		return err == nil && r.State == centre.RolloutDone
	})
	command(t, 0, "backup", file, "--data", data)
	next := push(t, alice, bob, 3)
	next.Pushes[0].Over = state().Running
	_, err = c.client().StartRollout(t.Context(), next)
	must(t, err)
	await("generation 3 runs", applied(3))

	c.stop()
	command(t, 0, "restore", "--force", file, "--data", data)
	c = start(t, data, "--listen-pages", "127.0.0.1:0", "--heartbeat", "1s", "--listen-gateways", c.gateways)
	restarted := time.Now()
	await("it calls again", func() bool { g := state(); return g.Mark == 3 && g.LastSeen.After(restarted.Add(3*time.Second)) })
	if g := state(); g.Desired.Generation != 1 || g.Running.Generation != 3 {
		t.Errorf("wanted %v, running %v", g.Desired, g.Running)
	}
	again := push(t, alice, bob, 2)
	again.Pushes[0].Over = state().Desired
	if _, err := c.client().StartRollout(t.Context(), again); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("a push of an old generation: %v", err)
	}
	_, page := ask(t, http.DefaultClient, "http://"+c.pages+"/")
	for _, want := range []string{"Frozen until", "restored from the backup of", "it has accepted generation 3, and the centre knows 1 at most"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	if got := k.generations(); got != "[1 3]" {
		t.Errorf("it was offered %s, want [1 3]", got)
	}
}
