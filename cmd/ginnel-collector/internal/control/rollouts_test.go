package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// begin starts a rollout of generation n to gateways, all in one ring.
func (r *rig) begin(n uint64, gateways ...string) centre.Rollout {
	r.t.Helper()
	asked := centre.NewRollout{Name: "plan", Rings: []string{"hubs", "all"}, Pause: centre.Pause{Gateways: 1}}
	known := r.fleet()
	for _, name := range gateways {
		p := r.push(name, 1, n)
		p.Over = known[name].Desired
		asked.Pushes = append(asked.Pushes, p)
	}
	began, err := r.server.StartRollout(r.t.Context(), alice, asked)
	if err != nil {
		r.t.Fatal(err)
	}
	return began
}

func (r *rig) stage(id, gateway, want string) {
	r.t.Helper()
	eventually(r.t, gateway+" is "+want, func() bool {
		for _, p := range r.rollout(id).Gateways {
			if p.Gateway == gateway {
				return p.State == want
			}
		}
		return false
	})
}

// A collector that dies in the middle of trials confirms them when it is back,
// and goes on with the rollout where it was.
func TestRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := r.steers("avocet"), r.steers("bittern")
	a.set(func() { a.deaf = true })
	n := centre.NewRollout{Rings: []string{"hubs", "canary", "rest"}, Pushes: []centre.Push{r.push("avocet-1", 1, 15), r.push("bittern-1", 2, 15)}}
	began, err := r.server.StartRollout(t.Context(), alice, n)
	if err != nil {
		t.Fatal(err)
	}
	r.stage(began.ID, "avocet-1", "applying")
	r.stop()
	a.set(func() { a.deaf = false })
	r.start()
	got := r.is(began.ID, centre.RolloutDone)
	if a.generations() != "[15]" || b.generations() != "[15]" || got.Rings[1].Applied+got.Rings[2].Applied != 2 {
		t.Errorf("avocet-1 tried %s, bittern-1 %s; %+v", a.generations(), b.generations(), got.Rings)
	}
}

// A hold ends with a receipt, however long after; a gateway that is off takes
// its config when it comes back.
func TestHoldAndComingBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.steers("avocet")
	r.enrolled("bittern") // and never heard
	a.set(func() { a.deaf = true })
	began := r.begin(15, "avocet-1", "bittern-1")
	r.stage(began.ID, "avocet-1", "applying")
	if _, err := r.server.MoveRollout(t.Context(), alice, began.ID, centre.MoveAbort); err != nil {
		t.Fatal(err)
	}
	a.set(func() { a.deaf = false })
	r.stage(began.ID, "avocet-1", "applied")

	began = r.begin(17, "avocet-1", "bittern-1")
	got := r.is(began.ID, centre.RolloutDone)
	if !got.Gateways[1].Offline || got.Rings[1].Offline != 1 {
		t.Errorf("bittern-1 is not said to be offline: %+v", got)
	}
	newer := r.begin(19, "avocet-1")
	r.is(newer.ID, centre.RolloutDone)
	r.stage(began.ID, "avocet-1", "superseded")
	b := r.steers("bittern")
	r.stage(began.ID, "bittern-1", "applied")
	if b.generations() != "[17]" || a.generations() != "[15 17 19]" {
		t.Errorf("avocet-1 tried %s, bittern-1 %s", a.generations(), b.generations())
	}
	if all, err := r.server.Rollouts(t.Context()); err != nil || all[0].State != centre.RolloutDone {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := r.server.MoveRollout(t.Context(), alice, newer.ID, centre.MoveBack); err != nil {
		t.Fatal(err)
	}
	for range 2 { // read, and remembered
		all, err := r.server.Rollouts(t.Context())
		if err != nil || len(all) != 3 || all[0].ID != newer.ID || all[0].State == centre.RolloutDone || all[2].State != centre.RolloutAborted || all[2].Rings[1].Applied != 1 || all[2].Gateways != nil {
			t.Fatalf("%+v, %v", all, err)
		}
	}
	r.is(newer.ID, centre.RolloutUndone)
	if a.generations() != "[15 17 19 20]" {
		t.Errorf("avocet-1 tried %s", a.generations())
	}
}

// A collector restored from an older copy offers nothing that a gateway has
// outgrown, and says so. The gateways' own test is that helm complains.
func TestOlderStore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.steers("avocet")
	r.is(r.begin(15, "avocet-1").ID, centre.RolloutDone)
	for _, why := range []string{"", "a backup\x1b[2J", "two\nlines", strings.Repeat("x", mostName+1)} {
		if _, err := r.server.SetFreeze(t.Context(), alice, centre.Freeze{Until: time.Now().Add(time.Hour), Why: why}); codeOf(err) != "bad_freeze" {
			t.Errorf("a freeze because of %q: %v", why, err)
		}
	}
	if _, err := r.server.SetFreeze(t.Context(), alice, centre.Freeze{Until: time.Now().Add(time.Hour), Why: "a backup"}); err != nil {
		t.Fatal(err)
	}
	second := r.begin(17, "avocet-1")
	file := filepath.Join(t.TempDir(), "copy.db")
	if err := r.store.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if _, err := r.server.SetFreeze(t.Context(), alice, centre.Freeze{}); err != nil {
		t.Fatal(err)
	}
	r.is(second.ID, centre.RolloutDone)
	r.is(r.begin(19, "avocet-1").ID, centre.RolloutDone)

	r.stop()
	older, err := sqlite.Open(t.Context(), file, slog.New(slog.DiscardHandler))
	if err := errors.Join(err, r.store.Close()); err != nil {
		t.Fatal(err)
	}
	r.store = older
	r.start()
	got := r.is(second.ID, centre.RolloutPaused) // though it is frozen
	if want := "avocet-1: it has accepted generation 19 already, this is 17; is the collector's store an older copy?"; got.Reason != want {
		t.Errorf("reason %q, want %q", got.Reason, want)
	}
	if g := r.fleet()["avocet-1"]; g.Mark != 19 || g.Desired.Generation >= 19 {
		t.Errorf("%+v", g)
	}
	eventually(t, "it has called twice since", func() bool { return r.agent("avocet-1").Seen.After(got.Began) && h.generations() == "[15 17 19]" })
}

// What failed there is not offered again; what blamed nobody is, a while later.
func TestFailedIsNotOfferedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, b := r.steers("avocet"), r.steers("bittern")
	a.set(func() { a.fails = "no route" })
	b.set(func() { b.fails = "inconclusive: heron is dead under the old config too" })
	began := r.begin(15, "avocet-1", "bittern-1")
	r.stage(began.ID, "avocet-1", "failed")
	r.stage(began.ID, "bittern-1", "waiting")
	r.is(began.ID, centre.RolloutPaused)
	if _, err := r.server.MoveRollout(t.Context(), alice, began.ID, centre.MoveResume); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.start() // forgets what gateways said, and asks
	seen := time.Now()
	eventually(t, "it has called", func() bool { return r.agent("avocet-1").Seen.After(seen.Add(1500 * time.Millisecond)) })
	if a.generations() != "[15]" || b.generations() != "[15]" {
		t.Errorf("avocet-1 tried %s, bittern-1 %s", a.generations(), b.generations())
	}
	if p := r.rollout(began.ID).Gateways[1]; !strings.HasPrefix(p.Reason, "inconclusive") {
		t.Errorf("%+v", p)
	}
}

func TestPushesThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.steers("avocet")
	r.is(r.begin(15, "avocet-1").ID, centre.RolloutDone)
	now := r.fleet()["avocet-1"].Desired
	good := func() centre.NewRollout {
		p := r.push("avocet-1", 1, 17)
		p.Over = now
		return centre.NewRollout{Name: "x", Rings: []string{"hubs", "rest"}, Pushes: []centre.Push{p}}
	}
	for _, tt := range []struct {
		name   string
		change func(n *centre.NewRollout)
		status int
		want   string
	}{
		{"nothing", func(n *centre.NewRollout) { n.Pushes = nil }, 400, "nothing to push"},
		{"no hubs", func(n *centre.NewRollout) { n.Rings = []string{"rest"} }, 400, `first ring is not "hubs"`},
		{"no such ring", func(n *centre.NewRollout) { n.Pushes[0].Ring = 2 }, 400, "ring 2 of 2"},
		{"twice", func(n *centre.NewRollout) { n.Pushes = append(n.Pushes, n.Pushes[0]) }, 400, "there twice"},
		{"a window that is none", func(n *centre.NewRollout) { n.Window = "at night" }, 400, "window"},
		{"another window that is none", func(n *centre.NewRollout) { n.Pushes[0].Window = "at night" }, 400, "avocet-1: window"},
		{"a share that is none", func(n *centre.NewRollout) { n.Pause.Share = 2 }, 400, "pause"},
		{"needs what comes later", func(n *centre.NewRollout) {
			n.Pushes[0].Ring, n.Pushes[0].Needs = 0, []string{"bittern-1"}
			n.Pushes = append(n.Pushes, r.push("bittern-1", 1, 1))
		}, 400, "needs bittern-1, which comes later"},
		{"unsigned", func(n *centre.NewRollout) { n.Pushes[0].Bundle = []byte("gateway = \"avocet-1\"\n") }, 400, "not signed"},
		{"altered", func(n *centre.NewRollout) {
			n.Pushes[0].Bundle = altered(t, "gateway = \"avocet-1\"\ngeneration = 17\n", bundle.Config)
		}, 400, "signature is not of this text"},
		{"a list's signature", func(n *centre.NewRollout) {
			n.Pushes[0].Back = signedText("gateway = \"avocet-1\"\ngeneration = 18\n", bundle.List)
		}, 400, "another purpose"},
		{"a leap", func(n *centre.NewRollout) { n.Pushes[0] = r.push("avocet-1", 1, 1<<61); n.Pushes[0].Over = now }, 400, "not so far above 15"},
		{"no config", func(n *centre.NewRollout) { n.Pushes[0].Bundle = signedText("x = 1\n", bundle.Config) }, 400, "unknown key"},
		{"of another", func(n *centre.NewRollout) { n.Pushes[0].Bundle = desired("bittern-1", 17) }, 400, "is one of bittern-1"},
		{"the way back of another", func(n *centre.NewRollout) { n.Pushes[0].Back = desired("bittern-1", 18) }, 400, "is one of bittern-1"},
		{"the way back is older", func(n *centre.NewRollout) { n.Pushes[0].Back = desired("avocet-1", 16) }, 400, "not above 17"},
		{"an old generation", func(n *centre.NewRollout) { n.Pushes[0] = r.push("avocet-1", 1, 15); n.Pushes[0].Over = now }, 409, "generation 15 is not above 15"},
		{"planned over something else", func(n *centre.NewRollout) { n.Pushes[0].Over.Hash = "ab" }, 409, "generation 15"},
		{"planned over nothing", func(n *centre.NewRollout) { n.Pushes[0].Over = centre.ConfigRef{} }, 409, "ginnelctl plan again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := good()
			tt.change(&n)
			_, err := r.server.StartRollout(t.Context(), alice, n)
			no, ok := errors.AsType[*Refusal](err)
			if !ok || no.Status != tt.status || !strings.Contains(no.Reason+no.Advice, tt.want) {
				t.Errorf("%v, want %d %q", err, tt.status, tt.want)
			}
		})
	}
	if all, err := r.server.Rollouts(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("%d rollouts, %v", len(all), err)
	}
	if _, err := r.server.StartRollout(t.Context(), alice, good()); err != nil {
		t.Errorf("the good one: %v", err)
	}
	if _, err := r.server.MoveRollout(t.Context(), alice, "99", centre.MovePause); codeOf(err) != "no_rollout" {
		t.Errorf("one that is not there: %v", err)
	}
}

// altered is a text under a signature of another.
func altered(t *testing.T, text, namespace string) []byte {
	t.Helper()
	b, err := bundle.Parse(signedText("# "+text, namespace))
	if err != nil {
		t.Fatal(err)
	}
	b.Text = []byte(text)
	return b.Bytes()
}

func TestListArrivesAndShutsOut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.steers("avocet")
	eventually(t, "it was heard", func() bool { return r.agent("avocet-1").Version != "" })
	sum := sha256.Sum256(r.server.keys["avocet-1"])
	list := bundle.DenyList{Number: 7, Denials: []bundle.Denial{{Kind: bundle.Isolate, Gateways: []string{"fulmar-1"}, Networks: []string{"heron"}, Why: "x", By: "alice", At: time.Now().UTC()}}}
	put := func(l bundle.DenyList) error {
		_, err := r.server.SetList(t.Context(), alice, centre.NewList{Bundle: signedText(l.Format(), bundle.List)})
		return err
	}
	if err := put(list); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway has it", func() bool { l, err := r.server.List(t.Context()); return err == nil && l.Reached == 1 && l.All == 1 })
	if err := put(list); codeOf(err) != "list_outdated" {
		t.Errorf("the same number again: %v", err)
	}
	if _, err := r.server.SetList(t.Context(), alice, centre.NewList{Bundle: []byte("number = 8\n")}); codeOf(err) != "bad_list" {
		t.Errorf("unsigned: %v", err)
	}
	next := list
	next.Number = 8
	if _, err := r.server.SetList(t.Context(), alice, centre.NewList{Bundle: altered(t, next.Format(), bundle.List)}); codeOf(err) != "bad_list" {
		t.Errorf("altered: %v", err)
	}
	next.Number = 1 << 61
	if err := put(next); codeOf(err) != "bad_list" {
		t.Errorf("a number behind which there is hardly another: %v", err)
	}
	r.stop()
	r.start()
	if l, err := r.server.List(t.Context()); err != nil || l.Number != 7 || l.By != "alice" {
		t.Errorf("after a restart: %+v, %v", l, err)
	}
	list.Number, list.Denials = 8, []bundle.Denial{{Kind: bundle.Revoke, Gateways: []string{"avocet-1"}, Device: hex.EncodeToString(sum[:]), Why: "stolen", By: "alice", At: time.Now().UTC()}}
	if err := put(list); err != nil {
		t.Fatal(err)
	}
	if _, err := postBlocks(r, h.id); err == nil || err.Error() != "403 device_revoked" {
		t.Errorf("the revoked device: %v", err)
	}
	r.wantActs("list", "list")
}

// A gateway gets receipts for what it says that it tries, in its own name, also of
// a config that came on a stick.
func TestReceipts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.steers("avocet")
	r.is(r.begin(15, "avocet-1").ID, centre.RolloutDone)
	own, other := hashOf(t, desired("avocet-1", 15)), hashOf(t, desired("bittern-1", 15))
	for _, tt := range []struct {
		gateway, hash, nonce string
		want                 bool
	}{
		{"avocet-1", own, "n", true},
		{"bittern-1", own, "n", true},
		{"avocet-1", other, "n", true},
		{"avocet-1", own, "", false},
		{"avocet-1", own, strings.Repeat("n", maxNonce+1), false},
		{"avocet-1", own, "n\nginnel receipt 1", false},
		{"avocet-1", "no hash", "n", false},
	} {
		got := r.server.receipt(t.Context(), tt.gateway, wire.Said{Nonce: tt.nonce, Hash: tt.hash})
		if got != nil && got.Verify("curlew-1", r.server.CA()) == nil {
			t.Errorf("%s, %.12s: good for another gateway, too", tt.gateway, tt.hash)
		}
		if (got != nil) != tt.want || got != nil && got.Verify(tt.gateway, r.server.CA()) != nil {
			t.Errorf("%s, %.12s, %.12q: %+v", tt.gateway, tt.hash, tt.nonce, got)
		}
	}
}

// A gateway is in a hurry while it is its turn, and then no more.
func TestPaceAndKeysAskedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.server.o.Heartbeat = 30 * time.Second
	h := r.steers("avocet")
	h.set(func() { h.deaf = true })
	eventually(t, "it was heard", func() bool { return r.agent("avocet-1").Version != "" })
	pace := func() uint64 {
		r.server.mu.Lock()
		defer r.server.mu.Unlock()
		return r.server.agents["avocet-1"].beat
	}
	if got := pace(); got != 30 {
		t.Errorf("at first every %d s", got)
	}
	n := centre.NewRollout{Rings: []string{"hubs", "all"}, Pushes: []centre.Push{r.push("avocet-1", 1, 15)}, Wanted: map[string][]string{"avocet-1": {"merlin"}}}
	began, err := r.server.StartRollout(t.Context(), alice, n)
	if err != nil {
		t.Fatal(err)
	}
	h.wake()
	eventually(t, "it hurries", func() bool { return pace() == 2 })
	h.set(func() { h.deaf = false })
	r.is(began.ID, centre.RolloutDone)
	h.wake()
	eventually(t, "it does no more", func() bool { return pace() == 30 })
	eventually(t, "it was asked for a key", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return fmt.Sprint(h.wanted) == "[merlin]" })
}
