package checks

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestOtherKinds gives a running Runner other kinds: what is as it was goes on.
func TestOtherKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := func(name string, source any, detail string) Kind {
			k := testKind(name, wellAfter(time.Millisecond))
			if detail != "" {
				k = testKind(name, func(context.Context) Result { return Result{Verdict: Degraded, Reason: Assertion, Detail: detail} })
			}
			k.Source = source
			return k
		}
		first, second := new(int), new(int)
		r, told := newTestRunner(t, RunnerOptions{}, kind("built", nil, ""), kind("kept", first, ""), kind("changed", first, ""), kind("gone", first, ""))
		var specs []Spec
		for _, name := range []string{"built", "kept", "changed", "gone", "late"} {
			specs = append(specs, Spec{Name: name, Kind: name, Interval: 10 * time.Second, Up: 1})
		}
		r.Sync(specs)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		told.takeEdges()
		next, err := NewRegistry(kind("built", nil, ""), kind("kept", first, ""), kind("changed", second, "of now"), kind("late", second, "at last"))
		if err != nil {
			t.Fatal(err)
		}
		r.Use(next)
		r.Sync(specs)
		edges := told.takeEdges()
		slices.Sort(edges)
		if want := []string{"changed up>unknown not_run", "gone up>unknown not_run"}; !slices.Equal(edges, want) {
			t.Errorf("told %q, want %q", edges, want)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		last := map[string]Result{}
		for _, s := range r.Status() {
			last[s.Spec.Name] = s.Last
		}
		if last["built"].Verdict != OK || last["kept"].Verdict != OK || last["changed"].Detail != "of now" ||
			last["late"].Detail != "at last" || last["gone"].Reason != NotRun {
			t.Errorf("%+v", last)
		}
		if got := r.RunOnce(t.Context(), Spec{Name: "x", Kind: "late"}); got.Detail != "at last" {
			t.Errorf("once: %+v", got)
		}
	})
}

func TestCloseBut(t *testing.T) {
	var closed []string
	kind := func(name string, source any) Kind {
		k := testKind(name, wellAfter(time.Millisecond))
		k.Source, k.Close = source, func() error { closed = append(closed, name); return nil }
		return k
	}
	same, before, after := new(int), new(int), new(int)
	old, err := NewRegistry(kind("same", same), kind("changed", before), kind("gone", before))
	if err != nil {
		t.Fatal(err)
	}
	later, err := NewRegistry(kind("same", same), kind("changed", after), kind("new", after))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.CloseBut(later); err != nil || !slices.Equal(closed, []string{"changed", "gone"}) {
		t.Errorf("closed %q, %v", closed, err)
	}
}
