package spool

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
)

// Bounds of the flight recorder. A record has 11 bytes, so all of them have
// 1.4 MiB at the most, however many checks there are.
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
	ring     []record
	first, n int
	last     checks.Result  // without packets; its steps are shared with the runner's
	good     *checks.Result // the last that was ok, where last is not; nil: there is none
}

// record is a packet in 11 bytes: in 7 of them when it left, in microseconds since
// 1970, above an index of fates in 4 bits; in the others the microseconds to its
// answer, of which the most stands for more.
type record [11]byte

const (
	fateBits = 4
	mostAt   = 1<<(56-fateBits) - 1 // in 2112
)

func (r record) at() int64 {
	return int64(binary.LittleEndian.Uint64(r[:8]) << 8 >> 8 >> fateBits)
}

func (r record) rtt() uint32 { return binary.LittleEndian.Uint32(r[7:]) }

func (r record) fate() string { return fates[r[0]&(1<<fateBits-1)] }

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
	if len(r.RTT) != 1 {
		r.RTT = []time.Duration{evidence.Median(r.RTT)}
	}
	switch {
	case r.Verdict == checks.OK:
		t.good = nil
	case t.last.Verdict == checks.OK:
		good := t.last
		t.good = &good
	}
	t.last = r
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
	got := Recorded{Last: t.last}
	switch {
	case t.last.Verdict == checks.OK:
		got.Good = t.last
	case t.good != nil:
		got.Good = *t.good
	}
	for i := range t.n {
		r := t.ring[(t.first+i)%len(t.ring)]
		got.Packets = append(got.Packets, evidence.Packet{
			At: float64(r.at()-at.UnixMicro()) / 1e6, RTT: float64(r.rtt()) / 1e6, Fate: r.fate()})
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
	var r record
	binary.LittleEndian.PutUint64(r[:], uint64(min(max(at.UnixMicro(), 0), mostAt))<<fateBits|uint64(i))
	binary.LittleEndian.PutUint32(r[7:], uint32(min(max(rtt.Microseconds(), 0), 1<<32-1)))
	return r
}

// add puts r behind the others. The oldest goes where the ring is as large as it
// may get, or is old enough to go.
func (t *track) add(r record, room int) {
	if t.n == len(t.ring) && t.n < room {
		if t.n < flightLeast || r.at()-t.ring[t.first].at() < flightSpan.Microseconds() {
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
