package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// push is one gateway's part of a push of generation n, with the next as its
// way back.
func (r *rig) push(gateway string, ring int, n uint64) centre.Push {
	r.t.Helper()
	return centre.Push{Gateway: gateway, Ring: ring, Bundle: desired(gateway, n), Back: desired(gateway, n+1)}
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
