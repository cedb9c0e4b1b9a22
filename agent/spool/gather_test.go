package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// TestGatheredSamples: what SampleSoon takes is in the journal after Flush, after
// anything else that is written, and when there is much of it; never later than
// the block's end.
func TestGatheredSamples(t *testing.T) {
	r := checks.Result{Verdict: checks.OK, Sent: 1, Received: 1, RTT: []time.Duration{time.Millisecond}}
	sub := Subject{Class: block.CheckClass, Name: "records"}
	for _, test := range []struct {
		name    string
		samples int
		then    func(*Spool) error
		least   uint64 // that are in the journal
	}{
		{"nothing is done", 3, func(*Spool) error { return nil }, 0},
		{"flushed", 3, (*Spool).Flush, 3},
		{"flushed twice", 3, func(s *Spool) error { _ = s.Flush(); return s.Flush() }, 3},
		{"a sample that does not wait", 3, func(s *Spool) error { return s.Sample(sub, r) }, 4},
		{"an edge", 3, func(s *Spool) error {
			return s.Edge(block.Edge{Class: sub.Class, Name: sub.Name, From: checks.UnknownState, To: checks.Up})
		}, 3},
		{"a line of life", 3, (*Spool).tick, 3},
		{"there is much", 1000, func(*Spool) error { return nil }, 800},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(dir, Options{Gateway: "avocet-1"})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetState(sub, checks.UnknownState); err != nil {
				t.Fatal(err)
			}
			for range test.samples {
				if err := s.SampleSoon(sub, r); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.then(s); err != nil {
				t.Fatal(err)
			}
			names, _ := filepath.Glob(filepath.Join(dir, "*.open"))
			if len(names) != 1 {
				t.Fatalf("journals: %q", names)
			}
			raw, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			b, ok := readJournal(raw)
			if got := uint64(0); ok && len(b.Subjects) == 1 {
				if got = b.Subjects[0].Sent; got < test.least || test.samples < 10 && got != test.least {
					t.Errorf("%d samples are in the journal, want %d", got, test.least)
				}
			} else if test.least > 0 {
				t.Errorf("the journal has %+v", b)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			sent := uint64(0)
			for b, err := range Read(dir, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)) {
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range b.Subjects {
					sent += x.Sent
				}
			}
			if sent < uint64(test.samples) {
				t.Errorf("%d samples are in the spool after its end", sent)
			}
		})
	}
}

// TestGatheredBelongToTheirBlock: what was gathered in one block is not written
// into the journal of the next.
func TestGatheredBelongToTheirBlock(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{Gateway: "avocet-1"})
	if err != nil {
		t.Fatal(err)
	}
	sub := Subject{Class: block.CheckClass, Name: "records"}
	must(t, s.SampleSoon(sub, checks.Result{Verdict: checks.OK, Sent: 1, Received: 1}))
	s.mu.Lock()
	s.finish(false)
	next := s.open.name
	s.mu.Unlock()
	must(t, s.SampleSoon(sub, checks.Result{Verdict: checks.OK, Sent: 10, Received: 10}))
	must(t, s.Flush())
	raw, err := os.ReadFile(filepath.Join(dir, next))
	must(t, err)
	if b, ok := readJournal(raw); !ok || len(b.Subjects) != 1 || b.Subjects[0].Sent != 10 {
		t.Errorf("the next journal has %+v", b)
	}
	must(t, s.Close())
}
