package hist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// The binary form: a version byte, then varints: coarser, zero, number of
// buckets that are not empty; unless both are 0: sum, min, max less min; for
// the first bucket its index (plus one) and count, for each further one the
// number of empty buckets before it and its count.
const version = 1

// AppendBinary appends the binary form of h to b. It never fails.
func (h *Histogram) AppendBinary(b []byte) ([]byte, error) {
	used := 0
	for i := range h.counts.len() {
		if h.counts.at(i) > 0 {
			used++
		}
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(h.coarser))
	b = binary.AppendUvarint(b, h.zero)
	b = binary.AppendUvarint(b, uint64(used))
	if h.zero == 0 && used == 0 {
		return b, nil
	}
	b = binary.AppendUvarint(b, uint64(h.sum))
	b = binary.AppendUvarint(b, uint64(h.min))
	b = binary.AppendUvarint(b, uint64(h.max-h.min))
	next := -1
	for i := range h.counts.len() {
		n := h.counts.at(i)
		if n == 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(h.offset+i-next))
		b = binary.AppendUvarint(b, n)
		next = h.offset + i + 1
	}
	return b, nil
}

// MarshalBinary returns the binary form of h. It never fails.
func (h *Histogram) MarshalBinary() ([]byte, error) { return h.AppendBinary(nil) }

// UnmarshalBinary sets h to what data holds. It refuses data that no Histogram
// would write; h is then unchanged.
func (h *Histogram) UnmarshalBinary(data []byte) error {
	r := reader{data: data}
	if r.byte() != version {
		return errors.New("decoding histogram: not of version 1")
	}
	var d Histogram
	d.coarser = int(r.upTo(MaxScale - MinScale))
	d.zero = r.upTo(math.MaxUint64)
	used := int(r.upTo(MaxBuckets))
	if d.count = d.zero; d.zero > 0 || used > 0 {
		d.sum = time.Duration(r.upTo(math.MaxInt64))
		d.min = time.Duration(r.upTo(math.MaxInt64))
		d.max = d.min + time.Duration(r.upTo(uint64(math.MaxInt64-d.min)))
		d.readCounts(&r, used)
	}
	if r.err == nil && len(r.data) > 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.data))
	}
	if r.err == nil {
		r.err = d.check()
	}
	if r.err != nil {
		return fmt.Errorf("decoding histogram: %w", r.err)
	}
	*h = d
	return nil
}

func (h *Histogram) readCounts(r *reader, used int) {
	next := -1
	for i := range used {
		at := next + int(r.upTo(64<<MaxScale))
		n := r.upTo(math.MaxUint64)
		if i == 0 {
			h.offset = at
		}
		if r.err == nil && (n == 0 || at-h.offset >= MaxBuckets) {
			r.err = errors.New("an empty bucket, or one too far off")
		}
		if r.err != nil {
			return
		}
		h.counts.extend(0, at-h.offset+1-h.counts.len())
		h.counts.add(at-h.offset, n)
		h.count = plus(h.count, n)
		next = at + 1
	}
}

// check says where h contradicts itself.
func (h *Histogram) check() error {
	switch {
	case h.count == 0:
		return nil
	case h.zero > 0 && h.min != 0, h.zero == 0 && h.min == 0:
		return errors.New("the smallest value is not in the lowest bucket")
	case h.counts.len() == 0:
		if h.max != 0 || h.sum != 0 {
			return errors.New("zeros only, yet a value above zero")
		}
		return nil
	case h.max == 0 || index(h.max)>>h.coarser != h.offset+h.counts.len()-1:
		return errors.New("the largest value is not in the highest bucket")
	case h.zero == 0 && index(h.min)>>h.coarser != h.offset:
		return errors.New("the smallest value is not in the lowest bucket")
	case h.sum < h.max:
		return errors.New("the sum is less than the largest value")
	}
	return nil
}

// reader takes varints off data until the first fault.
type reader struct {
	data []byte
	err  error
}

func (r *reader) byte() byte {
	if len(r.data) == 0 {
		r.err = errors.New("cut short")
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *reader) upTo(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.err = errors.New("cut short")
		return 0
	}
	if v > most {
		r.err = fmt.Errorf("%d is more than %d", v, most)
		return 0
	}
	r.data = r.data[n:]
	return v
}
