package hist

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// of makes a histogram of ds.
func of(ds ...time.Duration) *Histogram {
	var h Histogram
	for _, d := range ds {
		h.Add(d)
	}
	return &h
}

func bytesOf(t *testing.T, h *Histogram) []byte {
	t.Helper()
	b, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func same(t *testing.T, what string, a, b *Histogram) {
	t.Helper()
	if !bytes.Equal(bytesOf(t, a), bytesOf(t, b)) || a.Count() != b.Count() {
		t.Errorf("%s: %+v is not %+v", what, a, b)
	}
}

// some returns durations of a spread that grows with n: from one octave to all.
func some(r *rand.Rand, n int) []time.Duration {
	ds := make([]time.Duration, r.IntN(40))
	for i := range ds {
		switch r.IntN(20) {
		case 0:
			ds[i] = 0
		case 1:
			ds[i] = 1 << r.IntN(63)
		default:
			ds[i] = time.Duration(math.Exp2(20 + r.NormFloat64()*float64(n%10)))
		}
	}
	return ds
}

func TestBucketsAreThoseOfOpenTelemetry(t *testing.T) {
	// (base^i, base^(i+1)] with base = 2^(2^-7): a power of two is the upper
	// end of its bucket.
	for _, test := range []struct {
		d    time.Duration
		want int
	}{
		{1, -1}, {2, 127}, {3, 202}, {4, 255}, {1 << 20, 20<<7 - 1}, {1<<20 + 1, 20 << 7},
		{math.MaxInt64, 63<<7 - 1},
	} {
		if got := index(test.d); got != test.want {
			t.Errorf("index(%d) = %d, want %d", test.d, got, test.want)
		}
	}
}

func TestQuantilesAreWithinABucket(t *testing.T) {
	var h Histogram
	var all []time.Duration
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		d := time.Duration(float64(10*time.Millisecond) * math.Exp(r.NormFloat64()*0.08))
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.95, 0.999, 1} {
		want := all[max(0, int(math.Ceil(q*float64(len(all))))-1)]
		got := h.Quantile(q)
		if off := math.Abs(float64(got-want)) / float64(want); off > 0.0055 {
			t.Errorf("quantile %g: got %v, want %v, %.2f %% off", q, got, want, 100*off)
		}
	}
	if h.Scale() != MaxScale {
		t.Errorf("scale %d, want %d: this spread fits into %d buckets", h.Scale(), MaxScale, MaxBuckets)
	}
	if h.Min() != all[0] || h.Max() != all[len(all)-1] {
		t.Errorf("min %v, max %v, want %v, %v", h.Min(), h.Max(), all[0], all[len(all)-1])
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 2000 {
		a, b, c := some(r, n), some(r, n/3), some(r, n/7)
		left := of(a...)
		left.Merge(of(b...))
		left.Merge(of(c...))
		right := of(b...)
		right.Merge(of(c...))
		from := of(a...)
		from.Merge(right)
		other := of(c...)
		other.Merge(of(a...))
		other.Merge(of(b...))
		same(t, "(a+b)+c and a+(b+c)", left, from)
		same(t, "(a+b)+c and (c+a)+b", left, other)
		same(t, "merged and added one by one", left, of(slices.Concat(a, b, c)...))
		if t.Failed() {
			t.Fatalf("with %v, %v, %v", a, b, c)
		}
	}
}

func TestWidestSpread(t *testing.T) {
	h := of(1, math.MaxInt64, math.MaxInt64)
	if h.Sum() != math.MaxInt64 || h.Count() != 3 || h.counts.len() > MaxBuckets {
		t.Errorf("sum %d, count %d, %d buckets", h.Sum(), h.Count(), h.counts.len())
	}
	if got := h.Quantile(1); got != math.MaxInt64 {
		t.Errorf("quantile 1 is %d", got)
	}
	if got := of().Quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
	if got := of(-5, 0, 0, 9).Quantile(0.75); got != 0 {
		t.Errorf("three of four are not above 0, got %v", got)
	}
	h.Merge(nil)
	if h.Count() != 3 {
		t.Errorf("nil added something")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	h := of(time.Millisecond)
	c := h.Clone()
	c.Add(time.Millisecond)
	if h.Count() != 1 || h.counts.at(0) != 1 {
		t.Errorf("the clone changed its original: %+v", h)
	}
}

func TestBinaryRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 500 {
		h := of(some(r, n)...)
		var back Histogram
		if err := back.UnmarshalBinary(bytesOf(t, h)); err != nil {
			t.Fatalf("%+v: %v", h, err)
		}
		same(t, "decoded", h, &back)
		if h.Quantile(0.5) != back.Quantile(0.5) || h.Sum() != back.Sum() {
			t.Fatalf("decoded %+v, want %+v", back, h)
		}
	}
}

// TestBinaryIsCompact holds a minute of a check that runs each ten seconds to
// what a block can afford.
func TestBinaryIsCompact(t *testing.T) {
	ms := time.Millisecond
	h := of(11*ms, 11200*time.Microsecond, 12*ms, 14*ms, 11100*time.Microsecond, 11*ms)
	if n := len(bytesOf(t, h)); n > 32 {
		t.Errorf("six samples take %d bytes, want at most 32", n)
	}
}

func TestBinaryRefuses(t *testing.T) {
	good := bytesOf(t, of(0, time.Millisecond, time.Second))
	for _, test := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"another version", append([]byte{9}, good[1:]...)},
		{"cut short", good[:len(good)-1]},
		{"too long", append(slices.Clone(good), 0)},
		{"too coarse", []byte{version, 18, 0, 0}},
		{"an empty bucket", []byte{version, 0, 0, 1, 1, 1, 0, 0, 0}},
		{"a sum below the maximum", []byte{version, 0, 0, 1, 3, 4, 0, 0x80, 2, 1}},
		{"a maximum of no bucket", []byte{version, 0, 0, 1, 9, 1, 8, 0, 1}},
		{"a minimum of no bucket", []byte{version, 0, 1, 1, 1, 1, 0, 0, 1}},
	} {
		h := of(time.Minute)
		if err := h.UnmarshalBinary(test.data); err == nil {
			t.Errorf("%s: taken", test.name)
		}
		same(t, test.name+": left alone", h, of(time.Minute))
	}
}

func FuzzUnmarshalBinary(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for n := range 20 {
		b, _ := of(some(r, n)...).MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var h, again Histogram
		if h.UnmarshalBinary(data) != nil {
			return
		}
		if err := again.UnmarshalBinary(bytesOf(t, &h)); err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		same(t, "written and read", &h, &again)
		twice := h.Clone()
		twice.Merge(&again)
		for _, q := range []float64{0, 0.5, 1} {
			if v := twice.Quantile(q); v < h.Min() || v > h.Max() {
				t.Fatalf("quantile %g of %v..%v is %v", q, h.Min(), h.Max(), v)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	var h Histogram
	d := 10 * time.Millisecond
	for b.Loop() {
		h.Add(d)
		d += 17 * time.Nanosecond
	}
}
