package spool

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/ginnel/ginnel/agent/block"
)

// errFull: the spool is above its bound and nothing in it can get smaller.
var errFull = errors.New("spool is full")

// bound keeps the segments within MaxBytes and MaxAge.
func (s *Spool) bound() error {
	wall, _ := s.clock()
	for len(s.segments) > 0 && s.segments[0].last <= s.acked && s.segments[0].end.Before(wall.Add(-s.o.MaxAge)) {
		if !s.evict(false) {
			break
		}
	}
	for s.used() > s.o.MaxBytes {
		if s.evict(false) {
			continue
		}
		i := s.thinnest()
		if i < 0 {
			return fmt.Errorf("%w: %d bytes, %d are allowed, and all is thinned", errFull, s.used(), s.o.MaxBytes)
		}
		if err := s.thinSegment(i); err != nil {
			return err
		}
	}
	return nil
}

// evict removes the oldest segment if all of it is acknowledged. With hard it
// ends the active segment first where that is the only one, to make room on a
// full disk.
func (s *Spool) evict(hard bool) bool {
	if len(s.segments) == 0 || s.segments[0].last > s.acked {
		return false
	}
	g := s.segments[0]
	if err := s.root.Remove(g.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.segments = s.segments[1:]
	if hard {
		s.o.Log.Warn("disk is full: old blocks that the collector has were removed", "start", g.start, "end", g.end)
	}
	return true
}

// thinnest chooses the segment to thin: the oldest minutes, unless minutes take
// less than half of the room; then the oldest five minutes, unless those take
// less than a quarter; then the oldest hours. Negative: all are thinned.
func (s *Spool) thinnest() int {
	var size [levelAll + 1]int64
	oldest := [levelAll + 1]int{-1, -1, -1, -1}
	for i, g := range s.segments {
		level := min(g.level, levelAll)
		size[level] += g.size
		if oldest[level] < 0 {
			oldest[level] = i
		}
	}
	share := s.o.MaxBytes / 2
	for level := range levelAll {
		if oldest[level] >= 0 && size[level] > share {
			return oldest[level]
		}
		share /= 2
	}
	for level := range levelAll {
		if oldest[level] >= 0 {
			return oldest[level]
		}
	}
	return -1
}

// thinSegment joins the blocks of a segment to the next level.
func (s *Spool) thinSegment(i int) error {
	g := s.segments[i]
	records, err := s.read(i)
	if err != nil {
		return err
	}
	var blocks []*block.Block
	for _, r := range records {
		b, err := block.Decode(r.bytes)
		if err != nil {
			b = hollow(r.Name)
		}
		blocks = append(blocks, b)
	}
	var out []packed
	for _, b := range thin(blocks, g.level+1) {
		raw, err := block.Encode(b)
		if err != nil {
			return err
		}
		out = append(out, packed{b.Name(), raw})
	}
	s.o.Log.Warn("spool is full: old minutes are joined", "start", g.start, "end", g.end, "from", len(records), "to", len(out))
	return s.rewrite(i, out, g.level+1)
}

// hollow stands for a block that cannot be read.
func hollow(n block.Name) *block.Block {
	return &block.Block{
		Gateway: n.Gateway, Epoch: n.Epoch, First: n.First, Sequence: n.Sequence, Start: n.Start, Length: n.Length,
		Gaps: []block.Gap{{From: n.Start, To: n.End(), Reason: block.Damaged}},
	}
}

// read gives the records of a full segment. Where some are damaged, blocks that
// say so take their place, so that the watermark can pass.
func (s *Spool) read(i int) ([]packed, error) {
	g := s.segments[i]
	raw, err := s.root.ReadFile(g.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	records, _, _ := split(raw)
	whole := mend(g, records, s.o.Gateway, s.epoch)
	if len(whole) == len(records) {
		return records, nil
	}
	s.o.Log.Error("segment is damaged; what is left was kept", "file", g.file, "blocks", len(records), "of", g.blocks)
	if err := s.rewrite(i, whole, g.level); err != nil {
		return nil, err
	}
	return whole, nil
}

// mend fills the sequences that are missing in a segment.
func mend(g segment, records []packed, gateway string, epoch uint64) []packed {
	var whole []packed
	next, at := g.first, g.start
	fill := func(last uint64, n block.Name) {
		b := hollow(block.Name{Gateway: gateway, Epoch: epoch, First: next, Sequence: last, Start: at, Length: max(grain, n.Start.Sub(at))})
		raw, err := block.Encode(b)
		if err != nil {
			return // the name of a segment that never was ours
		}
		whole = append(whole, packed{b.Name(), raw})
	}
	for _, r := range records {
		if r.First > next {
			fill(r.First-1, r.Name)
		}
		whole = append(whole, r)
		next, at = r.Sequence+1, r.End()
	}
	if next <= g.last {
		fill(g.last, block.Name{Start: g.end})
	}
	return whole
}
