package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks/hist"
)

// figures adds up what blocks measured, each block once. Of blocks with one
// start the one that stands for most goes first, so that a thinned block that
// comes together with its parts replaces them.
type figures struct {
	from, to        time.Time
	blocks, thinned int
	sums            map[string]*sum // by words of the service
	seen            map[uint64][]span
	waiting         []*block.Block // of one start
}

// span is a range of sequences that was counted.
type span struct{ first, last uint64 }

type sum struct {
	sent, received uint64
	rtt            hist.Histogram
}

func newFigures(from, to time.Time) *figures {
	return &figures{from: from, to: to, sums: make(map[string]*sum), seen: make(map[uint64][]span)}
}

// of gives the sum of a service; nil: nothing was measured.
func (f *figures) of(v block.Service) *sum { return f.sums[v.Name] }

// add takes a block of which most lies in the period.
func (f *figures) add(b *block.Block) {
	if middle := b.Start.Add(b.Length / 2); middle.Before(f.from) || !middle.Before(f.to) {
		return
	}
	if len(f.waiting) > 0 && !f.waiting[0].Start.Equal(b.Start) {
		f.flush()
	}
	f.waiting = append(f.waiting, b)
}

// flush counts the blocks that wait.
func (f *figures) flush() {
	slices.SortFunc(f.waiting, func(a, b *block.Block) int {
		return cmp.Or(cmp.Compare(b.Sequence-b.Low(), a.Sequence-a.Low()), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Sequence, b.Sequence))
	})
	for _, b := range f.waiting {
		if f.take(b) {
			f.count(b)
		}
	}
	f.waiting = f.waiting[:0]
}

// take notes the block's range; false: all of it was counted.
func (f *figures) take(b *block.Block) bool {
	ranges := f.seen[b.Epoch]
	i, there := slices.BinarySearchFunc(ranges, b.Low(), func(s span, low uint64) int { return cmp.Compare(s.first, low) })
	if !there {
		i--
	}
	if i >= 0 && ranges[i].last >= b.Sequence {
		return false
	}
	if i >= 0 && ranges[i].last+1 >= b.Low() {
		ranges[i].last = b.Sequence
		return true
	}
	f.seen[b.Epoch] = slices.Insert(ranges, i+1, span{b.Low(), b.Sequence})
	return true
}

func (f *figures) count(b *block.Block) {
	f.blocks++
	if b.Low() < b.Sequence {
		f.thinned++
	}
	checked := make(map[string]bool)
	for _, s := range b.Subjects {
		if s.Class == block.CheckClass {
			checked[s.Network] = true
		}
	}
	for _, s := range b.Subjects {
		name := cmp.Or(s.StandsFor, s.Name)
		if s.Class == block.TunnelClass && !checked[s.Network] {
			name = "Network " + s.Network
		} else if s.Class != block.CheckClass {
			continue
		}
		t := f.sums[name]
		if t == nil {
			t = new(sum)
			f.sums[name] = t
		}
		t.sent += s.Sent
		t.received += s.Received
		if s.RTT != nil {
			t.rtt.Merge(s.RTT)
		}
	}
}
