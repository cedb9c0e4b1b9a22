package checks

import (
	"math"
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

// TestTailNeedsAHundred: from 10 to 50 ms a histogram has buckets 1.1 % wide.
func TestTailNeedsAHundred(t *testing.T) {
	var w window
	begin := time.Unix(0, 0)
	for i := range 100 {
		if f := w.figures(begin); f.P99 != 0 || f.PDV != 0 {
			t.Fatalf("p99 of %d times is %v", i, f.P99)
		}
		d := 10 * time.Millisecond
		if i >= 98 {
			d = 50 * time.Millisecond
		}
		w.add(begin, Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{d}})
	}
	f := w.figures(begin)
	if f.Min != 10*time.Millisecond || (f.P99-50*time.Millisecond).Abs() > 50*time.Millisecond*11/1000 || f.PDV != f.P99-f.Min {
		t.Errorf("got %+v", f)
	}
}

func TestFiguresKeepWhatIsOdd(t *testing.T) {
	var w window
	var c Counts
	at := time.Unix(0, 0)
	for _, r := range []Result{
		{Verdict: OK, Sent: 3, Received: 3, Odd: Odd{Duplicate: 1, Reordered: 2}},
		{Verdict: Degraded, Reason: Loss, Sent: 3, Received: 1, Odd: Odd{Late: 1, Corrupt: 1}},
		{Verdict: Unknown, Reason: SelfFault, Sent: 1, Received: 1, Odd: Odd{Unsent: 2, Dropped: 4}},
	} {
		w.add(at, r)
		c.add(r)
	}
	want := Odd{Late: 1, Duplicate: 1, Reordered: 2, Corrupt: 1, Unsent: 2, Dropped: 4}
	if f := w.figures(at); f.Odd != want || f.Sent != 6 || f.Received != 4 {
		t.Errorf("figures %+v", f)
	}
	wantCounts := Counts{OK: 1, Degraded: 1, Unknown: 1, Sent: 6, Received: 4, Late: 1, Duplicate: 1, Reordered: 2, Corrupt: 1, Unsent: 2, Dropped: 4}
	if c != wantCounts {
		t.Errorf("counts %+v", c)
	}
	if f := w.figures(at.Add(time.Hour)); f.Odd != (Odd{}) {
		t.Errorf("an hour later %+v", f.Odd)
	}
}

func TestLossBetween(t *testing.T) {
	for _, test := range []struct {
		lost, sent int
		low, high  float64
	}{
		{0, 0, 0, 1}, {0, 60, 0, 0.0602}, {1, 10, 0.0179, 0.4042}, {5, 10, 0.2366, 0.7634}, {10, 10, 0.7225, 1}, {10, 1000, 0.0054, 0.0183},
	} {
		low, high := Figures{Sent: test.sent, Received: test.sent - test.lost}.LossBetween()
		if math.Abs(low-test.low) > 5e-5 || math.Abs(high-test.high) > 5e-5 {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", test.lost, test.sent, low, high, test.low, test.high)
		}
	}
}

// TestJitter counts by hand: J += (|D| - J) / 16.
func TestJitter(t *testing.T) {
	ms := func(rtt ...int) (list []time.Duration) {
		for _, d := range rtt {
			list = append(list, time.Duration(d)*time.Millisecond)
		}
		return list
	}
	all := func(rtt ...int) Result {
		return Result{Verdict: OK, Sent: len(rtt), Received: len(rtt), RTT: ms(rtt...)}
	}
	answered := func(d int) Packet { return Packet{RTT: ms(d)[0], Fate: Answered} }
	for _, test := range []struct {
		name  string
		runs  []Result
		of    uint64
		value time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"one answer", []Result{all(10)}, 0, 0},
		{"one difference", []Result{all(10, 26)}, 1, time.Millisecond},
		{"two", []Result{all(10, 26, 10)}, 2, 1937500},
		{"across runs", []Result{all(10), all(26)}, 1, time.Millisecond},
		{"not across a lost one", []Result{all(10), {Verdict: Failed, Reason: Timeout, Sent: 1}, all(26)}, 0, 0},
		{"not where it is not known which was lost", []Result{all(10), {Verdict: Degraded, Reason: Loss, Sent: 3, Received: 2, RTT: ms(26, 26)}, all(26)}, 0, 0},
		{"where it is known", []Result{{Verdict: Degraded, Reason: Loss, Sent: 4, Received: 3, RTT: ms(10, 26, 26),
			Packets: []Packet{answered(10), answered(26), {Fate: Lost}, answered(26)}}}, 1, time.Millisecond},
		{"a late answer is lost", []Result{{Verdict: Degraded, Reason: Loss, Sent: 3, Received: 2, RTT: ms(10, 26),
			Packets: []Packet{answered(10), {RTT: time.Second, Fate: Late}, answered(26)}}}, 0, 0},
		{"what was not sent is no question", []Result{{Verdict: OK, Sent: 2, Received: 2, RTT: ms(10, 26), Odd: Odd{Unsent: 1},
			Packets: []Packet{answered(10), {Fate: Unsent}, answered(26)}}}, 1, time.Millisecond},
		{"not across a fault of ours", []Result{all(10), {Verdict: Unknown, Reason: SelfFault, Odd: Odd{Unsent: 1}}, all(26)}, 0, 0},
		{"not across a question that we cannot judge", []Result{all(10), {Verdict: Unknown, Reason: SelfFault, Sent: 1}, all(26)}, 0, 0},
		{"across a run that was left out", []Result{all(10), {Verdict: Unknown, Reason: Blocked}, all(26)}, 1, time.Millisecond},
		{"a run without questions", []Result{all(10), {Verdict: OK}, all(26)}, 1, time.Millisecond},
	} {
		var w window
		for _, r := range test.runs {
			if err := r.Valid(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			w.add(time.Unix(0, 0), r)
		}
		if j := w.figures(time.Unix(0, 0)).Jitter; j.Of != test.of || (j.Value-test.value).Abs() > 1 {
			t.Errorf("%s: %v of %d differences, want %v of %d", test.name, j.Value, j.Of, test.value, test.of)
		}
	}
}
