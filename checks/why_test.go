package checks

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reasons keeps why states changed.
type reasons struct {
	mu   sync.Mutex
	told []string
}

func (*reasons) Sample(Spec, Result) {}

func (r *reasons) Edge(s Spec, e Edge) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprint(s.Name, " ", e.To, ": ", e.Detail))
}

// TestWhyAStateIsUnknownAgain: what a change of the config makes of a state that was
// known is told with why.
func TestWhyAStateIsUnknownAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sink reasons
		registry, err := NewRegistry(testKind("well", wellAfter(0)))
		if err != nil {
			t.Fatal(err)
		}
		r := NewRunner(RunnerOptions{Registry: registry, Sink: &sink})
		defer r.Close()
		r.Sync([]Spec{{Name: "changed", Kind: "well"}, {Name: "gone", Kind: "well"}})
		pass(2 * time.Minute)
		sink.told = nil
		r.Sync([]Spec{{Name: "changed", Kind: "well", Down: 2}})
		synctest.Wait()
		r.Maintain(true)
		r.Maintain(false)
		slices.Sort(sink.told)
		want := []string{"changed maintenance: maintenance", "changed unknown: maintenance has ended", "changed unknown: the check has changed", "gone unknown: the check is no longer in the config"}
		if !slices.Equal(sink.told, want) {
			t.Errorf("told %q, want %q", sink.told, want)
		}
	})
}
