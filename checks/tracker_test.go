package checks

import (
	"strings"
	"testing"
	"time"
)

// TestTracker feeds results, a letter and a minute each: o ok, g degraded,
// f failed, u unknown, M and m begin and end maintenance. An edge reads
// "minute of its start:state", written at the minute in which it was found.
func TestTracker(t *testing.T) {
	for _, test := range []struct {
		name     string
		down, up int
		results  string
		want     string
	}{
		{"two successes are up, since the first", 0, 0, "oo", "1>0:up"},
		{"one success is nothing yet", 0, 0, "o", ""},
		{"three failures are down, since the first", 0, 0, "fff", "2>0:down"},
		{"two failures are nothing", 0, 0, "ooffoff", "1>0:up"},
		{"up, then down, then up", 0, 0, "oofffoo", "1>0:up 4>2:down 6>5:up"},
		{"three times degraded", 0, 0, "ooggg", "1>0:up 4>2:degraded"},
		{"neither good: the worst that is sure", 0, 0, "oogfgoo", "1>0:up 4>2:degraded 6>5:up"},
		{"degraded, then down, each since its first", 0, 0, "oogfff", "1>0:up 4>2:degraded 5>3:down"},
		{"from down to degraded", 0, 0, "fffgg", "2>0:down 4>3:degraded"},
		{"from down by ok and degraded", 0, 0, "fffogoo", "2>0:down 4>3:degraded 6>5:up"},
		{"one self-fault between successes", 0, 0, "oouoo", "1>0:up"},
		{"one self-fault between failures", 0, 0, "ooffuf", "1>0:up 5>2:down"},
		{"one self-fault while it comes back", 0, 0, "fffouo", "2>0:down 5>3:up"},
		{"three unknown", 0, 0, "oouuu", "1>0:up 4>2:unknown"},
		{"what was known before does not count after", 0, 0, "ooouuuo", "1>0:up 5>3:unknown"},
		{"unknown, then up", 0, 0, "oouuuoo", "1>0:up 4>2:unknown 6>5:up"},
		{"failures before and after unknown", 0, 0, "ooffuuuff", "1>0:up 6>4:unknown"},
		{"it never agrees with itself", 0, 0, "ofofo", "4>0:degraded"},
		{"unknown from the start", 0, 0, "uuuu", ""},
		{"own thresholds", 1, 1, "ofo", "0>0:up 1>1:down 2>2:up"},
		{"own thresholds, unknown", 2, 3, "oooffuu", "2>0:up 4>3:down 6>5:unknown"},
		{"maintenance", 0, 0, "ooMfffmoo", "1>0:up 2>2:maintenance 6>6:unknown 8>7:up"},
		{"maintenance twice is once", 0, 0, "MMm", "0>0:maintenance 2>2:unknown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := edges(test.down, test.up, test.results); got != test.want {
				t.Errorf("%s: got %q, want %q", test.results, got, test.want)
			}
		})
	}
}

func edges(down, up int, results string) string {
	begin := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	tracker := NewTracker(Spec{Down: down, Up: up}, begin)
	verdicts := map[rune]Result{
		'o': {Verdict: OK}, 'g': {Verdict: Degraded, Reason: Slow},
		'f': {Verdict: Failed, Reason: Timeout}, 'u': {Verdict: Unknown, Reason: SelfFault},
	}
	var found []string
	for i, c := range results {
		at := begin.Add(time.Duration(i) * time.Minute)
		var e Edge
		var changed bool
		if r, ok := verdicts[c]; ok {
			r.Start = at
			e, changed = tracker.Observe(r)
		} else {
			e, changed = tracker.Maintain(c == 'M', at)
		}
		if changed {
			minute := func(t time.Time) string { return string(rune('0' + int(t.Sub(begin).Minutes()))) }
			found = append(found, minute(at)+">"+minute(e.At)+":"+string(e.To))
		}
	}
	return strings.Join(found, " ")
}

func TestEdgeSaysWhy(t *testing.T) {
	begin := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	tracker := NewTracker(Spec{Down: 2, Up: 1}, begin)
	tracker.Observe(Result{Verdict: OK, Start: begin})
	tracker.Observe(Result{Verdict: Failed, Reason: Refused, Phase: PhaseConnect, Detail: "first", Start: begin.Add(time.Second)})
	e, ok := tracker.Observe(Result{Verdict: Failed, Reason: Timeout, Detail: "second", Start: begin.Add(2 * time.Second)})
	want := Edge{At: begin.Add(time.Second), From: Up, To: Down, Reason: Refused, Phase: PhaseConnect, Detail: "first"}
	if !ok || e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
	e, ok = tracker.Observe(Result{Verdict: OK, Start: begin.Add(3 * time.Second)})
	want = Edge{At: begin.Add(3 * time.Second), From: Down, To: Up}
	if !ok || e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
}

// TestEdgesNeverOverlap tries all short sequences: states follow one another,
// and each edge leaves the state that the last one led to.
func TestEdgesNeverOverlap(t *testing.T) {
	letters := []Result{{Verdict: OK}, {Verdict: Degraded, Reason: Slow}, {Verdict: Failed, Reason: Timeout}, {Verdict: Unknown, Reason: Blocked}}
	const length = 9
	for n := range 1 << (2 * length) {
		tracker := NewTracker(Spec{}, time.Unix(0, 0))
		last, at := UnknownState, time.Unix(0, 0)
		for i := range length {
			r := letters[n>>(2*i)&3]
			r.Start = time.Unix(int64(i), 0)
			e, ok := tracker.Observe(r)
			if !ok {
				continue
			}
			if e.From != last || e.To == last && e.Reason != Unstable || e.At.Before(at) || e.At.After(r.Start) || (e.Reason == "") != (e.To == Up) {
				t.Fatalf("sequence %o: %+v after %v since %v", n, e, last, at)
			}
			last, at = e.To, e.At
		}
	}
}
