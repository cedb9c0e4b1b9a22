package storetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Rollout makes a rollout to as many gateways, avocet-0 first, with its pushes
// and their bundles.
func Rollout(id string, gateways int) (store.Rollout, []store.Push, []store.Bundle) {
	r := store.Rollout{ID: id, Name: "fleet 3f2a91c", By: "alice", Rings: []string{"hubs", "rest"}, Window: "Mon-Thu 19:00-23:00",
		Pause: centre.Pause{Gateways: 1, Share: 0.02, Within: 600}, Began: T0, State: centre.RolloutRunning, Live: true}
	var pushes []store.Push
	var bundles []store.Bundle
	for i := range gateways {
		p := store.Push{Gateway: fmt.Sprintf("avocet-%d", i), Ring: i % 2, Needs: []string{"hub-north"}, Progress: []byte(`{}`)}
		for j, ref := range []*centre.ConfigRef{&p.Config, &p.Back} {
			text := fmt.Sprintf("%s %s %d\n", id, p.Gateway, j)
			sum := sha256.Sum256([]byte(text))
			*ref = centre.ConfigRef{Generation: uint64(15 + j), Hash: hex.EncodeToString(sum[:])}
			bundles = append(bundles, store.Bundle{Gateway: p.Gateway, ConfigRef: *ref, Bytes: []byte(text)})
		}
		pushes = append(pushes, p)
	}
	return r, pushes, bundles
}

func rollouts(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.Rollout(ctx, "1")
	wantErr(t, err, store.ErrNotFound)
	r, pushes, bundles := Rollout("1", 3)
	pushes[2].Back, pushes[2].Apart, pushes[2].Window = centre.ConfigRef{}, []string{"kestrel"}, "always"
	act := store.Event{At: T0, Actor: "alice", From: "192.0.2.9", Act: "rollout", Object: "1", New: "3 gateways"}
	wantErr(t, s.SaveRollout(ctx, r, nil, nil, nil), store.ErrNotFound)
	if err := s.StartRollout(ctx, r, pushes, bundles, []store.Event{act}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Rollout(ctx, "1")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "rollout", got, r)
	wantPushes(t, s, "1", pushes)

	// Another is refused, whole, until this one has ended.
	other, otherPushes, otherBundles := Rollout("2", 1)
	wantErr(t, s.StartRollout(ctx, other, otherPushes, otherBundles, []store.Event{act}), store.ErrBusy)
	if some, err := s.Bundles(ctx, []string{otherPushes[0].Config.Hash}); len(some) > 0 || err != nil {
		t.Errorf("something of the refused one is kept: %v, %v", some, err)
	}

	r.State, r.Reason, r.Ring, r.Live, r.Ended = centre.RolloutDone, "x", 2, false, T0.Add(time.Hour)
	pushes[1].Progress = []byte(`{"stage":"applied"}`)
	wanted := store.Wanted{Gateway: "avocet-1", ConfigRef: pushes[1].Config, Rollout: "1", Since: T0, Stopped: true}
	if err := s.SaveRollout(ctx, r, pushes[1:2], []store.Wanted{wanted}, []store.Event{act}); err != nil {
		t.Fatal(err)
	}
	wantPushes(t, s, "1", pushes)
	if err := s.StartRollout(ctx, other, otherPushes, append(otherBundles, bundles[0]), nil); err != nil {
		t.Fatalf("when the first has ended, and with a bundle that is there: %v", err)
	}
	all, err := s.Rollouts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "rollouts", all, []store.Rollout{other, r})
	done := other // nothing in it, so it is at its end at once
	done.ID, done.Ended = "3", T0
	if err := s.StartRollout(ctx, done, nil, nil, nil); err != nil {
		t.Errorf("one that has ended beside one that has not: %v", err)
	}

	wanted.Stopped, wanted.ConfigRef = false, pushes[1].Back
	if err := s.SaveRollout(ctx, r, nil, []store.Wanted{wanted, {Gateway: "avocet-0", Rollout: "1", Since: T0}}, nil); err != nil {
		t.Fatal(err)
	}
	want, err := s.Wanted(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "what is wanted", want, []store.Wanted{{Gateway: "avocet-0", Rollout: "1", Since: T0}, wanted})
	kept, err := s.Bundles(ctx, []string{bundles[3].Hash, "ab", bundles[0].Hash, otherBundles[0].Hash[:63] + "x"})
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "bundles", kept, []store.Bundle{bundles[3], bundles[0]})
	if acts, _ := s.Events(ctx, 9); len(acts) != 2 || acts[0].From != act.From || acts[0].New != act.New {
		t.Errorf("acts: %+v", acts)
	}
}

func wantPushes(t *testing.T, s store.Store, id string, want []store.Push) {
	t.Helper()
	got, err := s.Pushes(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "pushes", got, want)
}

// manyPushes is the largest fleet in one transaction.
func manyPushes(t *testing.T, s store.Store) {
	const many = 10_000
	r, pushes, bundles := Rollout("1", many)
	began := time.Now()
	if err := s.StartRollout(t.Context(), r, pushes, bundles, nil); err != nil {
		t.Fatal(err)
	}
	var wanted []store.Wanted
	for i := range pushes {
		pushes[i].Progress = []byte(`{"stage":"offered"}`)
		wanted = append(wanted, store.Wanted{Gateway: pushes[i].Gateway, ConfigRef: pushes[i].Config, Rollout: "1", Since: T0})
	}
	started := time.Since(began)
	if err := s.SaveRollout(t.Context(), r, pushes, wanted, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pushes: recorded in %v, all of them changed in %v", many, started.Round(time.Millisecond), (time.Since(began) - started).Round(time.Millisecond))
	wantPushes(t, s, "1", pushes)
}

func inForce(t *testing.T, s store.Store) {
	ctx := t.Context()
	act := store.Event{At: T0, Actor: "alice", Act: "x", Object: "y"}
	f, err := s.Freeze(ctx)
	if err != nil || f != (centre.Freeze{}) {
		t.Errorf("frozen at first: %+v, %v", f, err)
	}
	for _, f := range []centre.Freeze{{Until: T0, Why: "elections", By: "alice"}, {}} {
		if err := s.SetFreeze(ctx, f, act); err != nil {
			t.Fatal(err)
		}
		got, err := s.Freeze(ctx)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "freeze", got, f)
	}

	_, err = s.List(ctx)
	wantErr(t, err, store.ErrNotFound)
	seven := store.List{Number: 7, Bytes: []byte("seven"), Since: T0, By: "alice"}
	if err := s.SaveList(ctx, seven, act); err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{7, 6, 0, 1 << 63} {
		err := s.SaveList(ctx, store.List{Number: n, Bytes: []byte("x"), Since: T0}, act)
		if !errors.Is(err, store.ErrOld) {
			t.Errorf("list %d after 7: %v", n, err)
		}
	}
	got, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "list", got, seven)

	for _, ask := range []map[string][]string{{"avocet-1": {"kestrel", "heron"}}, {"avocet-1": {"kestrel"}, "bittern-1": {"heron"}}} {
		if err := s.AskKeys(ctx, ask); err != nil {
			t.Fatal(err)
		}
	}
	asked, err := s.AskedKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "keys asked for", asked, map[string][]string{"avocet-1": {"heron", "kestrel"}, "bittern-1": {"heron"}})
	if acts, _ := s.Events(ctx, 9); len(acts) != 3 {
		t.Errorf("%d acts, want 3: two freezes, one list", len(acts))
	}
}

func heard(t *testing.T, s store.Store) {
	ctx := t.Context()
	one := func(gateway string, state checks.State, after time.Duration) store.Heard {
		return store.Heard{Gateway: gateway, Snapshot: block.Snapshot{Gateway: gateway, State: state}, At: T0.Add(after)}
	}
	batch := []store.Heard{one("bittern-1", checks.Up, 0), one("avocet-1", checks.Down, time.Minute)}
	if err := s.SaveSnapshots(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveSnapshots(ctx, []store.Heard{one("avocet-1", checks.Up, 0), one("bittern-1", checks.Down, time.Second)}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Heard(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "heard", got, []store.Heard{batch[1], one("bittern-1", checks.Down, time.Second)})
}
