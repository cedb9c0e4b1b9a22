package checks

import (
	"time"

	"github.com/ginnel/ginnel/checks/hist"
)

// Status is a running check as it is now.
type Status struct {
	Spec     Spec // with its defaults filled in
	State    State
	Since    time.Time
	Last     Result // of the last run; its Verdict is empty before the first
	WaitsFor string // what blocks it; empty: nothing
	Err      error  // why it cannot be run here; nil: it is run
	Figures  Figures
	Counts   Counts
}

// Figures are those of the last five minutes. Results of verdict unknown are
// not among them.
type Figures struct {
	Timed          int           // number of RTTs; 0: P50 and P95 mean nothing
	P50, P95       time.Duration // of the RTTs
	Sent, Received int
}

// Loss is the share of questions that got no answer in time; false: nothing was
// asked.
func (f Figures) Loss() (ratio float64, ok bool) {
	if f.Sent == 0 {
		return 0, false
	}
	return float64(f.Sent-f.Received) / float64(f.Sent), true
}

// Counts are those since the check was started with its present Spec.
type Counts struct {
	OK, Degraded, Failed, Unknown uint64 // runs by verdict
	Sent, Received                uint64
	Skipped                       uint64 // starts left out because a run had not ended; also in Unknown
}

func (c *Counts) add(r Result) {
	switch r.Verdict {
	case OK:
		c.OK++
	case Degraded:
		c.Degraded++
	case Failed:
		c.Failed++
	default:
		c.Unknown++
		return
	}
	c.Sent += uint64(r.Sent)
	c.Received += uint64(r.Received)
}

const (
	slotLength = 50 * time.Second
	slotCount  = 6 // five minutes, of which the last slot is filling
)

// window keeps the last five minutes in slots. The zero
// window is empty and begins with its first result.
type window struct {
	begin time.Time
	slots [slotCount]slot
}

type slot struct {
	number         int // since begin
	sent, received int
	rtt            hist.Histogram
}

func (w *window) add(now time.Time, r Result) {
	if r.Verdict == Unknown {
		return
	}
	if w.begin.IsZero() {
		w.begin = now
	}
	n := int(now.Sub(w.begin) / slotLength)
	s := &w.slots[n%slotCount]
	if s.number != n {
		*s = slot{number: n}
	}
	s.sent += r.Sent
	s.received += r.Received
	for _, d := range r.RTT {
		s.rtt.Add(d)
	}
}

func (w *window) figures(now time.Time) Figures {
	var f Figures
	var all hist.Histogram
	n := int(now.Sub(w.begin) / slotLength)
	for i := range w.slots {
		s := &w.slots[i]
		if n-s.number >= slotCount {
			continue
		}
		f.Sent += s.sent
		f.Received += s.received
		all.Merge(&s.rtt)
	}
	f.Timed = int(all.Count())
	f.P50, f.P95 = all.Quantile(0.5), all.Quantile(0.95)
	return f
}
