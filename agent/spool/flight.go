package spool

import (
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
)

// Bounds of the flight recorder. A record has 16 bytes, so all of them have 2 MiB
// at the most, however many checks there are.
const (
	flightSpan  = 2 * time.Minute // older records go when there is no room ...
	flightLeast = 32              // ... but so many of a check are always kept
	flightMost  = 256             // records of one check
	flightAll   = 128 << 10       // records of all
)

// Flight remembers the last packets of each check and tunnel in memory. The zero
// Flight is empty and ready. Its methods are safe for concurrent use.
type Flight struct {
	mu sync.Mutex
	of map[string]*track
}

// track is what is remembered of one check: a ring of records.
type track struct {
	ring       []record
	first, n   int
	good, last checks.Result // without packets; their steps are shared with the runner's
}

// record is a packet in 16 bytes.
type record struct {
	at   int64  // microseconds since 1970
	rtt  uint32 // microseconds; the most stands for more
	fate uint8  // an index of fates
}

var fates = []string{string(checks.Answered), string(checks.Lost), string(checks.Late), string(checks.Corrupt),
	string(checks.Denied), string(checks.Unsent), evidence.Wrong}

// Sample remembers a run: its packets, or itself as one.
func (f *Flight) Sample(name string, r checks.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of[name]
	if t == nil {
		if f.of == nil {
			f.of = map[string]*track{}
		}
		t = &track{}
		f.of[name] = t
	}
	room := min(max(flightAll/len(f.of), flightLeast), flightMost)
	for _, p := range r.Packets {
		t.add(recordOf(r.Start.Add(p.At), p.RTT, string(p.Fate)), room)
	}
	fate := evidence.FateOf(r)
	if len(r.Packets) == 0 && fate != "" {
		t.add(recordOf(r.Start, evidence.Median(r.RTT), fate), room)
	}
	if fate == "" {
		return
	}
	r.Packets, r.Beside = nil, nil
	r.RTT = []time.Duration{evidence.Median(r.RTT)}
	t.last = r
	if r.Verdict == checks.OK {
		t.good = r
	}
}

// Forget drops what is known of a check.
func (f *Flight) Forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, name)
}

// Recorded is a copy of what is remembered of one check.
type Recorded struct {
	Packets    []evidence.Packet // as seconds since the time that was asked with
	Good, Last checks.Result     // the last run that was ok, and the last; no verdict: none
}

// Of gives what is remembered of a check, with times since at.
func (f *Flight) Of(name string, at time.Time) Recorded {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of[name]
	if t == nil {
		return Recorded{}
	}
	got := Recorded{Good: t.good, Last: t.last}
	for i := range t.n {
		r := t.ring[(t.first+i)%len(t.ring)]
		got.Packets = append(got.Packets, evidence.Packet{
			At: float64(r.at-at.UnixMicro()) / 1e6, RTT: float64(r.rtt) / 1e6, Fate: fates[r.fate]})
	}
	slices.SortStableFunc(got.Packets, func(a, b evidence.Packet) int {
		switch {
		case a.At < b.At:
			return -1
		case a.At > b.At:
			return 1
		}
		return 0
	})
	return got
}

func recordOf(at time.Time, rtt time.Duration, fate string) record {
	i := max(slices.Index(fates, fate), 0)
	return record{at.UnixMicro(), uint32(min(max(rtt.Microseconds(), 0), 1<<32-1)), uint8(i)}
}

// add puts r behind the others. The oldest goes where the ring is as large as it
// may get, or is old enough to go.
func (t *track) add(r record, room int) {
	if t.n == len(t.ring) && t.n < room {
		if t.n < flightLeast || r.at-t.ring[t.first].at < flightSpan.Microseconds() {
			t.grow(min(max(2*t.n, 8), room))
		}
	}
	if t.n > room { // there are more checks than before
		t.grow(room)
	}
	if t.n == len(t.ring) {
		t.ring[t.first] = r
		t.first = (t.first + 1) % len(t.ring)
		return
	}
	t.ring[(t.first+t.n)%len(t.ring)] = r
	t.n++
}

// grow moves the newest records to a ring of another size.
func (t *track) grow(size int) {
	ring := make([]record, size)
	keep := min(t.n, size)
	for i := range keep {
		ring[i] = t.ring[(t.first+t.n-keep+i)%len(t.ring)]
	}
	t.ring, t.first, t.n = ring, 0, keep
}
