package block_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// at is noon plus minutes and seconds, "3:20".
func at(s string) time.Time {
	var m, sec int
	if _, err := fmt.Sscanf(s, "%d:%d", &m, &sec); err != nil {
		panic(err)
	}
	return noon.Add(time.Duration(m)*time.Minute + time.Duration(sec)*time.Second)
}

// span is a block of one check "records" from a to b that begins in a state.
func span(sequence uint64, a, b string, state checks.State, edges ...block.Edge) *block.Block {
	return &block.Block{
		Gateway: "avocet-1", Epoch: 1, Sequence: sequence, Start: at(a), Length: at(b).Sub(at(a)),
		Subjects: []block.Subject{{Class: block.CheckClass, Name: "records", Network: "kestrel", State: state}}, Edges: edges,
	}
}

func edge(when string, from, to checks.State) block.Edge {
	return block.Edge{At: at(when), Class: block.CheckClass, Name: "records", From: from, To: to}
}

func gap(b *block.Block, from, to, reason string) *block.Block {
	b.Gaps = append(b.Gaps, block.Gap{From: at(from), To: at(to), Reason: reason})
	return b
}

func epoch(b *block.Block, e uint64) *block.Block { b.Epoch = e; return b }

// show prints a timeline as "0:00 up, 1:00 unknown (no record), 4:00".
func show(spans []block.Span, end time.Time) string {
	clock := func(t time.Time) string {
		d := t.Sub(noon)
		return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	var b strings.Builder
	for i, s := range spans {
		if i > 0 && !spans[i-1].To.Equal(s.From) {
			fmt.Fprintf(&b, "HOLE at %s ", clock(spans[i-1].To))
		}
		fmt.Fprintf(&b, "%s %s", clock(s.From), s.State)
		if s.Why != "" {
			fmt.Fprintf(&b, " (%s)", s.Why)
		}
		b.WriteString(", ")
	}
	return b.String() + clock(end)
}

func TestTimeline(t *testing.T) {
	up, down, unknown := checks.Up, checks.Down, checks.UnknownState
	tests := []struct {
		name, want string
		blocks     []*block.Block
	}{
		{"nothing", "0:00 unknown (no record), 5:00", nil},
		{"all up", "0:00 up, 2:00 unknown (no record), 5:00", []*block.Block{span(1, "0:00", "1:00", up), span(2, "1:00", "2:00", up)}},
		{"edge inside", "0:00 up, 0:20 down, 1:10 up, 2:00 unknown (no record), 5:00", []*block.Block{
			span(1, "0:00", "1:00", up, edge("0:20", up, down)), span(2, "1:00", "2:00", down, edge("1:10", down, up))}},
		{"edge dated back into the block before", "0:00 up, 0:50 down, 2:00 unknown (no record), 5:00", []*block.Block{
			span(1, "0:00", "1:00", up), span(2, "1:00", "2:00", up, edge("0:50", up, down))}},
		{"dated back over a hole says nothing about the hole", "0:00 up, 0:50 down, 1:00 unknown (agent stopped), 2:00 down, 3:00 unknown (no record), 5:00",
			[]*block.Block{span(1, "0:00", "1:00", up), gap(span(2, "2:00", "3:00", up, edge("0:50", up, down)), "1:00", "2:00", block.AgentStopped)}},
		{"dated back before an earlier edge", "0:00 up, 0:20 down, 2:00 unknown (no record), 5:00", []*block.Block{
			span(1, "0:00", "1:00", up, edge("0:30", up, checks.DegradedState)), span(2, "1:00", "2:00", checks.DegradedState, edge("0:20", checks.DegradedState, down))}},
		{"two gaps, the closer one speaks", "0:00 up, 1:00 unknown (lost: power cut), 1:10 unknown (gateway off), 2:00 up, 3:00 unknown (no record), 5:00",
			[]*block.Block{span(1, "0:00", "1:00", up), gap(gap(span(2, "2:00", "3:00", up), "1:00", "1:10", block.PowerCut), "1:10", "2:00", block.GatewayOff)}},
		{"a gap wider than the hole", "0:00 up, 1:00 unknown (clock was stepped), 2:00 up, 3:00 unknown (no record), 5:00",
			[]*block.Block{span(1, "0:00", "1:00", up), gap(span(2, "2:00", "3:00", up), "-900:00", "2:00", block.ClockStepped)}},
		{"a gap inside a block", "0:00 up, 0:20 unknown (lost: disk full), 0:40 up, 1:00 unknown (no record), 5:00",
			[]*block.Block{gap(span(1, "0:00", "1:00", up), "0:20", "0:40", block.DiskFull)}},
		{"thinned is not lost", "0:00 up, 4:00 down, 5:00",
			[]*block.Block{gap(span(5, "0:00", "5:00", up, edge("4:00", up, down)), "0:00", "5:00", block.Thinned)}},
		{"a new spool within the minute", "0:00 up, 0:20 unknown (agent stopped), 0:30 unknown, 0:35 up, 1:00 unknown (no record), 5:00",
			[]*block.Block{span(1, "0:00", "0:20", up), epoch(gap(span(1, "0:30", "1:00", unknown, edge("0:35", unknown, up)), "0:20", "0:30", block.AgentStopped), 2)}},
		{"the clock was set back: the worse counts", "0:00 up, 0:10 down, 0:20 up, 1:30 unknown (no record), 5:00",
			[]*block.Block{span(1, "0:00", "1:00", up, edge("0:10", up, down), edge("0:20", down, up)), span(2, "0:05", "1:30", up)}},
		{"not checked yet", "0:00 unknown (not checked), 1:00 up, 2:00 unknown (no record), 5:00", []*block.Block{
			{Gateway: "avocet-1", Epoch: 1, Sequence: 1, Start: at("0:00"), Length: time.Minute}, span(2, "1:00", "2:00", up)}},
		{"dated back twice over the same time", "0:00 up, 0:40 degraded, 0:50 down, 3:00 unknown (no record), 5:00", []*block.Block{
			span(1, "0:00", "1:00", up), span(2, "1:00", "2:00", up, edge("0:40", up, checks.DegradedState)),
			span(3, "2:00", "3:00", checks.DegradedState, edge("0:50", checks.DegradedState, down))}},
		{"dated back over the end", "0:00 up, 4:30 down, 5:00", []*block.Block{
			span(1, "0:00", "5:00", up), span(2, "5:00", "6:00", up, edge("4:30", up, down))}},
		{"before and after the span", "0:00 up, 5:00", []*block.Block{span(1, "-1:00", "1:00", down, edge("-1:30", down, up)), span(2, "1:00", "9:00", up)}},
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blocks := tt.blocks
			for range 10 {
				r := block.NewRecord(at("0:00"), at("5:00"))
				for _, b := range blocks {
					r.Add(b)
				}
				if got := show(r.Timeline(block.CheckClass, "records"), r.To); got != tt.want {
					t.Fatalf("got  %s\nwant %s", got, tt.want)
				}
				// again in another order, and some of them twice
				blocks = slices.Concat(tt.blocks, tt.blocks[:random.IntN(len(tt.blocks)+1)])
				random.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
			}
		})
	}
}

// TestTimelineInventsNothing: whatever blocks say, what no block covers is unknown, and
// the order of arrival changes nothing.
func TestTimelineInventsNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	all := []checks.State{checks.Up, checks.DegradedState, checks.Down, checks.UnknownState}
	for range 300 {
		var blocks []*block.Block
		covered := make([]bool, 20*60)
		for i := range 1 + random.IntN(12) {
			from, length := random.IntN(1100), 1+random.IntN(90)
			b := span(uint64(i+1), "0:00", "0:01", all[random.IntN(4)])
			b.Start, b.Length = noon.Add(time.Duration(from)*time.Second), time.Duration(length)*time.Second
			for range random.IntN(3) {
				e := edge("0:00", all[random.IntN(4)], all[random.IntN(4)])
				e.At = b.Start.Add(time.Duration(random.IntN(200)-100) * time.Second)
				b.Edges = append(b.Edges, e)
			}
			for s := from; s < min(from+length, len(covered)); s++ {
				covered[s] = true
			}
			blocks = append(blocks, b)
		}
		line := func() []block.Span {
			r := block.NewRecord(at("0:00"), at("20:00"))
			for _, b := range blocks {
				r.Add(b)
			}
			return r.Timeline(block.CheckClass, "records")
		}
		first := line()
		end := noon
		for _, s := range first {
			if !s.From.Equal(end) {
				t.Fatalf("hole at %v", end)
			}
			for x := s.From; x.Before(s.To); x = x.Add(time.Second) {
				if known := s.Why == ""; known != covered[int(x.Sub(noon)/time.Second)] {
					t.Fatalf("%v is %s %q, covered by a block: %v", x, s.State, s.Why, !known)
				}
			}
			end = s.To
		}
		random.Shuffle(len(blocks), func(i, j int) { blocks[i], blocks[j] = blocks[j], blocks[i] })
		blocks = append(blocks, blocks[0])
		if diff := cmp.Diff(show(first, end), show(line(), end)); diff != "" {
			t.Fatalf("another order, another outcome:\n%s", diff)
		}
	}
}

func TestMonth(t *testing.T) {
	tests := []struct {
		year  int
		month time.Month
		hours int
		from  string
	}{
		{2026, time.March, 31*24 - 1, "2026-03-01T00:00:00Z"},
		{2026, time.October, 31*24 + 1, "2026-09-30T23:00:00Z"},
		{2026, time.November, 30 * 24, "2026-11-01T00:00:00Z"},
		{2028, time.February, 29 * 24, "2028-02-01T00:00:00Z"},
		{2026, time.December, 31 * 24, "2026-12-01T00:00:00Z"},
	}
	for _, tt := range tests {
		from, to, err := block.Month(tt.year, tt.month, block.Zone)
		if err != nil {
			t.Fatal(err)
		}
		if got := to.Sub(from); got != time.Duration(tt.hours)*time.Hour || from.UTC().Format(time.RFC3339) != tt.from {
			t.Errorf("%v %d: from %v, %v long; want from %s, %d h", tt.month, tt.year, from.UTC(), got, tt.from, tt.hours)
		}
	}
	if _, _, err := block.Month(2026, 1, "Europe/Nowhere"); err == nil {
		t.Error("a zone that does not exist was accepted")
	}
}

func TestHours(t *testing.T) {
	gp, err := block.ParseHours("gp-core")
	if err != nil {
		t.Fatal(err)
	}
	var always block.Hours
	for _, tt := range []struct {
		month      time.Month
		days       int // Monday to Friday
		wholeHours int
	}{{time.March, 22, 743}, {time.October, 22, 745}, {time.November, 21, 720}} {
		from, to, _ := block.Month(2026, tt.month, block.Zone)
		if got, want := gp.Open(from, to), time.Duration(tt.days)*(10*time.Hour+30*time.Minute); got != want {
			t.Errorf("gp-core in %v: %v, want %v", tt.month, got, want)
		}
		if got := always.Open(from, to); got != time.Duration(tt.wholeHours)*time.Hour {
			t.Errorf("always in %v: %v", tt.month, got)
		}
	}
	// in summer, 07:30 UTC is 08:30 at the site
	monday := time.Date(2026, 7, 6, 6, 30, 0, 0, time.UTC)
	if got := gp.Open(monday, monday.Add(2*time.Hour)); got != 90*time.Minute {
		t.Errorf("a summer's morning: %v", got)
	}
	if _, err := block.ParseHours("nights"); err == nil {
		t.Error("unknown hours were accepted")
	}
}

func TestPercents(t *testing.T) {
	const h = time.Hour
	tests := []struct {
		shares block.Shares
		want   string
	}{
		{block.Shares{Up: 720 * h}, "100.00 0.00 0.00 0.00"},
		{block.Shares{Up: 720*h - 1, Down: 1}, "99.99 0.01 0.00 0.00"},
		{block.Shares{Up: 720*h - time.Second, Down: 1, Unknown: time.Second - 1}, "99.98 0.01 0.01 0.00"},
		{block.Shares{Up: 1, Down: 720 * h}, "0.01 99.99 0.00 0.00"},
		{block.Shares{Down: h, Unknown: h, Maintenance: h}, "0.00 33.34 33.33 33.33"},
		{block.Shares{Down: 1, Unknown: 1}, "0.00 50.00 50.00 0.00"},
		{block.Shares{Up: h, Down: h, Unknown: h}, "33.34 33.33 33.33 0.00"},
		{block.Shares{}, "0.00 0.00 100.00 0.00"},
	}
	for _, tt := range tests {
		up, down, unknown, maintenance := tt.shares.Percents()
		if got := fmt.Sprint(up, down, unknown, maintenance); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.shares, got, tt.want)
		}
		if up+down+unknown+maintenance != 10000 {
			t.Errorf("%+v: they add up to %v", tt.shares, up+down+unknown+maintenance)
		}
	}
	if got := block.Part(720*h-1, 720*h); got != 9999 {
		t.Errorf("all but a nanosecond is %v", got)
	}
}
