package checks

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// stepped is t, of a bubble, by a wall clock that was set, with a monotonic
// reading, which a bubble's times lack. A Time is made by hand here: the layout
// is told in package time, and TestStepped holds it to that.
func stepped(t time.Time, by time.Duration) (made time.Time) {
	const monotonic = 1 << 63
	fields := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(&made))
	wall := t.Add(by)
	since1885 := wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	fields.wall = monotonic | uint64(since1885)<<30 | uint64(wall.Nanosecond())
	fields.ext = int64(t.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))) + 1
	return made
}

func TestStepped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		before := stepped(now, 0)
		after := stepped(now.Add(time.Second), time.Hour)
		if !before.Equal(now) || after.Sub(before) != time.Second || after.Round(0).Sub(before.Round(0)) != time.Hour+time.Second {
			t.Errorf("from %v to %v", before, after)
		}
	})
}

// TestClockStepsMoveNothing sets the wall clock by an hour and back under a
// thousand checks.
func TestClockStepsMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, seconds = 1000, 30
		var by atomic.Int64
		now := func() time.Time { return stepped(time.Now(), time.Duration(by.Load())) }
		r, sink := newTestRunner(t, RunnerOptions{now: now}, sharedKind(func(_ context.Context, _ time.Time, done func(Result)) {
			begin := now()
			time.AfterFunc(5*time.Millisecond, func() {
				done(Result{Verdict: OK, Start: begin, Sent: 1, Received: 1, RTT: []time.Duration{now().Sub(begin)}})
			})
		}))
		var specs []Spec
		for i := range n {
			specs = append(specs, Spec{Name: fmt.Sprint("check", i), Kind: "shared", Interval: time.Second})
		}
		r.Sync(specs)
		for range 3 { // forward, back, back
			pass(seconds / 3 * time.Second)
			by.Add(int64(time.Hour))
			if by.Load() == int64(2*time.Hour) {
				by.Store(int64(-time.Hour))
			}
		}
		pass(time.Second / 2)
		for _, st := range r.Status() {
			got := sink.of(st.Spec.Name)
			if len(got) < seconds || len(got) > seconds+1 {
				t.Fatalf("%s has run %d times in %d s", st.Spec.Name, len(got), seconds)
			}
			for i, res := range got {
				if i > 0 && res.Start.Sub(got[i-1].Start) != time.Second {
					t.Fatalf("%s: %v between two runs", st.Spec.Name, res.Start.Sub(got[i-1].Start))
				}
				if wall := res.Start.Round(0).Sub(res.Due.Round(0)); wall != 0 || res.Start.Sub(res.Due) != 0 {
					t.Fatalf("%s: %v late, %v by the wall clock", st.Spec.Name, res.Start.Sub(res.Due), wall)
				}
			}
			f := st.Figures
			if st.State != Up || f.Min != 5*time.Millisecond || f.P95 != 5*time.Millisecond || f.Jitter.Value != 0 || f.Sent != len(got) || f.Received != len(got) {
				t.Fatalf("%s: %s, %+v", st.Spec.Name, st.State, f)
			}
		}
		if lag := r.Lag(); lag.Max != 0 || lag.Missed != 0 {
			t.Errorf("lag %+v", lag)
		}
		if walls := sink.of("check0"); walls[len(walls)-1].Start.Round(0).Sub(walls[0].Start.Round(0)) > time.Minute {
			t.Error("the wall clock was not set back")
		}
	})
}
