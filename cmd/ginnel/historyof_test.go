package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

func TestSpark(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	for want, values := range map[string][]float64{
		"":         nil,
		"▁▁":       {0, 0},
		"▁▅█":      {0.1, 5, 10},
		"█ ▁":      {3, math.NaN(), 0},
		"▁▂▃▄▅▆▇█": {0, 1, 2, 3, 4, 5, 6, 7},
	} {
		if got := spark(values); got != want {
			t.Errorf("spark(%v) = %q, want %q", values, got, want)
		}
	}
}

// TestBarsOf draws by what the terminal can show.
func TestBarsOf(t *testing.T) {
	for _, c := range []struct {
		all, ctype, lang string
		unicode          bool
	}{
		{"", "", "en_GB.UTF-8", true}, {"", "", "en_GB.utf8", true}, {"", "C.UTF-8", "C", true},
		{"", "", "", false}, {"", "", "C", false}, {"POSIX", "", "en_GB.UTF-8", false}, {"", "en_GB", "en_GB.UTF-8", false},
	} {
		env := map[string]string{"LC_ALL": c.all, "LC_CTYPE": c.ctype, "LANG": c.lang}
		bars := barsOf(func(name string) string { return env[name] })
		if unicode := bars[0] > 127; unicode != c.unicode || len(bars) != 8 {
			t.Errorf("%+v: %q", c, string(bars))
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 11, 0, 0, time.Local)
	for s, want := range map[string]string{
		"2h": "2026-11-22 12:11", "90m": "2026-11-22 12:41", "3d": "2026-11-19 14:11", "2026-11-20": "2026-11-20 00:00",
		"2026-11-20 14:00": "2026-11-20 14:00", "13:55": "2026-11-22 13:55", "14:30": "2026-11-21 14:30", "2026-11-20T14:00": "2026-11-20 14:00",
	} {
		if got, err := parseSince(s, now); err != nil || got.Format("2006-01-02 15:04") != want {
			t.Errorf("%s: got %v, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "2", "-2h", "0d", "-1d", "d", "3dd", "yesterday", "2026-13-01"} {
		if got, err := parseSince(s, now); err == nil {
			t.Errorf("%q was taken for %v", s, got)
		}
	}
}

// TestHistoryText shows an hour: quiet, then slow with losses, then unmeasured.
func TestHistoryText(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	from := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	h := local.History{Name: "records", From: from, To: from.Add(time.Hour)}
	for i := range 50 {
		p := local.HistoryPoint{Start: from.Add(time.Duration(i) * time.Minute), Length: 60, State: checks.Up, Sent: 10, Received: 10, P50: 0.01, P95: 0.012, Max: 0.02}
		if i >= 40 {
			p.Received, p.P50, p.Max = 5, 0.08, 0.4
		}
		h.Points = append(h.Points, p)
	}
	h.Edges = []local.HistoryChange{{At: from.Add(40*time.Minute + 7*time.Second), From: checks.Up, To: checks.DegradedState, Text: "3 of 5 replies", Code: "GN-LINE-02"}}
	h.Now = &local.HistoryNow{State: checks.Down, Since: from.Add(59*time.Minute + 30*time.Second), Text: "no answer in time", Code: "GN-SVC-01"}
	h.Evidence = []evidence.Entry{{ID: "1e2f", At: from.Add(40*time.Minute + 7*time.Second)}}
	h.Gaps = []local.HistoryGap{{From: from.Add(50 * time.Minute), To: from.Add(55 * time.Minute), Reason: "power cut"}}
	var text bytes.Buffer
	if err := writeHistory(&text, h, time.UTC); err != nil {
		t.Fatal(err)
	}
	want := `records  Sun 22 Nov 13:00 to Sun 22 Nov 14:00

RTT p50  ▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂▂████████           10.0 to 80.0 ms
loss     ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁████████           10.0 %
         13:00                                        14:00

450 of 500 answered, slowest 400.000 ms
now down, since Sun 13:59:30: no answer in time GN-SVC-01
Sun 13:40:07  up -> degraded  3 of 5 replies GN-LINE-02
Sun 13:40:07  what was seen: ginnel evidence 1e2f
Sun 13:50:00 to 13:55:00  not measured: power cut
`
	if got := text.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	text.Reset()
	h = local.History{Name: "disk", From: from, To: from.Add(time.Hour), Now: &local.HistoryNow{State: checks.Up, Since: from},
		Points: []local.HistoryPoint{{Start: from, Length: 60, State: checks.Up}}}
	if err := writeHistory(&text, h, time.UTC); err != nil || text.String() != "disk  Sun 22 Nov 13:00 to Sun 22 Nov 14:00\n\nnow up, since Sun 13:00:00\n" {
		t.Errorf("without times: %q, %v", text.String(), err)
	}
	text.Reset()
	if err := writeHistory(&text, local.History{Name: "records", From: from, To: from}, time.UTC); err != nil || !strings.Contains(text.String(), "nothing was kept since") {
		t.Errorf("without points: %q, %v", text.String(), err)
	}
}

func TestExplain(t *testing.T) {
	s := checks.Spec{Name: "records", Kind: "tcp", Target: checks.Target{Network: "kestrel", Address: "records.example.net:443"}}
	r := checks.Result{
		Verdict: checks.Degraded, Reason: checks.Loss, Phase: checks.PhaseResponse, Detail: "2 of 3 replies", Path: "gn-kestrel-n",
		Sent: 3, Received: 2, RTT: []time.Duration{12411 * time.Microsecond, 12 * time.Millisecond}, Stamps: checks.KernelStamps,
		Odd: checks.Odd{Late: 1, Unsent: 2, Dropped: 1},
		Steps: []checks.Step{
			{Phase: checks.PhaseResolve, Name: "resolve records.example.net", Took: 400 * time.Microsecond, Detail: "198.51.100.20"},
			{Phase: checks.PhaseAssert, Name: "clock", Detail: "steady\x1b[2J"},
			{Phase: checks.PhaseTLS, Name: "certificate 1", Detail: "records.example.net, by Example Authority of the County, until 2027-11-23"},
		},
		Values: []checks.Value{{Name: "offset", Number: -0.0025, Unit: "s"}, {Name: "stratum", Number: 2, Unit: "1"}},
	}
	var text bytes.Buffer
	if err := explainRun(&text, local.RunOf(s, r)); err != nil {
		t.Fatal(err)
	}
	want := `records  degraded  12.411 ms  12.000 ms  loss  2 of 3 replies

  resolve records.example.net  0.400 ms  198.51.100.20
  clock                        -         steady?[2J
  certificate 1                -         records.example.net, by Example
                                         Authority of the County, until
                                         2027-11-23

target     records.example.net:443
way        through kestrel, by gn-kestrel-n
answers    2 of 3, 1 late, 2 not sent, by our fault, 1 not taken, by our fault
stamps     kernel
failed in  response
offset     -2.5 ms
stratum    2
`
	if got := text.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnswersOf(t *testing.T) {
	all := local.CheckRun{Sent: 9, Received: 8, Late: 1, Duplicate: 2, Reordered: 3, Corrupt: 4, Unsent: 5, Dropped: 6}
	want := "8 of 9, 1 late, 2 twice, 3 out of order, 4 changed, 5 not sent, by our fault, 6 not taken, by our fault"
	if got := answersOf(all); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAmount(t *testing.T) {
	for want, v := range map[string]local.CheckValue{
		"364 days": {Number: 31535900, Unit: "s"}, "94.911 s": {Number: 94.9105, Unit: "s"}, "0.063 ms": {Number: 6.2749e-05, Unit: "s"}, "0 s": {Unit: "s"},
		"10000 Mbit/s": {Number: 1e10, Unit: "bit/s"}, "1420 bytes": {Number: 1420, Unit: "By"}, "41 %": {Number: 41, Unit: "%"}, "2": {Number: 2, Unit: "1"},
		"1e+20": {Number: 1e20, Unit: "1"},
	} {
		if got := amount(v.Number, v.Unit); got != want {
			t.Errorf("%v %s is %q, want %q", v.Number, v.Unit, got, want)
		}
	}
}
