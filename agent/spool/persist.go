package spool

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/ginnel/ginnel/agent/block"
)

// inMemory is how many sealed blocks are kept while none can be written: an hour.
const inMemory = 60

// persist writes sealed blocks into segments, in order, and keeps the spool
// within its bounds. What cannot be written stays in memory and is tried again.
func (s *Spool) persist() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	err := s.write1()
	for room := true; errors.Is(err, syscall.ENOSPC) && room; err = s.write1() {
		if room = s.evict(true); !room {
			break
		}
	}
	if err == nil {
		err = s.bound()
	}
	s.setTrouble(err)
	s.mu.Lock()
	s.crowd()
	s.mu.Unlock()
	return err
}

// write1 writes all that is sealed, until the first failure.
func (s *Spool) write1() error {
	for {
		s.mu.Lock()
		if len(s.finished) == 0 {
			s.mu.Unlock()
			return nil
		}
		f := s.finished[0]
		s.mu.Unlock()
		if err := s.settle(f); err != nil {
			return err
		}
		s.mu.Lock()
		s.finished = s.finished[1:]
		s.mu.Unlock()
	}
}

// settle puts one block into a segment and removes its journals.
func (s *Spool) settle(f finished) error {
	raw, err := block.Encode(f.block)
	if err != nil {
		// it must not hold up those behind it
		s.o.Log.Error("block cannot be packed and is lost", "sequence", f.block.Sequence, "err", err)
		f.block.Subjects, f.block.Edges = nil, nil
		f.block.Gaps = []block.Gap{{From: f.block.Start, To: f.block.End(), Reason: block.Damaged}}
		if raw, err = block.Encode(f.block); err != nil {
			return err
		}
	}
	if err := s.turnSegment(); err != nil {
		return fmt.Errorf("closing a segment: %w", err)
	}
	p := packed{f.block.Name(), raw}
	if err := s.appendBlock(p); err != nil {
		return fmt.Errorf("block %d: %w", f.block.Sequence, err)
	}
	s.newest = s.packed(p)
	for _, name := range f.journals {
		_ = s.root.Remove(name) // the next Open knows it by its number
	}
	return nil
}

// crowd keeps what waits in memory for room on the disk within bounds: first
// it is joined, as when the spool is full; then the oldest is given up, but for
// its edges.
func (s *Spool) crowd() {
	for level := levelFive; level <= levelAll && len(s.finished) > inMemory; level++ {
		s.finished = joinFinished(s.finished, level)
	}
	for len(s.finished) > inMemory {
		a, b := s.finished[0], s.finished[1]
		gone := lost(b.block, a.block.Low(), a.block.Sequence, end{a.block.Start, a.block.Boot, true})
		gone.Subjects, gone.Edges = stripped(b.block.Subjects), a.block.Edges
		gone.First, gone.Sequence = a.block.Low(), b.block.Sequence
		gone.Edges = append(gone.Edges, b.block.Edges...)
		gone.Length += b.block.Length
		gone.Gaps = append(gone.Gaps, block.Gap{From: b.block.Start, To: b.block.End(), Reason: block.DiskFull})
		s.o.Log.Error("disk is full for too long: a minute is lost", "start", a.block.Start)
		s.finished = append([]finished{{gone, append(a.journals, b.journals...)}}, s.finished[2:]...)
	}
}

// stripped gives subjects without figures.
func stripped(subjects []block.Subject) []block.Subject {
	list := make([]block.Subject, len(subjects))
	for i, s := range subjects {
		list[i] = block.Subject{Class: s.Class, Name: s.Name, Network: s.Network, Target: s.Target, StandsFor: s.StandsFor, State: s.State, Since: s.Since, Cause: s.Cause}
	}
	return list
}

// setTrouble notes what is wrong with the segments, and logs changes.
func (s *Spool) setTrouble(err error) {
	switch {
	case err != nil && s.trouble == nil:
		s.o.Log.Error("spool cannot keep blocks", "err", err)
	case err == nil && s.trouble != nil:
		s.o.Log.Info("spool keeps blocks again")
	}
	s.trouble = err
}
