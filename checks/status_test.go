package checks

import (
	"testing"
	"time"
)

func TestFiguresForget(t *testing.T) {
	var w window
	begin := time.Unix(0, 0)
	for i := range 20 {
		at := begin.Add(time.Duration(i) * time.Minute)
		w.add(at, Result{Verdict: Failed, Reason: Loss, Sent: 2, Received: 1, RTT: []time.Duration{time.Duration(i+1) * time.Millisecond}})
		w.add(at, Result{Verdict: Unknown, Reason: SelfFault, Sent: 100})
	}
	f := w.figures(begin.Add(19 * time.Minute))
	if loss, _ := f.Loss(); f.Timed != 5 || loss != 0.5 || f.P95 != 20*time.Millisecond {
		t.Errorf("got %+v", f)
	}
	if f := w.figures(begin.Add(time.Hour)); f.Timed != 0 || f.Sent != 0 {
		t.Errorf("an hour later %+v", f)
	}
}
