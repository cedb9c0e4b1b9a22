package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func proofs(t *testing.T, s store.Store) {
	ctx := t.Context()
	proof := func(n int) identity.Proof {
		return identity.Proof{Text: fmt.Append(nil, "text ", n), MAC: []byte{1}, Signature: []byte{2}}
	}
	save := func(gateway, device string, at time.Time, list ...identity.Proof) error {
		return s.SaveProofs(ctx, gateway, []byte(device), list, at)
	}
	want := func(want ...centre.Keys) {
		t.Helper()
		got, err := s.Proofs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "proofs", got, want)
	}
	for _, err := range []error{
		save("bittern-1", "x", T0, proof(1)),
		save("avocet-1", "a", T0, proof(2)),
		save("avocet-1", "a", T0.Add(time.Hour), proof(2), proof(1)), // the first is there
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	avocet := centre.Keys{Gateway: "avocet-1", Proofs: []identity.Proof{proof(2), proof(1)}, Arrived: []time.Time{T0, T0.Add(time.Hour)}}
	bittern := centre.Keys{Gateway: "bittern-1", Proofs: []identity.Proof{proof(1)}, Arrived: []time.Time{T0}}
	want(avocet, bittern)

	var many []identity.Proof
	for n := range store.MaxProofs {
		many = append(many, proof(100+n))
	}
	wantErr(t, save("avocet-1", "a", T0, many...), store.ErrFull)
	want(avocet, bittern) // none of them
	if err := save("avocet-1", "b", T0, many...); err != nil {
		t.Errorf("another device has room of its own: %v", err)
	}
}

func boots(t *testing.T, s store.Store) {
	ctx := t.Context()
	one := store.Boots{Device: []byte("a"), Boots: []store.Boot{{Copy: centre.Copy{Boot: "b1", From: "192.0.2.1", Seen: T0}}}}
	two := store.Boots{Device: []byte("a"), Boots: []store.Boot{{Copy: centre.Copy{Boot: "b2", From: "192.0.2.2", Seen: T0}, Copied: true}, one.Boots[0]}}
	for _, b := range []store.Boots{one, two} {
		if err := s.SaveBoots(ctx, "avocet-1", b); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Boots(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "boots", all, map[string]store.Boots{"avocet-1": two})
}
