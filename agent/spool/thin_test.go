package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// TestFull: a spool that is never acknowledged stays within its bound by joining
// old minutes; no sequence, no edge, no sample is lost.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options()
		o.MaxBytes = 24 << 10
		s := mustOpen(t, dir, o)
		edges := 0
		for i := range 36 {
			life(t, s, 7*time.Minute)
			from, to := checks.Up, checks.Down
			if i%2 == 0 {
				from, to = to, from
			}
			must(t, s.Edge(block.Edge{Class: block.CheckClass, Name: "records", From: from, To: to}))
			if edges++; s.used() > o.MaxBytes {
				t.Fatalf("%d bytes, %d are allowed", s.used(), o.MaxBytes)
			}
		}
		must(t, s.Close())
		s = mustOpen(t, dir, o)
		defer s.Close()
		blocks := all(t, s)
		follow(t, blocks)
		thinned, found := 0, 0
		for _, b := range blocks {
			found += len(b.Edges)
			marked := slices.ContainsFunc(b.Gaps, func(g block.Gap) bool { return g.Reason == block.Thinned })
			if b.Low() < b.Sequence {
				thinned++
			}
			if marked != (b.Low() < b.Sequence) {
				t.Errorf("block %d-%d is marked as thinned: %v", b.Low(), b.Sequence, marked)
			}
		}
		if last := blocks[len(blocks)-1]; last.Low() != last.Sequence {
			t.Error("the newest block was thinned")
		}
		if n := samples(blocks); n != 1512 || found != edges || thinned == 0 {
			t.Errorf("%d samples, want 1512; %d edges, want %d; %d of %d thinned", n, found, edges, thinned, len(blocks))
		}
		// a watermark inside of a thinned block does not free it
		list, err := s.Pending(1 << 30)
		must(t, err)
		if list[0].First == list[0].Sequence {
			t.Fatalf("the oldest is %+v", list[0])
		}
		must(t, s.Ack(s.Epoch(), list[0].Sequence-1))
		again, err := s.Pending(1 << 30)
		must(t, err)
		if len(again) != len(list) || again[0].First != 1 {
			t.Errorf("a watermark inside of the first block freed it: %d of %d wait", len(again), len(list))
		}
		must(t, s.Ack(s.Epoch(), list[0].Sequence))
		if again, err = s.Pending(1 << 30); err != nil || len(again) != len(list)-1 {
			t.Errorf("its watermark did not free it: %d of %d wait, %v", len(again), len(list), err)
		}
	})
}

// TestJoins: only blocks that say exactly as much together are joined.
func TestJoins(t *testing.T) {
	first := func() *block.Block {
		return &block.Block{Sequence: 1, Boot: "a", Start: time.Unix(0, 0), Length: time.Minute,
			Subjects: []block.Subject{{Class: block.CheckClass, Name: "records", State: checks.Up}},
			Edges:    []block.Edge{{Class: block.CheckClass, Name: "records", From: checks.Up, To: checks.Down}}}
	}
	tests := []struct {
		name   string
		change func(*block.Block)
		want   bool
	}{
		{"what follows", func(*block.Block) {}, true},
		{"another state than it was left in", func(b *block.Block) { b.Subjects[0].State = checks.Up }, false},
		{"another subject", func(b *block.Block) { b.Subjects[0].Name = "results" }, false},
		{"one subject more", func(b *block.Block) { b.Subjects = append(b.Subjects, block.Subject{}) }, false},
		{"another target", func(b *block.Block) { b.Subjects[0].Target = "198.51.100.21:443" }, false},
		{"another boot", func(b *block.Block) { b.Boot = "b" }, false},
		{"time between", func(b *block.Block) { b.Start = b.Start.Add(1) }, false},
		{"a sequence between", func(b *block.Block) { b.Sequence++ }, false},
	}
	for _, tt := range tests {
		b := first()
		b.Sequence, b.Start, b.Edges, b.Subjects[0].State = 2, b.End(), nil, checks.Down
		tt.change(b)
		if got := joins(first(), b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestAcknowledgedGoFirst: room is made of what the collector has.
func TestAcknowledgedGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxBytes = 24 << 10
		s := mustOpen(t, t.TempDir(), o)
		for range 25 {
			life(t, s, 10*time.Minute)
			must(t, s.Ack(s.Epoch(), s.last()-20))
			if s.used() > o.MaxBytes {
				t.Fatalf("%d bytes, %d are allowed", s.used(), o.MaxBytes)
			}
		}
		blocks := all(t, s)
		follow(t, blocks)
		if blocks[0].Low() == 1 || len(blocks) < 60 {
			t.Errorf("%d blocks from %d on: nothing was removed, or too much", len(blocks), blocks[0].Low())
		}
		for _, b := range blocks {
			if b.Low() != b.Sequence {
				t.Errorf("block %d-%d was thinned", b.Low(), b.Sequence)
			}
		}
		if s.Len() != 20 {
			t.Errorf("%d wait, want 20", s.Len())
		}
		must(t, s.Close())
	})
}

// TestAge: acknowledged blocks go after their time, others never.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxBytes, o.MaxAge = 128<<10, time.Hour
		s := mustOpen(t, t.TempDir(), o)
		life(t, s, 2*time.Hour)
		must(t, s.Ack(s.Epoch(), 60))
		life(t, s, 2*time.Hour)
		blocks := all(t, s)
		if first := blocks[0].Low(); first <= 1 || first > 61 {
			t.Errorf("the oldest block is %d", first)
		}
		must(t, s.Close())
	})
}

// TestFullOfEdges: edges are never thinned, so a spool can be full for good; it
// says so and goes on.
func TestFullOfEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.MaxBytes = 24 << 10
		s := mustOpen(t, t.TempDir(), o)
		random := rand.New(rand.NewPCG(1, 1))
		edges := 0
		for range 100 {
			time.Sleep(10 * time.Second)
			for range 20 {
				must(t, s.Edge(block.Edge{Class: block.CheckClass, Name: "records", From: checks.Up, To: checks.Up, Text: fmt.Sprint(random.Uint64())}))
				edges++
			}
			must(t, s.tick())
		}
		if err := s.Stats().Error; !errors.Is(err, errFull) {
			t.Errorf("error %v", err)
		}
		if used := s.Stats().UsedRatio; used < 1 {
			t.Errorf("used %v of it", used)
		}
		if err := s.Close(); !errors.Is(err, errFull) {
			t.Errorf("close: %v", err)
		}
		found := 0
		for _, b := range all(t, mustOpen(t, s.root.Name(), o)) {
			found += len(b.Edges)
		}
		if found != edges {
			t.Errorf("%d edges, want %d", found, edges)
		}
	})
}

func FuzzJournal(f *testing.F) {
	for _, l := range []line{
		{Kind: headLine, Head: &head{Gateway: "avocet-1", Epoch: 1, Sequence: 1}}, {Kind: subjectLine, Subject: &block.Subject{Name: "records"}},
		{Kind: sampleLine, Elapsed: 5, Sample: &sample{Verdict: checks.OK, RTT: []time.Duration{1}}}, {Kind: edgeLine, Edge: &block.Edge{}}, {Kind: gapLine, Gap: &block.Gap{}},
	} {
		raw, err := l.appendTo(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw[9:]))
	}
	head, err := line{Kind: headLine, Head: &head{Gateway: "avocet-1", Epoch: 1, Sequence: 1}}.appendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		// with a head and right sums, so that the fuzzer gets past them
		var raw []byte
		raw = append(raw, head...)
		for range 2 {
			raw = fmt.Appendf(raw, "%08x %s\n", sum(text), text)
		}
		if b, ok := readJournal(raw); ok && b.Length <= 0 {
			t.Errorf("block %+v", b)
		}
		readJournal([]byte(text))
	})
}

func sum(text string) uint32 { return crc32.Checksum([]byte(text), castagnoli) }
