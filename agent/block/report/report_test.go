package report_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
)

var update = flag.Bool("update", false, "write the golden reports anew")

// world makes a gateway's minutes: states change by the script.
type world struct {
	from, to time.Time
	subjects []block.Subject
	edges    []block.Edge // in order of time
	off      []block.Gap
	rtt      map[string]time.Duration
	step     time.Duration // length of a block; 0: a minute
}

func (w *world) blocks(t *testing.T) []*block.Block {
	t.Helper()
	var blocks []*block.Block
	subjects := slices.Clone(w.subjects)
	edges := w.edges
	random := rand.New(rand.NewPCG(7, 8))
	var pending []block.Gap
	step := cmp.Or(w.step, time.Minute)
	for start := w.from; start.Before(w.to); start = start.Add(step) {
		if i := slices.IndexFunc(w.off, func(g block.Gap) bool { return !start.Before(g.From) && start.Before(g.To) }); i >= 0 {
			pending = []block.Gap{w.off[i]}
			continue
		}
		b := &block.Block{Gateway: "avocet-1", Epoch: 99, Sequence: uint64(len(blocks) + 1), Start: start, Length: step, Gaps: pending}
		pending = nil
		for i := range subjects {
			s := subjects[i]
			if rtt := w.rtt[s.Name]; rtt > 0 && s.State == checks.Up {
				s.RTT = new(hist.Histogram)
				for range 2 {
					s.Sent, s.Received, s.OK = s.Sent+1, s.Received+1, s.OK+1
					s.RTT.Add(rtt + time.Duration(random.Int64N(int64(rtt)/5)))
				}
			}
			b.Subjects = append(b.Subjects, s)
		}
		for len(edges) > 0 && edges[0].At.Before(b.End()) {
			e := edges[0]
			b.Edges, edges = append(b.Edges, e), edges[1:]
			i := slices.IndexFunc(subjects, func(s block.Subject) bool { return s.Class == e.Class && s.Name == e.Name })
			subjects[i].State, subjects[i].Since, subjects[i].Cause = e.To, e.At, e.Cause()
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func utc(day, hour, minute, second int) time.Time {
	return time.Date(2026, 11, day, hour, minute, second, 0, time.UTC)
}

func subject(class block.Class, name, network, words string) block.Subject {
	return block.Subject{Class: class, Name: name, Network: network, StandsFor: words, State: checks.Up, Since: utc(1, 0, 0, 0)}
}

// november is the month of looks: hub-south dies on the 24th, the line on the
// 12th, and the gateway is off on the 8th.
func november() *world {
	w := &world{
		step: 3 * time.Minute, // no less is needed: the gateway was off from 03:12 to 03:21
		from: utc(1, 0, 0, 0), to: utc(30, 24, 0, 0),
		subjects: []block.Subject{
			subject(block.SiteClass, "avocet-1", "", ""),
			subject(block.TunnelClass, "kestrel/hub-north", "kestrel", ""),
			subject(block.TunnelClass, "heron/hub-south", "heron", ""),
			subject(block.CheckClass, "records", "kestrel", "Patient records"),
			subject(block.CheckClass, "results", "heron", "Hospital results"),
		},
		off: []block.Gap{{From: utc(8, 3, 12, 0), To: utc(8, 3, 21, 0), Reason: block.GatewayOff}},
		rtt: map[string]time.Duration{"records": 10 * time.Millisecond, "results": 20 * time.Millisecond},
	}
	line := block.Cause{Code: "GN-LINE-01", Text: "no link on the WAN port", Owner: "line"}
	hub := block.Cause{Reason: checks.NoHandshake, Code: "GN-HUB-02", Text: "hub-south did not answer", Owner: "centre"}
	blocked := block.Cause{Reason: checks.Blocked}
	add := func(at time.Time, class block.Class, name string, from, to checks.State, c block.Cause) {
		w.edges = append(w.edges, block.Edge{At: at, Class: class, Name: name, From: from, To: to, Reason: c.Reason, Code: c.Code, Text: c.Text, Owner: c.Owner})
	}
	up, down, unknown := checks.Up, checks.Down, checks.UnknownState
	add(utc(12, 2, 10, 0), block.SiteClass, "avocet-1", up, down, line)
	add(utc(12, 2, 10, 5), block.TunnelClass, "kestrel/hub-north", up, down, block.Cause{Reason: checks.Blocked})
	add(utc(12, 2, 10, 5), block.CheckClass, "records", up, unknown, blocked)
	add(utc(12, 2, 10, 8), block.TunnelClass, "heron/hub-south", up, down, block.Cause{Reason: checks.Blocked})
	add(utc(12, 2, 10, 8), block.CheckClass, "results", up, unknown, blocked)
	add(utc(12, 2, 14, 0), block.SiteClass, "avocet-1", down, up, block.Cause{})
	add(utc(12, 2, 14, 0), block.TunnelClass, "kestrel/hub-north", down, up, block.Cause{})
	add(utc(12, 2, 14, 0), block.CheckClass, "records", unknown, up, block.Cause{})
	add(utc(12, 2, 14, 2), block.TunnelClass, "heron/hub-south", down, up, block.Cause{})
	add(utc(12, 2, 14, 2), block.CheckClass, "results", unknown, up, block.Cause{})
	// the check fails first, then its tunnel is found dead, and it waits
	add(utc(24, 13, 55, 0), block.CheckClass, "results", up, down, block.Cause{Reason: checks.Timeout})
	add(utc(24, 13, 55, 40), block.TunnelClass, "heron/hub-south", up, down, hub)
	add(utc(24, 13, 56, 20), block.CheckClass, "results", down, unknown, blocked)
	add(utc(24, 14, 26, 0), block.TunnelClass, "heron/hub-south", down, up, block.Cause{})
	add(utc(24, 14, 26, 0), block.CheckClass, "results", unknown, up, block.Cause{})
	return w
}

func each(blocks []*block.Block) iter.Seq2[*block.Block, error] {
	return func(yield func(*block.Block, error) bool) {
		for _, b := range blocks {
			if !yield(b, nil) {
				return
			}
		}
	}
}

func avocet(t *testing.T) report.Site {
	t.Helper()
	hours, err := block.ParseHours("gp-core")
	if err != nil {
		t.Fatal(err)
	}
	return report.Site{ID: "avocet", Name: "Avocet Surgery", Gateway: "avocet-1", Hours: hours}
}

func compute(t *testing.T, p report.Period, blocks []*block.Block) (text, json string) {
	t.Helper()
	r, err := report.Compute(p, avocet(t), each(blocks))
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(r.Text(&a), r.JSON(&b)); err != nil {
		t.Fatal(err)
	}
	return a.String(), b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

var month = report.Period{Year: 2026, Month: time.November}

func TestReport(t *testing.T) {
	text, json := compute(t, month, november().blocks(t))
	golden(t, "november.txt", text)
	golden(t, "november.json", json)
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
			t.Errorf("more than 80 columns: %s", line)
		}
	}
	r, err := report.Parse([]byte(json))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := r.JSON(&again); err != nil || again.String() != json {
		t.Errorf("reading and writing JSON changed it: %v\n%s", err, gocmp.Diff(json, again.String()))
	}
}

// TestBothPaths: what the gateway computes from its own blocks, and what the
// centre computes from those that came over the wire, each twice, are the same bytes.
func TestBothPaths(t *testing.T) {
	w := november()
	if testing.Short() {
		w.step = 18 * time.Minute // packing takes long under -race, and any blocks will do
	}
	blocks := w.blocks(t)
	text, json := compute(t, month, blocks)
	stored := make(map[block.Name]*block.Block)
	for _, b := range blocks {
		packed, err := block.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = block.Decode(packed); err != nil {
			t.Fatal(err)
		}
		stored[b.Name()] = b
	}
	var arrived []*block.Block
	for _, b := range stored {
		arrived = append(arrived, b, b)
	}
	slices.SortFunc(arrived, func(a, b *block.Block) int { return a.Start.Compare(b.Start) })
	centreText, centreJSON := compute(t, month, arrived)
	if text != centreText || json != centreJSON {
		t.Errorf("text: %s\nJSON: %s", gocmp.Diff(text, centreText), gocmp.Diff(json, centreJSON))
	}
}

// TestPartOfMonth: before the month is over only what has passed counts.
func TestPartOfMonth(t *testing.T) {
	w := november()
	w.to = utc(12, 3, 0, 0)
	p := month
	p.Until = w.to
	text, _ := compute(t, p, w.blocks(t))
	golden(t, "part.txt", text)
	if _, err := report.Compute(report.Period{Year: 2026, Month: 11, Until: utc(1, 0, 0, 0)}, avocet(t), each(nil)); err == nil {
		t.Error("a month that has not begun was reported on")
	}
}

// TestNothing: a month without a block is unknown, and says so.
func TestNothing(t *testing.T) {
	text, _ := compute(t, month, nil)
	golden(t, "nothing.txt", text)
}

// TestClockChange: an outage over the whole of the day with 25 hours lasts 25
// hours, and one of 23 in March.
func TestClockChange(t *testing.T) {
	for _, tt := range []struct {
		month time.Month
		day   int
		want  float64
	}{{time.October, 25, 25}, {time.March, 29, 23}} {
		from, to, err := block.Month(2026, tt.month, block.Zone)
		if err != nil {
			t.Fatal(err)
		}
		day := time.Date(2026, tt.month, tt.day, 0, 0, 0, 0, from.Location())
		w := &world{step: 15 * time.Minute, from: from.UTC(), to: to.UTC(), subjects: []block.Subject{subject(block.CheckClass, "records", "", "")}}
		w.edges = []block.Edge{
			{At: day, Class: block.CheckClass, Name: "records", From: checks.Up, To: checks.Down},
			{At: day.AddDate(0, 0, 1), Class: block.CheckClass, Name: "records", From: checks.Down, To: checks.Up},
		}
		r, err := report.Compute(report.Period{Year: 2026, Month: tt.month}, avocet(t), each(w.blocks(t)))
		if err != nil {
			t.Fatal(err)
		}
		s := r.Services[0]
		if s.DownFor != tt.want*3600 || s.UnknownFor != 0 || s.UpFor+s.DownFor != to.Sub(from).Seconds() || r.Coverage != 10000 {
			t.Errorf("%v: %+v, coverage %v", tt.month, s, r.Coverage)
		}
		if got := r.When(r.Outages[0].From, r.Outages[0].To); !strings.HasSuffix(got, "00:00-24:00") {
			t.Errorf("the day of the outage is %q", got)
		}
	}
}

// TestThinnedCountsOnce: a thinned block replaces the minutes that it stands for.
func TestThinnedCountsOnce(t *testing.T) {
	w := november()
	w.step, w.to = time.Minute, utc(1, 0, 10, 0)
	blocks := w.blocks(t)
	five := *blocks[0]
	five.First, five.Sequence, five.Length = 1, 5, 5*time.Minute
	five.Subjects = slices.Clone(five.Subjects)
	for i, s := range five.Subjects {
		if s.RTT == nil {
			continue
		}
		sum := s.RTT.Clone()
		for _, b := range blocks[1:5] {
			sum.Merge(b.Subjects[i].RTT)
		}
		five.Subjects[i].RTT, five.Subjects[i].Sent, five.Subjects[i].Received = sum, 10, 10
	}
	for name, list := range map[string][]*block.Block{
		"minutes": blocks, "thinned": append([]*block.Block{&five}, blocks[5:]...), "both": append([]*block.Block{blocks[0], &five}, blocks[1:]...),
	} {
		r, err := report.Compute(report.Period{Year: 2026, Month: 11, Until: w.to}, avocet(t), each(list))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Services {
			if s.Sent != 20 || s.RTT == nil || s.RTT.Count != 20 || s.Up != 10000 {
				t.Errorf("%s: %s: sent %d, %+v, up %v", name, s.Name, s.Sent, s.RTT, s.Up)
			}
		}
	}
}

func TestComputePassesErrorsOn(t *testing.T) {
	broken := errors.New("no such table")
	_, err := report.Compute(month, avocet(t), func(yield func(*block.Block, error) bool) { yield(nil, broken) })
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkMonth(b *testing.B) {
	w := november()
	blocks := w.blocks(&testing.T{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := report.Compute(month, report.Site{ID: "avocet"}, each(blocks)); err != nil {
			b.Fatal(err)
		}
	}
}
