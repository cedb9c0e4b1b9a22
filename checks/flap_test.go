package checks

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// TestFlapShare counts by hand: each change weighs 0.8 + 0.02 i, i from 0 for the
// oldest of 20.
func TestFlapShare(t *testing.T) {
	for _, test := range []struct {
		results  string
		percent  float64
		unstable bool
	}{
		{"oooooooo", 0, false},
		{"of", 5.9, false},                      // 1.18
		{"fffff" + "ooooo", 5.5, false},         // 1.10
		{"ofofof", 28.5, false},                 // 1.18+1.16+1.14+1.12+1.10
		{"ofofofo", 33.9, true},                 // and 1.08
		{"ofofofoo", 33.3, true},                // each 0.02 less
		{"ofofofo" + "ooooooooooo", 27.3, true}, // not below 25
		{"ofofofo" + "oooooooooooooo", 25.5, true},
		{"ofofofo" + "ooooooooooooooo", 21, false}, // the first change has left
		{"ofofofo" + strings.Repeat("o", 20), 0, false},
		{strings.Repeat("of", 20), 99, true},
		{"ogogogo", 33.9, true}, // a change is a change
	} {
		f := flap{above: flapDefault}
		for i, c := range test.results {
			f.add(Result{Verdict: map[rune]Verdict{'o': OK, 'f': Failed, 'g': Degraded}[c], Start: time.Unix(int64(i), 0)})
		}
		if math.Abs(f.percent()-test.percent) > 0.05 || f.unstable != test.unstable {
			t.Errorf("%s: %.2f %%, unstable %v; want %.1f, %v", test.results, f.percent(), f.unstable, test.percent, test.unstable)
		}
	}
}

// TestFlapHoldsTheWorseState has the letters of TestTracker; "!" is an edge that
// says unstable.
func TestFlapHoldsTheWorseState(t *testing.T) {
	for _, test := range []struct {
		name    string
		above   int
		results string
		want    string
	}{
		{"up, then unstable", 0, "oooofofofo", "1>0:up 9>4:degraded!"},
		{"it may get worse meanwhile", 0, "oooofofofofff", "1>0:up 9>4:degraded! 12>10:down"},
		{"and comes back no sooner", 0, "oooofofofofffoooo", "1>0:up 9>4:degraded! 12>10:down"},
		{"until it has settled", 0, "oooofofofo" + strings.Repeat("o", 15), "1>0:up 9>4:degraded! 24>9:up"},
		{"down and up again and again", 0, "fffooofffooofffooofff", "2>0:down 4>3:up 8>6:down 10>9:up 14>12:down 16>15:up 18>15:degraded! 20>18:down"},
		{"down, and then unstable: one event", 0, "fffofofofofo", "2>0:down 8>3:down!"},
		{"unknown results neither count nor interrupt", 0, "oooofuofuofuo", "1>0:up 12>4:degraded!"},
		{"blocked is blocked, and then it is a new beginning", 0, "oooofofofouuuoo", "1>0:up 9>4:degraded! 12>10:unknown 14>13:up"},
		{"maintenance is a new beginning", 0, "oooofofofMmoo", "1>0:up 9>9:maintenance 10>10:unknown 12>11:up"},
		{"a check that may", 100, "oooofofofofofofofo", "1>0:up"},
		{"one that may not", 10, "oooofo", "1>0:up 5>4:degraded!"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := flapEdges(test.above, test.results); got != test.want {
				t.Errorf("%s:\ngot  %s\nwant %s", test.results, got, test.want)
			}
		})
	}
}

func flapEdges(above int, results string) string {
	begin := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	tracker := NewTracker(Spec{Unstable: above}, begin)
	verdicts := map[rune]Result{'o': {Verdict: OK}, 'f': {Verdict: Failed, Reason: Timeout}, 'u': {Verdict: Unknown, Reason: SelfFault}}
	var found []string
	for i, c := range results {
		at := begin.Add(time.Duration(i) * time.Minute)
		r, ok := verdicts[c]
		r.Start = at
		e, changed := Edge{}, false
		if ok {
			e, changed = tracker.Observe(r)
		} else {
			e, changed = tracker.Maintain(c == 'M', at)
		}
		if !changed {
			continue
		}
		text := fmt.Sprintf("%d>%d:%s", i, int(e.At.Sub(begin).Minutes()), e.To)
		if e.Reason == Unstable {
			text += "!"
		}
		found = append(found, text)
	}
	return strings.Join(found, " ")
}

// TestFlapSaysHowMuch: six changes among the newest of twenty weigh 6.78.
func TestFlapSaysHowMuch(t *testing.T) {
	begin := time.Date(2026, 11, 24, 13, 55, 0, 0, time.UTC)
	tracker := NewTracker(Spec{}, begin)
	var last Edge
	for i, c := range "oooofofofo" {
		r := Result{Verdict: OK}
		if c == 'f' {
			r = Result{Verdict: Failed, Reason: Timeout, Detail: "no answer"}
		}
		r.Start = begin.Add(time.Duration(i) * time.Minute)
		if e, changed := tracker.Observe(r); changed {
			last = e
		}
	}
	if want := "34 % of its last 20 results were changes"; last.Reason != Unstable || last.Detail != want {
		t.Errorf("%+v, want %q", last, want)
	}
}
