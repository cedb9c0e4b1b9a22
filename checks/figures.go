package checks

import (
	"math"
	"time"

	"github.com/ginnel/ginnel/checks/hist"
)

// Figures are those of the last five minutes. Results of verdict unknown are
// not among them, but for their Odd.
type Figures struct {
	Timed         int           // number of RTTs; 0: none of the times means anything
	Min, P50, P95 time.Duration // of the RTTs (RFC 2681)
	P99           time.Duration // 0 below P99Needs
	PDV           time.Duration // P99 above Min (RFC 5481, 4.2); 0 below P99Needs
	Jitter        Jitter
	Sent          int // questions asked
	Received      int // answers in time
	Odd           Odd
}

// P99Needs is how many RTTs it takes to speak of the slowest hundredth.
const P99Needs = 100

// Loss is the share of questions that got no answer in time (RFC 6673); false:
// nothing was asked.
func (f Figures) Loss() (ratio float64, ok bool) {
	if f.Sent == 0 {
		return 0, false
	}
	return float64(f.Sent-f.Received) / float64(f.Sent), true
}

// LossBetween is where the loss of the way lies, with 95 % confidence, by what
// was seen of it (Wilson's interval, which holds for small numbers and for none
// lost); 0 to 1 where nothing was asked.
func (f Figures) LossBetween() (low, high float64) {
	return wilson(f.Sent-f.Received, f.Sent)
}

// wilson is the 95 % score interval of k among n.
func wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	share, total := float64(k)/float64(n), float64(n)
	middle := share + z*z/(2*total)
	reach := z * math.Sqrt(share*(1-share)/total+z*z/(4*total*total))
	scale := 1 + z*z/total
	low, high = (middle-reach)/scale, (middle+reach)/scale
	if k == 0 {
		low = 0 // not a rounding error above it
	}
	if k == n {
		high = 1
	}
	return low, high
}

// Jitter is the interarrival jitter of RFC 3550, 6.4.1, of round trips: the
// smoothed difference of the RTTs of consecutive questions that were both
// answered. Across a lost one there is no difference. The zero Jitter has seen
// nothing.
type Jitter struct {
	Of    uint64        // differences so far; 0: Value means nothing
	Value time.Duration // it follows new differences with a weight of 1/16
	exact float64       // Value, not rounded
	last  time.Duration // RTT of the last question
	known bool          // last is of an answer
}

// question takes what came of the next question.
func (j *Jitter) question(rtt time.Duration, answered bool) {
	if answered && j.known {
		j.exact += (math.Abs(float64(rtt-j.last)) - j.exact) / 16
		j.Value = time.Duration(j.exact)
		j.Of++
	}
	j.last, j.known = rtt, answered
}

// add takes a run. Where it does not say which questions were lost, none of its
// times follow one another.
func (j *Jitter) add(r Result) {
	switch {
	case len(r.Packets) > 0:
		for _, p := range r.Packets {
			if p.Fate != Unsent {
				j.question(p.RTT, p.Fate == Answered && p.RTT > 0)
			}
		}
	case r.Sent > 0 && len(r.RTT) == r.Sent:
		for _, d := range r.RTT {
			j.question(d, true)
		}
	case r.Sent > 0:
		j.known = false
	}
}

// Counts are those since the check was started with its present Spec.
type Counts struct {
	OK, Degraded, Failed, Unknown uint64 // runs by verdict
	Sent, Received                uint64 // not of unknown runs
	Skipped                       uint64 // starts left out because a run had not ended, also in Unknown; and results given up while the Sink hung

	// As in Odd, of all runs.
	Late, Duplicate, Reordered, Corrupt, Unsent, Dropped uint64
}

func (c *Counts) add(r Result) {
	c.Late += uint64(r.Odd.Late)
	c.Duplicate += uint64(r.Odd.Duplicate)
	c.Reordered += uint64(r.Odd.Reordered)
	c.Corrupt += uint64(r.Odd.Corrupt)
	c.Unsent += uint64(r.Odd.Unsent)
	c.Dropped += uint64(r.Odd.Dropped)
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

// window keeps the last five minutes in slots. The zero window is empty and
// begins with its first result.
type window struct {
	begin  time.Time
	slots  [slotCount]slot
	jitter Jitter
}

type slot struct {
	number         int32 // since begin; it wraps after 3,000 years
	sent, received int32
	odd            *Odd // nil: nothing is
	rtt            hist.Histogram
}

func (s *slot) add(o Odd) {
	if o == (Odd{}) {
		return
	}
	if s.odd != nil {
		o = s.odd.plus(o)
	}
	s.odd = &o
}

func (w *window) add(now time.Time, r Result) {
	if r.Verdict == Unknown {
		w.jitter.known = w.jitter.known && r.Sent == 0 && r.Odd.Unsent == 0
	}
	if r.Verdict == Unknown && r.Odd == (Odd{}) {
		return
	}
	if w.begin.IsZero() {
		w.begin = now
	}
	n := int32(now.Sub(w.begin) / slotLength)
	s := &w.slots[n%slotCount]
	if s.number != n {
		s.rtt.Reset()
		*s = slot{number: n, rtt: s.rtt}
	}
	s.add(r.Odd)
	if r.Verdict == Unknown {
		return
	}
	s.sent += int32(r.Sent)
	s.received += int32(r.Received)
	for _, d := range r.RTT {
		s.rtt.Add(d)
	}
	w.jitter.add(r)
}

func (w *window) figures(now time.Time) Figures {
	f := Figures{Jitter: w.jitter}
	var all hist.Histogram
	n := int32(now.Sub(w.begin) / slotLength)
	for i := range w.slots {
		s := &w.slots[i]
		if n-s.number >= slotCount {
			continue
		}
		f.Sent += int(s.sent)
		f.Received += int(s.received)
		if s.odd != nil {
			f.Odd = f.Odd.plus(*s.odd)
		}
		all.Merge(&s.rtt)
	}
	f.Timed = int(all.Count())
	f.Min, f.P50, f.P95 = all.Min(), all.Quantile(0.5), all.Quantile(0.95)
	if f.Timed >= P99Needs {
		f.P99 = all.Quantile(0.99)
		f.PDV = f.P99 - f.Min
	}
	return f
}

func (o Odd) plus(p Odd) Odd {
	return Odd{
		o.Late + p.Late, o.Duplicate + p.Duplicate, o.Reordered + p.Reordered,
		o.Corrupt + p.Corrupt, o.Unsent + p.Unsent, o.Dropped + p.Dropped,
	}
}
