package hist

import "slices"

// buckets are the counts of adjoining buckets. Each takes a byte until one of
// them needs more: there are thousands of histograms of a minute or five, with
// some tens of durations in each.
type buckets struct {
	small []uint8
	large []uint64 // nil: all counts are in small
}

// step is by how many small ones there is room at a time.
const step = 32

func (b *buckets) len() int { return max(len(b.small), len(b.large)) }

func (b *buckets) at(i int) uint64 {
	if b.large != nil {
		return b.large[i]
	}
	return uint64(b.small[i])
}

// add counts n more in bucket i, and stops at the largest number.
func (b *buckets) add(i int, n uint64) {
	sum := plus(b.at(i), n)
	if b.large == nil && sum <= 1<<8-1 {
		b.small[i] = uint8(sum)
		return
	}
	b.widen()
	b.large[i] = sum
}

func (b *buckets) widen() {
	if b.large != nil {
		return
	}
	b.large = make([]uint64, len(b.small))
	for i, n := range b.small {
		b.large[i] = uint64(n)
	}
	b.small = nil
}

// extend makes room for so many empty buckets before the others, and after.
func (b *buckets) extend(before, after int) {
	n := before + b.len() + after
	if b.large != nil {
		b.large = slices.Concat(make([]uint64, before), b.large, make([]uint64, after))
		return
	}
	was := len(b.small)
	if cap(b.small) < n {
		b.small = append(make([]uint8, 0, (n+step-1)/step*step), b.small...)
	}
	b.small = b.small[:n]
	copy(b.small[before:], b.small[:was])
	clear(b.small[:before])
	clear(b.small[before+was:])
}

// reset leaves no buckets, and keeps the memory of small ones.
func (b *buckets) reset() { b.small, b.large = b.small[:0], nil }

func (b *buckets) clone() buckets {
	return buckets{slices.Clone(b.small), slices.Clone(b.large)}
}
