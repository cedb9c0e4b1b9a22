package hist

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestBucketsGrow compares counts that outgrow a byte, in any order, with those of
// a map.
func TestBucketsGrow(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		var b buckets
		want, first := map[int]uint64{}, 100
		b.extend(0, 1)
		for range r.IntN(40) {
			before, after := r.IntN(3), r.IntN(3)
			b.extend(before, after)
			first -= before
			i, n := r.IntN(b.len()), r.Uint64N(200)
			b.add(i, n)
			want[first+i] += n
		}
		for i := range b.len() {
			if b.at(i) != want[first+i] {
				t.Fatalf("bucket %d has %d, want %d: %+v", i, b.at(i), want[first+i], b)
			}
		}
	}
	var b buckets
	b.extend(0, 1)
	b.add(0, math.MaxUint64-1)
	if b.add(0, 9); b.at(0) != math.MaxUint64 {
		t.Errorf("the count is %d", b.at(0))
	}
}

// TestManyOfOneDuration has counts beyond a byte in all that is done with a
// histogram.
func TestManyOfOneDuration(t *testing.T) {
	var h, half Histogram
	for range 300 {
		h.Add(time.Millisecond)
		h.Add(time.Second)
	}
	for range 150 {
		half.Add(time.Second)
		half.Add(time.Millisecond)
	}
	both := half.Clone()
	both.Merge(&half)
	same(t, "merged of halves", both, &h)
	if half.Count() != 300 || both.Quantile(0.25).Round(time.Millisecond) != time.Millisecond {
		t.Errorf("%d counted in a half; a quarter is not above %v", half.Count(), both.Quantile(0.25))
	}
	var back Histogram
	if err := back.UnmarshalBinary(bytesOf(t, &h)); err != nil {
		t.Fatal(err)
	}
	same(t, "decoded", &back, &h)
}

func TestReset(t *testing.T) {
	for _, n := range []int{0, 1, 300} {
		var h, fresh Histogram
		for i := range n {
			h.Add(time.Hour)
			h.Add(time.Duration(i))
		}
		h.Reset()
		same(t, "empty", &h, &fresh)
		for _, d := range []time.Duration{0, time.Second, time.Second, time.Millisecond} {
			h.Add(d)
			fresh.Add(d)
		}
		same(t, "used again", &h, &fresh)
		if h.Quantile(0.5) != fresh.Quantile(0.5) {
			t.Errorf("the median is %v, want %v", h.Quantile(0.5), fresh.Quantile(0.5))
		}
	}
}

// TestMinuteIsSmall holds a minute of a check that runs each second to a byte a
// bucket: there are seven such histograms of each.
func TestMinuteIsSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var h Histogram
	for range 60 {
		h.Add(time.Duration(float64(50*time.Microsecond) * math.Exp2(r.Float64())))
	}
	if got := cap(h.counts.small) + 8*cap(h.counts.large); got > MaxBuckets {
		t.Errorf("60 durations of an octave take %d bytes", got)
	}
}
