// Package hist keeps durations as base-2 exponential histograms: the kind that
// OpenTelemetry calls an exponential histogram. Bucket i of scale s holds the
// values in (base^i, base^(i+1)] nanoseconds with base = 2^(2^-s). Two of them
// merge without loss beyond the coarser scale of both, in any order, so that a
// minute on a gateway and a month of a county are the same sort of thing.
package hist

import (
	"math"
	"sort"
	"time"
)

const (
	// MaxScale is the scale that a histogram starts with: buckets 0.54 % wide.
	MaxScale = 7
	// MinScale is the coarsest scale that is understood.
	MinScale = -10
	// MaxBuckets is how many buckets a histogram may span before it gets
	// coarser.
	MaxBuckets = 160
)

// Histogram is a set of durations. The zero Histogram is empty and ready. It is
// not safe for use by several goroutines at once.
type Histogram struct {
	coarser int     // MaxScale - scale
	offset  int     // index of the first of counts
	counts  buckets // at most MaxBuckets; the first and last are not 0
	zero    uint64  // durations of 0
	count   uint64  // zero and all counts
	sum     time.Duration
	min     time.Duration
	max     time.Duration
}

// Add counts d. A negative d counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	if h.count == 0 || d < h.min {
		h.min = d
	}
	h.max = max(h.max, d)
	h.sum = plusTime(h.sum, d)
	h.count = plus(h.count, 1)
	if d == 0 {
		h.zero = plus(h.zero, 1)
		return
	}
	i := index(d) >> h.coarser
	i >>= h.fit(i, i)
	h.counts.add(i-h.offset, 1)
}

// Merge adds all of other. A nil other is empty.
func (h *Histogram) Merge(other *Histogram) {
	if other == nil {
		return
	}
	h.downscale(max(0, other.coarser-h.coarser))
	if other.count == 0 {
		return
	}
	if h.count == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.sum = plusTime(h.sum, other.sum)
	h.count = plus(h.count, other.count)
	h.zero = plus(h.zero, other.zero)
	if other.counts.len() == 0 {
		return
	}
	first := other.offset >> (h.coarser - other.coarser)
	last := (other.offset + other.counts.len() - 1) >> (h.coarser - other.coarser)
	h.fit(first, last)
	shift := h.coarser - other.coarser
	for i := range other.counts.len() {
		if n := other.counts.at(i); n > 0 {
			h.counts.add((other.offset+i)>>shift-h.offset, n)
		}
	}
}

// Clone returns a copy that shares nothing with h.
func (h *Histogram) Clone() *Histogram {
	c := *h
	c.counts = h.counts.clone()
	return &c
}

// Reset makes h empty, and keeps its memory for what is added next.
func (h *Histogram) Reset() {
	h.counts.reset()
	*h = Histogram{counts: h.counts}
}

// Count is how many durations were counted.
func (h *Histogram) Count() uint64 { return h.count }

// Sum is their sum, or the largest Duration where it would be more.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Min is the smallest, exactly; 0 when there are none.
func (h *Histogram) Min() time.Duration { return h.min }

// Max is the largest, exactly; 0 when there are none.
func (h *Histogram) Max() time.Duration { return h.max }

// Scale is the present scale, at most MaxScale.
func (h *Histogram) Scale() int { return MaxScale - h.coarser }

// Quantile returns the duration that a share q of all is not above, to within
// a bucket's width and never outside of Min and Max. It is 0 when there are
// none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(min(max(q, 0), 1) * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	switch {
	case rank == h.count:
		return h.max
	case rank == 1:
		return h.min
	case rank <= h.zero:
		return 0
	}
	seen := h.zero
	for i := range h.counts.len() {
		n := h.counts.at(i)
		if seen = plus(seen, n); seen >= rank {
			inside := (float64(rank-(seen-n)) - 0.5) / float64(n)
			return min(max(value(h.offset+i, h.coarser, inside), h.min), h.max)
		}
	}
	return h.max
}

// fit makes room for the indices first to last of the present scale, coarser if
// need be, and returns by how much it became coarser.
func (h *Histogram) fit(first, last int) int {
	if h.counts.len() > 0 {
		first, last = min(first, h.offset), max(last, h.offset+h.counts.len()-1)
	}
	by := 0
	for last>>by-first>>by >= MaxBuckets {
		by++
	}
	h.downscale(by)
	first, last = first>>by, last>>by
	if h.counts.len() == 0 {
		h.offset = first
	}
	if grow := last - first + 1 - h.counts.len(); grow > 0 {
		before := h.offset - first
		h.counts.extend(before, grow-before)
		h.offset = first
	}
	return by
}

// downscale halves the scale's precision by times.
func (h *Histogram) downscale(by int) {
	h.coarser += by
	if by == 0 || h.counts.len() == 0 {
		return
	}
	first := h.offset >> by
	last := (h.offset + h.counts.len() - 1) >> by
	var counts buckets
	counts.extend(0, last-first+1)
	for i := range h.counts.len() {
		if n := h.counts.at(i); n > 0 {
			counts.add((h.offset+i)>>by-first, n)
		}
	}
	h.counts, h.offset = counts, first
}

// bounds are the lower bounds of the buckets of [1, 2) at MaxScale.
var bounds = func() (b [1 << MaxScale]float64) {
	for i := range b {
		b[i] = math.Exp2(float64(i) / float64(len(b)))
	}
	return b
}()

// index is the bucket of d > 0 at MaxScale. Coarser scales are reached by
// shifting it, so that a histogram does not depend on the order of its parts.
func index(d time.Duration) int {
	fraction, exponent := math.Frexp(float64(d)) // fraction in [0.5, 1)
	return (exponent-1)<<MaxScale + sort.SearchFloat64s(bounds[:], 2*fraction) - 1
}

// value is the duration at a share inside of bucket i, on the logarithmic scale.
func value(i, coarser int, inside float64) time.Duration {
	exponent := (float64(i) + inside) * math.Exp2(float64(coarser-MaxScale))
	if exponent >= 63 {
		return math.MaxInt64
	}
	return time.Duration(math.Exp2(exponent))
}

// plus adds and stops at the largest number.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

func plusTime(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
