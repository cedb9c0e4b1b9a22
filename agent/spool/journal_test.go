package spool

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// TestSampleLineIsJSON holds the line that is written by hand to json.Marshal.
func TestSampleLineIsJSON(t *testing.T) {
	for _, s := range []sample{
		{}, {Verdict: checks.OK, Sent: 1, Received: 1, RTT: []time.Duration{11 * time.Millisecond}},
		{Subject: 999, Verdict: checks.Degraded, Sent: 3, Received: 2, RTT: []time.Duration{0, 1}},
		{Subject: -1, Verdict: checks.Failed, Sent: -1}, {Verdict: checks.Unknown}, {Verdict: `o"k`},
	} {
		for _, elapsed := range []time.Duration{0, 1, time.Hour} {
			l := line{Kind: sampleLine, Elapsed: elapsed, Sample: &s}
			raw, err := l.appendTo(nil)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := json.Marshal(l)
			if _, got, _ := strings.Cut(string(raw), " "); got != string(want)+"\n" {
				t.Errorf("got %swant %s", got, want)
			}
			if _, err := parseLine(strings.TrimSuffix(string(raw), "\n")); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
		}
	}
}
