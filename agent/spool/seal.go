package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// finished is a sealed block that is not in a segment yet, with its journals.
type finished struct {
	block    *block.Block
	journals []string
}

// Run seals the open block on the minute, syncs it every ten seconds, and keeps
// the spool within its bounds. It returns nil when ctx ends; Close seals the rest.
func (s *Spool) Run(ctx context.Context, ready func()) error {
	ready()
	for {
		timer := time.NewTimer(s.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.kick:
			timer.Stop()
		}
		if err := s.tick(); errors.Is(err, ErrClosed) {
			return err
		}
	}
}

// pause is the time until the next minute or the next sync.
func (s *Spool) pause() time.Duration {
	wall, _ := s.clock()
	return max(grain, min(wall.Truncate(minute).Add(minute).Sub(wall), syncEvery-wall.Sub(wall.Truncate(syncEvery))))
}

// tick does what is due. Its error is only for Run; others are in Stats.
func (s *Spool) tick() error {
	s.mu.Lock()
	err := s.turn()
	if err != nil {
		s.mu.Unlock()
		return err
	}
	_ = s.write(line{Kind: lifeLine}) // a failure is in s.fault
	file := s.open.file
	s.mu.Unlock()
	if file != nil {
		if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.mu.Lock()
			s.setFault(err)
			s.mu.Unlock()
		}
	}
	_ = s.persist() // a failure is in s.trouble
	return nil
}

// turn ends the open block when its minute is over, when the wall clock was set,
// when the process did not run for a while, or when it is large.
func (s *Spool) turn() error {
	if s.open == nil {
		return ErrClosed
	}
	c := s.open
	wall, mono := s.clock()
	drift := wall.Sub(c.block.Start) - (mono - c.mono)
	over := !wall.Before(c.block.Start.Truncate(minute).Add(minute))
	if over || drift.Abs() > stepped || mono-c.seen > stalled || c.size > maxJournal {
		s.finish(false)
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
	return nil
}

// finish seals the open block and, unless it is the last, begins the next.
//
// Within a block the clock that is never set says how long it was. When the wall
// clock has parted from it, the block is as long as it really was, and the next
// begins at the new time: what was skipped is a gap, what is lived through twice
// is covered twice.
func (s *Spool) finish(last bool) {
	_ = s.flush() // a failure is in s.fault
	c := s.open
	wall, mono := s.clock()
	boundary := c.block.Start.Truncate(minute).Add(minute)
	drift := wall.Sub(c.block.Start) - (mono - c.mono)
	next := trim(wall)
	var gaps []block.Gap
	if mono-c.seen > stalled {
		c.block.Length = (c.seen - c.mono).Truncate(grain)
		gaps = append(gaps, block.Gap{From: c.block.End(), To: next, Reason: block.AgentStopped})
	} else if drift.Abs() > stepped {
		c.block.Length = (mono - c.mono).Truncate(grain)
		gaps = append(gaps, block.Gap{From: c.block.End(), To: next, Reason: block.ClockStepped})
		if next.After(s.owed.at) {
			// the machine began with an old clock: now it can be said when it was off
			gaps = append(gaps, s.owed.gaps(next, s.o.Boot)...)
			s.owed = end{}
		}
	} else {
		if next.After(boundary) {
			next = boundary
		}
		c.block.Length = next.Sub(c.block.Start)
	}
	gaps = slices.DeleteFunc(gaps, func(g block.Gap) bool { return !g.From.Before(g.To) })
	sequence := c.block.Sequence + 1
	if c.block.Length < grain && len(c.block.Edges) == 0 && empty(c.block) {
		// nothing has happened in it: the next one takes its place
		sequence, gaps = c.block.Sequence, append(c.block.Gaps, gaps...)
		s.drop(c)
	} else {
		c.block.Length = max(grain, c.block.Length)
		if c.file != nil {
			_ = c.file.Close() // it was written by write(2); its sync is the segment's
		}
		s.finished = append(s.finished, finished{c.block, []string{c.name}})
	}
	s.open = nil
	if !last {
		s.begin(sequence, next, mono-wall.Sub(next), gaps)
	}
}

func empty(b *block.Block) bool {
	return len(b.Refused) == 0 && !slices.ContainsFunc(b.Subjects, func(s block.Subject) bool { return s.OK+s.Degraded+s.Failed+s.Unknown > 0 })
}

func (s *Spool) drop(c *current) {
	if c.file != nil {
		_ = c.file.Close()
	}
	_ = s.root.Remove(c.name) // an empty journal is dropped by the next Open too
}

// begin opens the next block, with the subjects as they are now.
func (s *Spool) begin(sequence uint64, start time.Time, mono time.Duration, gaps []block.Gap) {
	b := &block.Block{Gateway: s.o.Gateway, Epoch: s.epoch, First: sequence, Sequence: sequence, Boot: s.o.Boot, Start: start, Subjects: slices.Clone(s.subjects), Gaps: gaps}
	_, now := s.clock()
	s.open = &current{block: b, mono: mono, seen: now, name: fmt.Sprintf("%020d.open", sequence)}
	f, err := s.root.OpenFile(s.open.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if s.open.file = f; err != nil {
		s.open.file = nil
		s.setFault(err)
	}
	lines := []line{{Kind: headLine, Head: &head{b.Gateway, b.Epoch, sequence, b.Boot, start}}}
	for i := range s.subjects {
		lines = append(lines, line{Kind: subjectLine, Subject: &s.subjects[i]})
	}
	for i := range gaps {
		lines = append(lines, line{Kind: gapLine, Gap: &gaps[i]})
	}
	for _, l := range lines {
		_ = s.append(l) // a failure is in s.fault
	}
	if s.open.file != nil {
		s.setFault(nil)
	}
}
