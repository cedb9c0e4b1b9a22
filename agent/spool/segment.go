package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// segment is a file of blocks in order: each its length in four bytes, little
// endian, and the packed block, which ends with its own checksum.
type segment struct {
	file        string
	first, last uint64    // sequences
	start, end  time.Time // to the second, outward
	blocks      int
	level       int // 0: minutes; else how far thinned
	size        int64
}

const (
	activeFile = "active.seg"
	suffix     = ".seg"
)

// packed is a record of a segment.
type packed struct {
	block.Name
	bytes []byte
}

// name says what is in a full segment, so that opening a spool reads no blocks.
func (g segment) name() string {
	return fmt.Sprintf("%020d-%020d-%d-%d-%d-%d%s", g.first, g.last, g.start.Unix(), g.end.Unix(), g.blocks, g.level, suffix)
}

func parseName(name string) (segment, bool) {
	g := segment{file: name}
	var start, end int64
	n, err := fmt.Sscanf(name, "%d-%d-%d-%d-%d-%d"+suffix, &g.first, &g.last, &start, &end, &g.blocks, &g.level)
	g.start, g.end = time.Unix(start, 0).UTC(), time.Unix(end, 0).UTC()
	return g, err == nil && n == 6 && g.first > 0 && g.first <= g.last && g.name() == name
}

// add notes that a block is in the segment.
func (g *segment) add(n block.Name, size int) {
	if g.blocks == 0 || n.First < g.first {
		g.first = n.First
	}
	if start := n.Start.Truncate(time.Second); g.blocks == 0 || start.Before(g.start) {
		g.start = start
	}
	if end := n.End().Add(time.Second - 1).Truncate(time.Second); g.blocks == 0 || end.After(g.end) {
		g.end = end
	}
	g.last = max(g.last, n.Sequence)
	g.blocks++
	g.size += int64(size) + 4
}

// split cuts a segment's bytes into records. good is how many bytes are whole;
// skipped says that a damaged record lay between whole ones.
func split(raw []byte) (records []packed, good int, skipped bool) {
	at := 0
	for len(raw)-at >= 4 {
		size := int64(binary.LittleEndian.Uint32(raw[at:]))
		if size == 0 || size > block.MaxSize || size > int64(len(raw)-at-4) {
			break
		}
		b := raw[at+4 : at+4+int(size)]
		at += 4 + int(size)
		if n, err := block.NameOf(b); err == nil {
			skipped = skipped || good < at-4-int(size)
			records, good = append(records, packed{n, b}), at
		}
	}
	return records, good, skipped
}

func join(records []packed) []byte {
	var raw []byte
	for _, r := range records {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(len(r.bytes)))
		raw = append(raw, r.bytes...)
	}
	return raw
}

// loadSegments finds the segments by their names, and cuts off what is torn at
// the end of the active one.
func (s *Spool) loadSegments() error {
	var err error
	if s.segments, err = list(s.root); err != nil {
		return err
	}
	for i := 1; i < len(s.segments); i++ {
		// a crash while a segment was thinned: the joined one has all that the other has
		if a, b := s.segments[i-1], s.segments[i]; a.first == b.first {
			if err := s.root.Remove(a.file); err != nil {
				return err
			}
			s.segments = slices.Delete(s.segments, i-1, i)
			i--
		}
	}
	halves, err := fs.Glob(s.root.FS(), "*.tmp")
	if err != nil {
		return err
	}
	for _, name := range halves {
		_ = s.root.Remove(name) // half of a file that was never used
	}
	s.active = segment{file: activeFile}
	raw, err := s.root.ReadFile(activeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	records, good, _ := split(raw)
	for _, r := range records {
		s.active.add(r.Name, len(r.bytes))
	}
	s.active.size = int64(good)
	if good == len(raw) {
		return nil
	}
	s.o.Log.Warn("end of the spool was torn and is cut off", "bytes", len(raw)-good)
	f, err := s.root.OpenFile(activeFile, os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(good)), f.Sync(), f.Close())
}

// list gives the full segments of a spool, oldest first; of two with the same
// beginning the more thinned one is last.
func list(root *os.Root) ([]segment, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, e := range entries {
		g, ok := parseName(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		g.size = info.Size()
		segments = append(segments, g)
	}
	slices.SortFunc(segments, func(a, b segment) int {
		return int(min(max(int64(a.first)-int64(b.first), -1), 1))*2 + min(max(a.level-b.level, -1), 1)
	})
	return segments, nil
}

// nameInBlocks gives the gateway and epoch of the newest block; empty: there is
// none, or it cannot be read.
func (s *Spool) nameInBlocks() (gateway string, epoch uint64) {
	files := []string{activeFile}
	if segments, err := list(s.root); err == nil {
		for _, g := range slices.Backward(segments) {
			files = append(files, g.file)
		}
	}
	for _, file := range files {
		raw, err := s.root.ReadFile(file)
		if err != nil {
			continue
		}
		if records, _, _ := split(raw); len(records) > 0 {
			n := records[len(records)-1]
			return n.Gateway, n.Epoch
		}
	}
	return "", 0
}

// all gives the segments with the active one, if there is something in it.
func (s *Spool) all() []segment {
	if s.active.blocks == 0 {
		return s.segments
	}
	return append(slices.Clip(s.segments), s.active)
}

// used is what all segments take.
func (s *Spool) used() int64 {
	var n int64
	for _, g := range s.all() {
		n += g.size
	}
	return n
}

// waiting is how many blocks in segments are not acknowledged.
func (s *Spool) waiting() int {
	n := 0
	for _, g := range s.all() {
		switch {
		case g.first > s.acked:
			n += g.blocks
		case g.last > s.acked:
			n += int(min(uint64(g.blocks), g.last-s.acked))
		}
	}
	return n
}

// last is the highest sequence in a segment.
func (s *Spool) last() uint64 {
	all := s.all()
	if len(all) == 0 {
		return s.acked
	}
	return max(s.acked, all[len(all)-1].last)
}

// fullSize is when the active segment is full.
func (s *Spool) fullSize() int64 { return min(max(s.o.MaxBytes/32, 4<<10), 256<<10) }

// turnSegment closes the active segment when it is full.
func (s *Spool) turnSegment() error {
	if s.active.size < s.fullSize() {
		return nil
	}
	g := s.active
	g.file = g.name()
	if err := s.root.Rename(activeFile, g.file); err != nil {
		return err
	}
	s.segments = append(s.segments, g)
	s.active = segment{file: activeFile}
	return s.syncDir()
}

// appendBlock puts a block into the active segment, durably. After a failure
// the segment is as before.
func (s *Spool) appendBlock(p packed) error {
	f, err := s.root.OpenFile(activeFile, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(join([]packed{p}), s.active.size)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(s.active.size), f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if s.active.size == 0 {
		if err := s.syncDir(); err != nil {
			return err
		}
	}
	s.active.add(p.Name, len(p.bytes))
	return nil
}

// rewrite replaces a segment by records that stand for the same sequences.
func (s *Spool) rewrite(i int, records []packed, level int) error {
	old := s.segments[i]
	g := segment{level: level}
	for _, r := range records {
		g.add(r.Name, len(r.bytes))
	}
	g.file = g.name()
	if err := s.replace(g.file, join(records)); err != nil {
		return fmt.Errorf("writing %s: %w", g.file, err)
	}
	s.segments[i] = g
	if g.file == old.file {
		return nil
	}
	return s.root.Remove(old.file)
}
