package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/checks"
)

var records = Subject{Class: block.CheckClass, Name: "records", Network: "kestrel", Target: "198.51.100.20:443", StandsFor: "Patient records"}

func good(rtt time.Duration) checks.Result {
	return checks.Result{Verdict: checks.OK, RTT: []time.Duration{rtt}, Sent: 1, Received: 1}
}

func options() Options { return Options{Gateway: "avocet-1", Boot: "boot-a"} }

// mustOpen opens a spool that the test closes by itself, or leaves to its fate.
func mustOpen(t *testing.T, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// crash ends a spool as kill -9 does: files stay as they are, the lock goes.
func crash(s *Spool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil && s.open.file != nil {
		s.open.file.Close()
	}
	s.open = nil
	s.release()
}

func all(t *testing.T, s *Spool) []*block.Block {
	t.Helper()
	return collect(t, s.Blocks)
}

func collect(t *testing.T, blocks func(from, to time.Time) iter.Seq2[*block.Block, error]) []*block.Block {
	t.Helper()
	var list []*block.Block
	for b, err := range blocks(time.Unix(0, 0), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

// life runs a spool in a bubble for a while, with a sample every ten seconds.
func life(t *testing.T, s *Spool, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, func() {}) }()
	for range int(d / (10 * time.Second)) {
		must(t, s.Sample(records, good(12*time.Millisecond)))
		time.Sleep(10 * time.Second)
	}
	synctest.Wait()
	cancel()
	must(t, <-done)
}

// idle lets a spool live without samples.
func idle(t *testing.T, s *Spool, d time.Duration) {
	t.Helper()
	for range int(d / (10 * time.Second)) {
		time.Sleep(10 * time.Second)
		must(t, s.tick())
	}
}

func samples(blocks []*block.Block) (n uint64) {
	for _, b := range blocks {
		for _, s := range b.Subjects {
			n += s.Sent
		}
	}
	return n
}

// follow fails when blocks do not follow each other without a hole.
func follow(t *testing.T, blocks []*block.Block) {
	t.Helper()
	for i := 1; i < len(blocks); i++ {
		if blocks[i].Low() != blocks[i-1].Sequence+1 {
			t.Errorf("block %d follows %d", blocks[i].Low(), blocks[i-1].Sequence)
		}
		if !blocks[i].Start.Equal(blocks[i-1].End()) {
			t.Errorf("block %d begins at %v, the one before it ends at %v", blocks[i].Sequence, blocks[i].Start, blocks[i-1].End())
		}
	}
}

func TestMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(17 * time.Second)
		dir := t.TempDir()
		s := mustOpen(t, dir, options())
		life(t, s, 5*time.Minute)
		must(t, s.Close())
		if err := s.Sample(records, good(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("sample after Close: %v", err)
		}
		blocks := collect(t, func(from, to time.Time) iter.Seq2[*block.Block, error] { return Read(dir, from, to) })
		follow(t, blocks)
		var lengths []string
		for _, b := range blocks {
			lengths = append(lengths, b.Length.String())
			if b.Boot != "boot-a" || b.Gateway != "avocet-1" || b.Epoch != s.Epoch() || len(b.Gaps) > 0 {
				t.Errorf("block %+v", b)
			}
		}
		if got := strings.Join(lengths, " "); got != "43s 1m0s 1m0s 1m0s 1m0s 17s" {
			t.Errorf("blocks are %s long", got)
		}
		if n := samples(blocks); n != 30 {
			t.Errorf("%d samples, want 30", n)
		}
		if r := blocks[1].Subjects[0]; r.RTT.Count() != 6 || r.Target != records.Target || r.StandsFor != records.StandsFor || r.State != checks.UnknownState {
			t.Errorf("subject %+v", r)
		}
	})
}

func TestEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, t.TempDir(), options())
		begin := time.Now()
		must(t, s.SetState(records, checks.Up))
		idle(t, s, 90*time.Second)
		down := block.Edge{At: begin.Add(50 * time.Second), Class: block.CheckClass, Name: "records", From: checks.Up, To: checks.Down,
			Reason: checks.Timeout, Code: "GN-HUB-02", Text: "hub-south did not answer", Owner: "centre"}
		must(t, s.Edge(down))
		idle(t, s, time.Minute)
		must(t, s.Forget(block.CheckClass, "records"))
		idle(t, s, time.Minute)
		must(t, s.Close())
		blocks := all(t, mustOpen(t, s.root.Name(), options()))
		record := block.NewRecord(begin, begin.Add(4*time.Minute))
		for _, b := range blocks {
			record.Add(b)
		}
		var got []string
		for _, p := range record.Timeline(block.CheckClass, "records") {
			got = append(got, fmt.Sprintf("%v %s%s", p.From.Sub(begin), p.State, p.Why))
		}
		want := "0s up, 50s down, 2m30s unknown, 3m0s unknownnot checked, 3m30s unknownno record"
		if strings.Join(got, ", ") != want {
			t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
		}
		last := blocks[2].Subjects[0]
		if last.State != checks.Down || !last.Since.Equal(down.At) || last.Code != "GN-HUB-02" || last.Owner != "centre" {
			t.Errorf("the third minute begins with %+v", last)
		}
		if err := s.Edge(block.Edge{Class: "door", Name: "x"}); err == nil {
			t.Error("an edge of no class was taken")
		}
	})
}

// shifted is a clock that can be set.
func shifted(by *time.Duration) clock {
	c := realClock()
	return func() (time.Time, time.Duration) {
		wall, mono := c()
		return wall.Add(*by), mono
	}
}

func TestClockIsSet(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -30 * time.Second, -time.Hour, 90 * time.Second} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var by time.Duration
				s, err := open(t.TempDir(), options(), shifted(&by))
				must(t, err)
				begin := time.Now()
				life(t, s, 90*time.Second)
				by = step
				life(t, s, 5*time.Minute)
				must(t, s.Close())
				blocks := all(t, mustOpen(t, s.root.Name(), options()))
				if n := samples(blocks); n != 39 {
					t.Errorf("%d samples, want 39", n)
				}
				var sum time.Duration
				var skipped []block.Gap
				for i, b := range blocks {
					sum += b.Length
					skipped = append(skipped, b.Gaps...)
					if i > 0 && b.Sequence != blocks[i-1].Sequence+1 {
						t.Errorf("block %d follows %d", b.Sequence, blocks[i-1].Sequence)
					}
				}
				if real := time.Since(begin); sum != real {
					t.Errorf("%v passed, the blocks cover %v", real, sum)
				}
				record := block.NewRecord(begin, begin.Add(390*time.Second+max(0, step)))
				for _, b := range blocks {
					record.Add(b)
				}
				if step > 0 && (len(skipped) != 1 || skipped[0].Reason != block.ClockStepped || skipped[0].To.Sub(skipped[0].From) != step) {
					t.Errorf("skipped %v", skipped)
				}
				if step < 0 && len(skipped) > 0 {
					t.Errorf("gaps %v though nothing was skipped", skipped)
				}
				if got := record.Coverage(); step > 0 && got != 390*time.Second {
					t.Errorf("%v of the wall clock are covered", got)
				}
			})
		})
	}
}

// TestOldClock: a machine without a clock of its own begins in the past, and is
// set later; the time that it was off is still known.
func TestOldClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir, options())
		begin := time.Now()
		life(t, s, 3*time.Minute)
		must(t, s.Close())
		time.Sleep(10 * time.Minute)
		by := -20 * 365 * 24 * time.Hour
		o := options()
		o.Boot = "boot-b"
		s, err := open(dir, o, shifted(&by))
		must(t, err)
		life(t, s, 2*time.Minute)
		by = 0
		life(t, s, 2*time.Minute)
		must(t, s.Close())
		record := block.NewRecord(begin, time.Now())
		for _, b := range all(t, mustOpen(t, dir, o)) {
			record.Add(b)
		}
		want := []block.Gap{{From: begin.Add(3 * time.Minute).UTC(), To: begin.Add(15 * time.Minute).UTC(), Reason: block.GatewayOff}}
		if got := record.Missing(); !slices.Equal(got, want) {
			t.Errorf("not measured: %v, want %v", got, want)
		}
	})
}

// TestStall: a process that did not run did not measure.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, t.TempDir(), options())
		life(t, s, 30*time.Second)
		time.Sleep(10 * time.Minute)
		life(t, s, 30*time.Second)
		must(t, s.Close())
		blocks := all(t, mustOpen(t, s.root.Name(), options()))
		if len(blocks) < 2 || len(blocks[1].Gaps) != 1 || blocks[1].Gaps[0].Reason != block.AgentStopped ||
			!blocks[1].Gaps[0].From.Equal(blocks[0].End()) || !blocks[1].Gaps[0].To.Equal(blocks[1].Start) || blocks[0].Length > 40*time.Second {
			t.Errorf("blocks %+v", blocks)
		}
	})
}

// TestReopen: what the gaps say after each sort of end.
func TestReopen(t *testing.T) {
	tests := []struct {
		name  string
		crash bool
		boot  string
		want  string
	}{
		{"stopped", false, "boot-a", "agent stopped 5m0s"},
		{"killed", true, "boot-a", "agent stopped 5m0s"},
		{"shut down", false, "boot-b", "gateway off 5m0s"},
		{"power cut", true, "boot-b", "lost: power cut 10s, gateway off 4m50s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := mustOpen(t, dir, options())
				life(t, s, 90*time.Second)
				if tt.crash {
					crash(s)
				} else {
					must(t, s.Close())
				}
				time.Sleep(5 * time.Minute)
				o := options()
				o.Boot = tt.boot
				s = mustOpen(t, dir, o)
				life(t, s, 20*time.Second)
				must(t, s.Close())
				s = mustOpen(t, dir, o)
				defer s.Close()
				blocks := all(t, s)
				var gaps []string
				for _, g := range blocks[len(blocks)-1].Gaps {
					gaps = append(gaps, fmt.Sprintf("%s %v", g.Reason, g.To.Sub(g.From)))
				}
				if got := strings.Join(gaps, ", "); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if n := samples(blocks); n != 11 {
					t.Errorf("%d samples, want 11", n)
				}
			})
		})
	}
}

func TestAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir, options())
		life(t, s, 10*time.Minute)
		waits := func() string {
			t.Helper()
			list, err := s.Pending(1 << 20)
			must(t, err)
			var out []string
			for _, p := range list {
				n, err := block.NameOf(p.Bytes)
				if err != nil || n.Epoch != p.Epoch || n.Sequence != p.Sequence || n.First != p.First {
					t.Errorf("packed %+v is %+v, %v", p, n, err)
				}
				out = append(out, fmt.Sprint(p.Sequence))
			}
			if s.Len() != len(list) {
				t.Errorf("Len %d, %d wait", s.Len(), len(list))
			}
			return strings.Join(out, " ")
		}
		step := func(want string, epoch, upto uint64) {
			t.Helper()
			must(t, s.Ack(epoch, upto))
			if got := waits(); got != want {
				t.Errorf("after ack of %d: %q wait, want %q", upto, got, want)
			}
		}
		step("1 2 3 4 5 6 7 8 9 10", s.Epoch()+1, 5)
		step("4 5 6 7 8 9 10", s.Epoch(), 3)
		step("4 5 6 7 8 9 10", s.Epoch(), 2)
		if one, _ := s.Pending(1); len(one) != 1 || one[0].Sequence != 4 {
			t.Errorf("one byte gives %v", one)
		}
		if n, ok, _ := s.Newest(); !ok || n.Sequence != 10 {
			t.Errorf("newest is %d, %v", n.Sequence, ok)
		}
		crash(s)
		s = mustOpen(t, dir, options())
		step("4 5 6 7 8 9 10", s.Epoch(), 0)
		step("", s.Epoch(), 99)
		if _, ok, _ := s.Newest(); ok {
			t.Error("the newest waits after all was acknowledged")
		}
		if n := len(all(t, s)); n != 10 {
			t.Errorf("%d blocks in the history, want 10", n)
		}
		life(t, s, time.Minute)
		if got := waits(); !strings.HasPrefix(got, "11") {
			t.Errorf("%q wait after an ack from the future", got)
		}
		must(t, s.Close())
	})
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir, options())
	if _, err := Open(dir, options()); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	must(t, s.Close())
	s = mustOpen(t, dir, options())
	must(t, s.Close())
}

// TestState: without its small file the spool keeps its epoch and sends again;
// under another name it begins anew and keeps the old blocks aside.
func TestStateFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir, options())
		epoch := s.Epoch()
		life(t, s, 2*time.Minute)
		must(t, s.Ack(epoch, 2))
		must(t, s.Close())
		must(t, os.WriteFile(filepath.Join(dir, stateFile), []byte("{"), 0o600))
		s = mustOpen(t, dir, options())
		if list, _ := s.Pending(1 << 20); s.Epoch() != epoch || len(list) < 2 {
			t.Errorf("epoch %x, want %x; %d wait", s.Epoch(), epoch, len(list))
		}
		must(t, s.Close())
		o := options()
		o.Gateway = "bittern-1"
		s = mustOpen(t, dir, o)
		defer s.Close()
		if list, _ := s.Pending(1 << 20); s.Epoch() == epoch || len(list) > 0 {
			t.Errorf("the new gateway has the old one's epoch or blocks: %d", len(list))
		}
		if old, _ := filepath.Glob(filepath.Join(dir, "aside-*", activeFile)); len(old) != 1 {
			t.Errorf("set aside: %v", old)
		}
	})
}

// TestTornTails cuts the journal and the segment at every byte.
func TestTornTails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir, options())
		life(t, s, 110*time.Second)
		crash(s)
		journal, err := filepath.Glob(filepath.Join(dir, "*.open"))
		if err != nil || len(journal) != 1 {
			t.Fatalf("journals %v, %v", journal, err)
		}
		raw, err := os.ReadFile(journal[0])
		must(t, err)
		segment, err := os.ReadFile(filepath.Join(dir, activeFile))
		must(t, err)
		state, err := os.ReadFile(filepath.Join(dir, stateFile))
		must(t, err)
		try := func(journalTo, segmentTo int) []*block.Block {
			t.Helper()
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, stateFile), state, 0o600))
			must(t, os.WriteFile(filepath.Join(dir, filepath.Base(journal[0])), raw[:journalTo], 0o600))
			must(t, os.WriteFile(filepath.Join(dir, activeFile), segment[:segmentTo], 0o600))
			s := mustOpen(t, dir, options())
			must(t, s.Sample(records, good(1)))
			must(t, s.Close())
			return collect(t, func(from, to time.Time) iter.Seq2[*block.Block, error] { return Read(dir, from, to) })
		}
		for i := 0; i <= len(raw); i += 19 {
			whole := uint64(strings.Count(string(raw[:i]), `"k":"sample"`))
			if i > 0 && raw[i-1] != '\n' && strings.Contains(string(raw[strings.LastIndexByte(string(raw[:i]), '\n')+1:i]), `"k":"sample"`) {
				whole--
			}
			if got := samples(try(i, len(segment))); got != 6+whole+1 {
				t.Fatalf("journal cut at %d of %d: %d samples, want %d", i, len(raw), got, 6+whole+1)
			}
		}
		for i := 0; i < len(segment); i += 11 {
			blocks := try(len(raw), i)
			if got := samples(blocks); got != 5+1 {
				t.Fatalf("segment cut at %d of %d: %d samples", i, len(segment), got)
			}
			if blocks[0].Low() != 1 || blocks[0].Sequence != 1 || blocks[1].Sequence != 2 {
				t.Fatalf("segment cut at %d: blocks %d-%d, %d", i, blocks[0].Low(), blocks[0].Sequence, blocks[1].Sequence)
			}
		}
	})
}

// TestDamagedSegment: a bad block in the middle is replaced by one that says so.
func TestDamagedSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options()
		o.MaxBytes = 128 << 10 // segments of 4 KiB
		s := mustOpen(t, dir, o)
		life(t, s, 100*time.Minute)
		must(t, s.Close())
		files, _ := filepath.Glob(filepath.Join(dir, "0*.seg"))
		if len(files) < 2 {
			t.Fatalf("only %v", files)
		}
		whole, err := os.ReadFile(files[0])
		must(t, err)
		for at := 0; at < len(whole); at += len(whole) / 9 {
			raw := bytes.Clone(whole)
			raw[at] ^= 1
			damaged := t.TempDir()
			must(t, os.CopyFS(damaged, os.DirFS(dir)))
			must(t, os.WriteFile(filepath.Join(damaged, filepath.Base(files[0])), raw, 0o600))
			s := mustOpen(t, damaged, o)
			list, err := s.Pending(1 << 20)
			must(t, err)
			next, said := uint64(1), 0
			for _, p := range list {
				if p.First != next {
					t.Errorf("damaged at %d: block %d after %d", at, p.First, next-1)
				}
				next = p.Sequence + 1
				b, err := block.Decode(p.Bytes)
				must(t, err)
				if len(b.Gaps) > 0 && b.Gaps[0].Reason == block.Damaged {
					said++
				}
			}
			if said != 1 || next <= 100 {
				t.Errorf("damaged at %d: %d blocks say so; next is %d", at, said, next)
			}
			must(t, s.Close())
		}
	})
}

// TestSealedJournal: a crash after a block was sealed and before its journal was
// removed does not make it twice.
func TestSealedJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := mustOpen(t, dir, options())
		life(t, s, 50*time.Second)
		journal := filepath.Join(dir, s.open.name)
		raw, err := os.ReadFile(journal)
		must(t, err)
		must(t, s.Close())
		must(t, os.WriteFile(journal, raw, 0o600))
		s = mustOpen(t, dir, options())
		defer s.Close()
		if blocks := all(t, s); len(blocks) != 1 || samples(blocks) != 5 {
			t.Errorf("%d blocks with %d samples", len(blocks), samples(blocks))
		}
		if _, err := os.Stat(journal); !errors.Is(err, os.ErrNotExist) && s.open.name != filepath.Base(journal) {
			t.Errorf("the journal is still there: %v", err)
		}
	})
}

// TestSameReport: the gateway's report from its spool, and one from what was
// delivered, are the same bytes; also after the spool was thinned.
func TestSameReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options()
		o.MaxBytes = 128 << 10
		s := mustOpen(t, dir, o)
		begin := time.Now()
		var sent []*block.Block
		deliver := func() {
			list, err := s.Pending(1 << 30)
			must(t, err)
			for _, p := range list {
				b, err := block.Decode(p.Bytes)
				must(t, err)
				sent = slices.DeleteFunc(sent, func(a *block.Block) bool { return a.Low() >= b.Low() && a.Sequence <= b.Sequence })
				sent = append(sent, b)
			}
		}
		must(t, s.SetState(records, checks.Up))
		for i := range 30 {
			life(t, s, 10*time.Minute)
			from, to := checks.Up, checks.Down
			if i%2 == 1 {
				from, to = to, from
			}
			must(t, s.Edge(block.Edge{At: time.Now().Add(-25 * time.Second), Class: block.CheckClass, Name: "records", From: from, To: to, Text: "hub-north did not answer"}))
			deliver()
		}
		must(t, s.Close())
		s = mustOpen(t, dir, o)
		deliver()
		text := func(blocks iter.Seq2[*block.Block, error]) string {
			t.Helper()
			r, err := report.Compute(report.Period{Year: begin.Year(), Month: begin.Month(), Until: time.Now()}, report.Site{ID: "avocet", Gateway: "avocet-1"}, blocks)
			must(t, err)
			var b bytes.Buffer
			must(t, errors.Join(r.Text(&b), r.JSON(&b)))
			return b.String()
		}
		here := text(s.Blocks(begin.Add(-report.Margin), time.Now().Add(report.Margin)))
		there := text(func(yield func(*block.Block, error) bool) {
			for _, b := range sent {
				if !yield(b, nil) {
					return
				}
			}
		})
		if here != there || !strings.Contains(here, "up 50.00") {
			t.Errorf("at the gateway:\n%s\nat the centre:\n%s", here, there)
		}
		before := s.used()
		thinned := 0
		for i := range s.segments {
			must(t, s.thinSegment(i))
			must(t, s.thinSegment(i))
			thinned++
		}
		if s.used() >= before || thinned == 0 {
			t.Errorf("thinning %d segments: %d bytes became %d", thinned, before, s.used())
		}
		now := text(s.Blocks(begin.Add(-report.Margin), time.Now().Add(report.Margin)))
		cut := func(s string) string { return s[:strings.Index(s, "Round trip")] }
		if cut(now) != cut(here) {
			t.Errorf("thinned:\n%s\nbefore:\n%s", now, here)
		}
		must(t, s.Close())
	})
}
