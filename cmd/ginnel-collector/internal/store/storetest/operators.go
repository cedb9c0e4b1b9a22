package storetest

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

func operators(t *testing.T, s store.Store) {
	ctx := t.Context()
	sam := store.Operator{Name: "sam", Serial: "0a", Added: T0, Expires: T0.Add(time.Hour)}
	kim := store.Operator{Name: "kim", Organisation: "kestrel", Serial: "0b", Added: T0, Expires: T0.Add(time.Hour)}
	for _, o := range []store.Operator{sam, kim} {
		if err := s.AddOperator(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, s.AddOperator(ctx, sam), store.ErrUsed)
	all, err := s.Operators(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "operators", all, []store.Operator{kim, sam})
	if err := s.RemoveOperator(ctx, "kim", T0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.RemoveOperator(ctx, "kim", T0), store.ErrNotFound)
	_, err = s.Operator(ctx, "kim")
	wantErr(t, err, store.ErrNotFound)
	kim.Serial, kim.Organisation = "0c", "heron"
	if err := s.AddOperator(ctx, kim); err != nil {
		t.Fatal(err)
	}
	got, err := s.Operator(ctx, "kim")
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "added again", got, kim)

	for _, of := range []map[string]string{{"kestrel": "kestrel", "heron": "x"}, {"heron": "heron"}} {
		if err := s.SetOrganisations(ctx, of); err != nil {
			t.Fatal(err)
		}
	}
	of, err := s.Organisations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, "organisations", of, map[string]string{"kestrel": "kestrel", "heron": "heron"})
}
