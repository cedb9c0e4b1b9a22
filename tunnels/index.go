package tunnels

import (
	"encoding/binary"
	"math/bits"

	"github.com/ginnel/ginnel/tunnels/key"
)

// index finds places in a list by hash. A map would do, and takes most of a plan's
// time at a hub of 10,000 sites: this one is an eighth of its size, so that it
// stays in the processor's cache.
type index struct {
	slots []slot // a power of two of them, at most half taken
}

type slot struct {
	hash uint32
	at   int32 // from 1; 0: free
}

func newIndex(n int) index {
	return index{make([]slot, 1<<bits.Len(uint(2*n)))}
}

func (x index) put(hash uint64, at int) {
	i := int(hash>>32) & (len(x.slots) - 1)
	for x.slots[i].at != 0 {
		i = (i + 1) & (len(x.slots) - 1)
	}
	x.slots[i] = slot{uint32(hash), int32(at + 1)}
}

// find is the first place that was put under the hash and is the same; -1: none.
func (x index) find(hash uint64, same func(at int) bool) int {
	for i := int(hash>>32) & (len(x.slots) - 1); x.slots[i].at != 0; i = (i + 1) & (len(x.slots) - 1) {
		if at := int(x.slots[i].at) - 1; x.slots[i].hash == uint32(hash) && same(at) {
			return at
		}
	}
	return -1
}

// mix spreads a number over all bits (the finaliser of SplitMix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func hashKey(k key.Public) uint64 {
	return mix(binary.LittleEndian.Uint64(k[:8]) ^ binary.LittleEndian.Uint64(k[8:16]))
}

func (r *Route) hash() uint64 {
	a := r.Prefix.Addr().As16()
	rest := uint64(r.Prefix.Bits())<<56 ^ uint64(r.Table)<<28 ^ uint64(r.Metric)
	return mix(mix(binary.BigEndian.Uint64(a[:8])^rest) ^ binary.BigEndian.Uint64(a[8:]))
}
