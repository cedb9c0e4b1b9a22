package spool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/checks"
)

var t0 = time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)

func TestFlightRemembersPackets(t *testing.T) {
	var f spool.Flight
	f.Sample("echo", checks.Result{Verdict: checks.Degraded, Reason: checks.Loss, Start: t0, Packets: []checks.Packet{
		{At: 0, RTT: 10 * time.Millisecond, Fate: checks.Answered}, {At: time.Second, Fate: checks.Lost}}})
	f.Sample("echo", checks.Result{Verdict: checks.Unknown, Reason: checks.Blocked, Start: t0.Add(2 * time.Second)})
	f.Sample("echo", checks.Result{Verdict: checks.OK, Start: t0.Add(3 * time.Second), RTT: []time.Duration{20 * time.Millisecond}})
	f.Sample("echo", checks.Result{Verdict: checks.Failed, Reason: checks.Refused, Start: t0.Add(4 * time.Second)})
	got := f.Of("echo", t0.Add(2*time.Second))
	want := []evidence.Packet{{At: -2, RTT: 0.01, Fate: "answered"}, {At: -1, Fate: "lost"}, {At: 1, RTT: 0.02, Fate: "answered"}, {At: 2, Fate: "denied"}}
	if fmt.Sprint(got.Packets) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got.Packets, want)
	}
	if got.Good.Verdict != checks.OK || got.Last.Reason != checks.Refused {
		t.Errorf("good %v, last %v", got.Good, got.Last)
	}
	f.Forget("echo")
	if got := f.Of("echo", t0); len(got.Packets) > 0 || got.Last.Verdict != "" {
		t.Errorf("still %+v", got)
	}
}

// TestFlightIsExact looks at a record's bounds: a microsecond, and what is beyond.
func TestFlightIsExact(t *testing.T) {
	var f spool.Flight
	long := 4294967295 * time.Microsecond
	for _, p := range []checks.Packet{
		{At: 0, RTT: 1 * time.Microsecond, Fate: checks.Answered}, {At: time.Microsecond, RTT: long, Fate: checks.Unsent},
		{At: 9 * time.Microsecond, RTT: 2 * long, Fate: checks.Late}, {At: 9 * 24 * time.Hour, RTT: long - time.Microsecond, Fate: checks.Corrupt},
	} {
		f.Sample("echo", checks.Result{Verdict: checks.OK, Start: t0, Packets: []checks.Packet{p}})
	}
	got := f.Of("echo", t0).Packets
	want := []evidence.Packet{{At: 0, RTT: 1e-6, Fate: "answered"}, {At: 1e-6, RTT: 4294.967295, Fate: "unsent"},
		{At: 9e-6, RTT: 4294.967295, Fate: "late"}, {At: 9 * 24 * 3600, RTT: 4294.967294, Fate: "corrupt"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	f.Sample("clock", checks.Result{Verdict: checks.OK, Start: time.Unix(-9, 0)})
	if got := f.Of("clock", time.Unix(0, 0)).Packets; len(got) != 1 || got[0].At != 0 {
		t.Errorf("of before 1970: %v", got)
	}
}

// TestFlightIsBounded has one check ask fast and one slowly for a long time: the
// newest of each are there, in order.
func TestFlightIsBounded(t *testing.T) {
	for every, want := range map[time.Duration]int{10 * time.Millisecond: 256, time.Second: 128, 30 * time.Second: 32} {
		var f spool.Flight
		for i := range 5000 {
			f.Sample("echo", checks.Result{Verdict: checks.OK, Start: t0.Add(time.Duration(i) * every)})
		}
		end := t0.Add(5000 * every)
		got := f.Of("echo", end).Packets
		if len(got) != want {
			t.Errorf("every %v: %d records, want %d", every, len(got), want)
		}
		for i, p := range got {
			if d := -float64(len(got)-i) * every.Seconds(); p.At-d > 1e-5 || d-p.At > 1e-5 {
				t.Fatalf("every %v: record %d is of %v s, want %v", every, i, p.At, d)
			}
		}
	}
}

// TestFlightOfAThousand fills the rings of a thousand checks: they must not have
// more than 2.5 MiB of the 40 that the whole agent may.
func TestFlightOfAThousand(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := new(spool.Flight)
	for i := range 300 {
		for c := range 1000 {
			f.Sample(fmt.Sprint("check ", c), checks.Result{Verdict: checks.OK, Start: t0.Add(time.Duration(i) * 100 * time.Millisecond)})
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d checks, %d records each: %.2f MiB", 1000, len(f.Of("check 7", t0).Packets), float64(size)/(1<<20))
	if size > 5<<19 {
		t.Errorf("%d bytes", size)
	}
	runtime.KeepAlive(f)
}

func document(t *testing.T, at time.Time) (string, []byte) {
	b := evidence.Bundle{Version: 1, ID: evidence.NewID("avocet-1", "echo", at), Gateway: "avocet-1", Made: at, Subject: evidence.Subject{Name: "echo"},
		Change: evidence.Change{At: at, Noticed: at, From: checks.Up, To: checks.Down}}
	text, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b.ID, text
}

func TestShelf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence")
	s := spool.OpenShelf(dir)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("a new one has %v, %v", list, err)
	}
	var ids []string
	for i := range 60 {
		id, text := document(t, t0.Add(time.Duration(i)*time.Minute))
		if err := s.Put(id, text); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	s = spool.OpenShelf(dir) // after a restart
	list, err := s.List()
	if err != nil || len(list) != 50 || list[0].ID != ids[59] || list[49].ID != ids[10] || list[0].Sent {
		t.Fatalf("%d, %v", len(list), err)
	}
	id, _, err := s.Waiting()
	if err != nil || id != ids[10] {
		t.Fatalf("waiting %q, %v", id, err)
	}
	if err := errors.Join(s.Ack(id), s.Ack(id)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ids[11]+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if next, _, err := spool.OpenShelf(dir).Waiting(); err != nil || next != ids[12] {
		t.Errorf("next %q, want %q, %v", next, ids[12], err)
	}
	if b, err := s.Get(id); err != nil || b.ID != id {
		t.Errorf("what was sent: %v", err)
	}
	if _, err := s.Get("20261123T141502-9f3a01c7"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what there is not: %v", err)
	}
}
