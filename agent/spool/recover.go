package spool

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// end is where the record ends, and what wrote it.
type end struct {
	at      time.Time // zero: there is no record
	boot    string
	crashed bool // the open block was not sealed
}

// recover seals what a former process left in journals, and opens a block whose
// gaps say what happened since.
func (s *Spool) recover() error {
	at, err := s.lastEnd()
	if err != nil {
		return err
	}
	names, err := s.journals()
	if err != nil {
		return err
	}
	sequence := s.last()
	for _, name := range names {
		raw, err := s.root.ReadFile(name)
		if err != nil {
			return err
		}
		b, ok := readJournal(raw)
		if !ok || b.Sequence <= sequence || b.Gateway != s.o.Gateway || b.Epoch != s.epoch {
			// it has nothing, or is in a segment
			if err := s.root.Remove(name); err != nil {
				return err
			}
			continue
		}
		if b.Sequence > sequence+1 {
			s.finished = append(s.finished, finished{block: lost(b, sequence+1, b.Sequence-1, at)})
		}
		sequence = b.Sequence
		s.finished = append(s.finished, finished{b, []string{name}})
		at = end{b.End(), b.Boot, true}
	}
	wall, mono := s.clock()
	start := trim(wall)
	if at.at.After(start) {
		s.owed = at
	}
	s.begin(sequence+1, start, mono-wall.Sub(start), at.gaps(start, s.o.Boot))
	// a full disk does not keep the agent from starting: it is in s.trouble
	_ = s.persist()
	return nil
}

// journals gives the files of open blocks in the order of their sequence.
func (s *Spool) journals() ([]string, error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".open") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// lastEnd gives the end of the newest block in a segment.
func (s *Spool) lastEnd() (end, error) {
	all := s.all()
	if len(all) == 0 {
		return end{}, nil
	}
	raw, err := s.root.ReadFile(all[len(all)-1].file)
	if err != nil {
		return end{}, err
	}
	records, _, _ := split(raw)
	if len(records) == 0 {
		return end{}, nil
	}
	newest := records[len(records)-1]
	s.newest = s.packed(newest)
	b, err := block.Decode(newest.bytes)
	if err != nil {
		return end{}, fmt.Errorf("newest block: %w", err)
	}
	return end{b.End(), b.Boot, false}, nil
}

// gaps says why nothing was measured from e to start.
func (e end) gaps(start time.Time, boot string) []block.Gap {
	switch {
	case e.at.IsZero() || !e.at.Before(start):
		return nil
	case e.boot == boot:
		return []block.Gap{{From: e.at, To: start, Reason: block.AgentStopped}}
	case !e.crashed:
		return []block.Gap{{From: e.at, To: start, Reason: block.GatewayOff}}
	}
	// what was measured since the last sync is lost; when the power went is not known closer
	cut := e.at.Add(syncEvery)
	if !cut.Before(start) {
		return []block.Gap{{From: e.at, To: start, Reason: block.PowerCut}}
	}
	return []block.Gap{{From: e.at, To: cut, Reason: block.PowerCut}, {From: cut, To: start, Reason: block.GatewayOff}}
}

// lost makes a block that stands for sequences which are not there any more: it
// covers nothing.
func lost(next *block.Block, first, last uint64, before end) *block.Block {
	from := before.at
	if from.IsZero() || !from.Before(next.Start) {
		from = next.Start.Add(-grain)
	}
	return &block.Block{
		Gateway: next.Gateway, Epoch: next.Epoch, First: first, Sequence: last, Boot: cmp.Or(before.boot, next.Boot),
		Start: from, Length: next.Start.Sub(from), Gaps: []block.Gap{{From: from, To: next.Start, Reason: block.DiskFull}},
	}
}
