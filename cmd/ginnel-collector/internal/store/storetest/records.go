package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

func sites(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.Site(ctx, "avocet")
	wantErr(t, err, store.ErrNotFound)
	bittern, avocet := add(t, s, "bittern", 1), add(t, s, "avocet", 2)
	all, err := s.Sites(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "sites", all, []store.Site{avocet, bittern})

	avocet.Name, avocet.TokenHash, avocet.Networks = "Avocet House", [32]byte{3}, nil
	if err := s.AddSite(ctx, avocet); err != nil {
		t.Fatal(err)
	}
	got, err := s.Site(ctx, "avocet")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "site added again", got, avocet)
	_, err = s.RedeemToken(ctx, [32]byte{2}, "u", []byte("k"), T0)
	wantErr(t, err, store.ErrNotFound) // the earlier token is void

	other := bittern
	other.ID = "curlew"
	wantErr(t, s.AddSite(ctx, other), store.ErrUsed) // a second site takes the gateway of the first
}

// Two gateways of one site have packs at the same time.
func severalGateways(t *testing.T, s store.Store) {
	ctx := t.Context()
	for i, gateway := range []string{"egret-1", "egret-2"} {
		err := s.AddSite(ctx, store.Site{ID: "egret", Name: "Egret Hospital", Gateway: gateway, Networks: []string{"heron"},
			TokenHash: [32]byte{byte(i + 1)}, TokenExpires: T0.Add(time.Hour), Added: T0})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 { // their packs are out
		err := s.AddSite(ctx, store.Site{ID: "fulmar", Name: "Fulmar", Gateway: fmt.Sprintf("egret-%d", i+1), Networks: []string{"heron"}, Added: T0})
		wantErr(t, err, store.ErrUsed)
	}
	all, err := s.Sites(ctx)
	if err != nil || len(all) != 1 || all[0].Gateway != "egret-1" || all[0].TokenHash != [32]byte{1} {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, want := range []string{"egret-1", "egret-2"} {
		hash := [32]byte{byte(i + 1)}
		if got, err := s.TokenGateway(ctx, hash); err != nil || got != want {
			t.Errorf("the token is for %q, %v", got, err)
		}
		g, err := s.RedeemToken(ctx, hash, want, []byte(want), T0)
		if err != nil || g.Name != want || g.Site != "egret" {
			t.Errorf("%+v, %v", g, err)
		}
	}
	wantErr(t, s.AddSite(ctx, store.Site{ID: "fulmar", Name: "Fulmar", Gateway: "egret-2", Networks: []string{"heron"}, Added: T0}), store.ErrUsed)
	_, err = s.TokenGateway(ctx, [32]byte{9})
	wantErr(t, err, store.ErrNotFound)
}

func tokens(t *testing.T, s store.Store) {
	ctx := t.Context()
	site := add(t, s, "avocet", 1)
	_, err := s.RedeemToken(ctx, [32]byte{9}, "u1", []byte("k1"), T0)
	wantErr(t, err, store.ErrNotFound)
	_, err = s.RedeemToken(ctx, site.TokenHash, "u1", []byte("k1"), site.TokenExpires)
	wantErr(t, err, store.ErrExpired)
	_, err = s.Gateway(ctx, "avocet-1")
	wantErr(t, err, store.ErrNotFound)

	want := store.Gateway{Name: "avocet-1", Site: "avocet", InstanceUID: "u1", PublicKey: []byte("k1"), Enrolled: T0}
	for _, at := range []time.Time{T0, site.TokenExpires.Add(time.Hour)} { // a lost answer, found late
		got, err := s.RedeemToken(ctx, site.TokenHash, "u1", []byte("k1"), at)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "gateway", got, want)
	}
	for _, other := range [][2]string{{"u2", "k1"}, {"u1", "k2"}} {
		_, err = s.RedeemToken(ctx, site.TokenHash, other[0], []byte(other[1]), T0)
		wantErr(t, err, store.ErrUsed)
	}
	if got, _ := s.Site(ctx, "avocet"); got.TokenHash != [32]byte{} {
		t.Error("a spent token is still shown with its site")
	}

	// A second machine of the same name, by a new token, takes the first one's place.
	if err := s.SaveSnapshot(ctx, "avocet-1", block.Snapshot{}, T0); err != nil {
		t.Fatal(err)
	}
	site = add(t, s, "avocet", 2)
	if _, err := s.RedeemToken(ctx, site.TokenHash, "u2", []byte("k2"), T0.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	// The first one's token is good for nothing any more, its lost answer neither.
	_, err = s.RedeemToken(ctx, [32]byte{1}, "u1", []byte("k1"), T0.Add(2*time.Hour))
	wantErr(t, err, store.ErrUsed)
	want.InstanceUID, want.PublicKey, want.Enrolled = "u2", []byte("k2"), T0.Add(time.Hour)
	all, err := s.Gateways(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "gateways", all, []store.Gateway{want})
}

func snapshots(t *testing.T, s store.Store) {
	ctx := t.Context()
	site := add(t, s, "avocet", 1)
	if _, err := s.RedeemToken(ctx, site.TokenHash, "u", []byte("k"), T0); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Snapshot(ctx, "avocet-1")
	wantErr(t, err, store.ErrNotFound)
	half := 0.0112
	snap := block.Snapshot{Gateway: "avocet-1", State: checks.Up, Since: T0,
		Tunnels: []block.TunnelSnapshot{{Network: "kestrel", Figures: block.Figures{RTTp50: &half}}}}
	older := snap
	older.State = checks.Down
	for _, one := range []struct {
		snap block.Snapshot
		at   time.Duration
	}{{snap, time.Minute}, {older, time.Second}} {
		if err := s.SaveSnapshot(ctx, "avocet-1", one.snap, T0.Add(one.at)); err != nil {
			t.Fatal(err)
		}
	}
	got, arrived, err := s.Snapshot(ctx, "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "the newest snapshot", got, snap)
	wantSame(t, "its arrival", arrived, T0.Add(time.Minute))
	g, err := s.Gateway(ctx, "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "last seen", g.LastSeen, T0.Add(time.Minute))
	ingest(t, s, Pack(t, Block("avocet-1", 1, 1))) // an hour after T0
	g, _ = s.Gateway(ctx, "avocet-1")
	wantSame(t, "last seen with blocks", g.LastSeen, T0.Add(time.Hour))

	// The collector's clock was years ahead for a while.
	for _, at := range []time.Duration{20000 * time.Hour, 2 * time.Hour} {
		if err := s.SaveSnapshot(ctx, "avocet-1", older, T0.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	_, arrived, err = s.Snapshot(ctx, "avocet-1")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "arrival by the right clock", arrived, T0.Add(2*time.Hour))
	g, _ = s.Gateway(ctx, "avocet-1")
	wantSame(t, "last seen by the right clock", g.LastSeen, T0.Add(2*time.Hour))
}

func reports(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.Report(ctx, "avocet", "2026-10")
	wantErr(t, err, store.ErrNotFound)
	for _, body := range []string{`{"v":1}`, `{"v":2}`} {
		if err := s.SaveReport(ctx, "avocet", "2026-10", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Report(ctx, "avocet", "2026-10")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "report", string(got), `{"v":2}`)
	_, err = s.Report(ctx, "avocet", "2026-09")
	wantErr(t, err, store.ErrNotFound)
}

func audit(t *testing.T, s store.Store) {
	ctx := t.Context()
	first := store.Event{ID: 1, At: T0, Actor: "ops", From: "192.0.2.1", Act: "site add", Object: "avocet", Detail: "x", Old: "a", New: "b"}
	second := store.Event{ID: 2, At: T0.Add(time.Second), Actor: "-", Act: "enrol refused", Object: "avocet-1"}
	third := store.Event{ID: 3, At: T0.Add(time.Second), Actor: "ops", Act: "freeze", Object: "'; DROP TABLE audit; --"}
	for _, e := range []store.Event{first, second, third} {
		e.ID = 7 // is the store's to give
		if err := s.Audit(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Events(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "events", got, []store.Event{third, second, first})
	if got, _ = s.Events(ctx, 1); len(got) != 1 {
		t.Errorf("%d events, want 1", len(got))
	}
	for _, c := range []struct {
		f    store.EventFilter
		want []store.Event
	}{
		{store.EventFilter{Limit: 9, OldestFirst: true}, []store.Event{first, second, third}},
		{store.EventFilter{Limit: 2, OldestFirst: true}, []store.Event{first, second}},
		{store.EventFilter{Limit: 9, After: 1, OldestFirst: true}, []store.Event{second, third}},
		{store.EventFilter{Limit: 9, Before: 3}, []store.Event{second, first}},
		{store.EventFilter{Limit: 9, Actor: "ops"}, []store.Event{third, first}},
		{store.EventFilter{Limit: 9, Actor: "ops", Object: third.Object}, []store.Event{third}},
		{store.EventFilter{Limit: 9, Object: "nobody"}, nil},
	} {
		got, err := s.FindEvents(ctx, c.f)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "events", got, c.want)
	}
}

func exported(t *testing.T, s store.Store) {
	for _, want := range []int64{0, 7, 9} {
		if want > 0 {
			if err := s.SaveExported(t.Context(), "file x", want); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Exported(t.Context(), "file x")
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "exported", got, want)
	}
}
