package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

func (s *Spool) packed(p packed) Packed { return Packed{p.Epoch, p.First, p.Sequence, p.bytes} }

// Pending gives blocks that are not acknowledged, oldest first, as many as fit
// into max bytes, but at least one if there is one.
func (s *Spool) Pending(max int) ([]Packed, error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	var out []Packed
	for i, g := range s.all() {
		if g.last <= s.acked {
			continue
		}
		records, err := s.records(i)
		if err != nil {
			return nil, fmt.Errorf("read waiting blocks: %w", err)
		}
		for _, r := range records {
			if r.Sequence <= s.acked {
				continue
			}
			if max -= len(r.bytes); max < 0 && len(out) > 0 {
				return out, nil
			}
			out = append(out, s.packed(r))
		}
	}
	return out, nil
}

// records gives those of the segment at i of all.
func (s *Spool) records(i int) ([]packed, error) {
	if i < len(s.segments) {
		return s.read(i)
	}
	raw, err := s.root.ReadFile(activeFile)
	if err != nil {
		return nil, err
	}
	records, _, _ := split(raw[:min(int64(len(raw)), s.active.size)])
	return records, nil
}

// Newest gives the newest sealed block, if it waits: what is now matters more
// than what was, and may be sent ahead of its turn.
func (s *Spool) Newest() (b Packed, ok bool, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.newest, s.newest.Sequence > s.acked, nil
}

// Len is how many blocks wait in segments.
func (s *Spool) Len() int {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.waiting()
}

// Ack notes that the collector has all blocks of epoch up to and with upto.
// They stay for the history as long as there is room. An ack of another epoch,
// or beyond what was ever sealed, is not believed.
func (s *Spool) Ack(epoch, upto uint64) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	upto = min(upto, s.last())
	if epoch != s.epoch || upto <= s.acked {
		return nil
	}
	before := s.acked
	s.acked = upto
	if err := s.saveState(); err != nil {
		s.acked = before
		return fmt.Errorf("note the watermark %d: %w", upto, err)
	}
	return nil
}

// Epoch is the spool's, made with it.
func (s *Spool) Epoch() uint64 { return s.epoch }

// Blocks gives the sealed blocks that overlap [from, to), acknowledged or not,
// in the order of their sequence. The open block is not among them.
func (s *Spool) Blocks(from, to time.Time) iter.Seq2[*block.Block, error] {
	return blocks(from, to, func(after uint64) (segment, []packed, error) {
		s.disk.Lock()
		defer s.disk.Unlock()
		for i, g := range s.all() {
			if g.last > after && g.overlaps(from, to) {
				records, err := s.records(i)
				return g, records, err
			}
		}
		return segment{}, nil, nil
	})
}

// Read gives the blocks of a spool that another process may have open, as
// Spool.Blocks does. It changes nothing.
func Read(dir string, from, to time.Time) iter.Seq2[*block.Block, error] {
	return blocks(from, to, func(after uint64) (g segment, records []packed, err error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return g, nil, err
		}
		defer root.Close()
		for range 10 {
			// a file that is gone was thinned, or is full now, and has another name
			if g, records, err = readNext(root, after, from, to); !errors.Is(err, fs.ErrNotExist) {
				return g, records, err
			}
		}
		return g, records, err
	})
}

// readNext gives the first segment with something after a sequence.
func readNext(root *os.Root, after uint64, from, to time.Time) (g segment, records []packed, err error) {
	raw, err := root.ReadFile(activeFile) // before the list, so that it cannot slip between
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return g, nil, err
	}
	segments, err := list(root)
	if err != nil {
		return g, nil, err
	}
	for i, g := range segments {
		if i+1 < len(segments) && segments[i+1].first == g.first || g.last <= after || !g.overlaps(from, to) {
			continue
		}
		raw, err := root.ReadFile(g.file)
		records, _, _ := split(raw)
		return g, records, err
	}
	records, _, _ = split(raw)
	for _, r := range records {
		g.add(r.Name, len(r.bytes))
	}
	if g.last <= after {
		return segment{}, nil, nil
	}
	return g, records, nil
}

func (g segment) overlaps(from, to time.Time) bool { return g.start.Before(to) && g.end.After(from) }

// blocks walks over segments, each found anew by next: the first with something
// after a sequence. One without blocks ends it.
func blocks(from, to time.Time, next func(after uint64) (segment, []packed, error)) iter.Seq2[*block.Block, error] {
	return func(yield func(*block.Block, error) bool) {
		var after uint64
		for {
			g, records, err := next(after)
			if err != nil {
				yield(nil, fmt.Errorf("read the spool: %w", err))
				return
			}
			if g.blocks == 0 {
				return
			}
			for _, r := range records {
				if r.Sequence <= after || !r.Start.Before(to) || !r.End().After(from) {
					continue
				}
				b, err := block.Decode(r.bytes)
				if !yield(b, err) {
					return
				}
			}
			after = g.last
		}
	}
}
