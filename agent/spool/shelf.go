package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/internal/durable"
)

// Bounds of a Shelf; the oldest go first, sent or not.
const (
	shelfCount = 50
	shelfBytes = 2 << 20
)

// Names of the files: evidence that waits, and evidence that the collector has.
const (
	waitingEnd = ".json"
	sentEnd    = ".sent.json"
)

// Shelf keeps evidence in a folder, a file each. Its methods are safe for
// concurrent use.
type Shelf struct {
	dir string
	mu  sync.Mutex
}

// OpenShelf keeps evidence in dir, which is made with the first.
func OpenShelf(dir string) *Shelf { return &Shelf{dir: dir} }

// file is one on the shelf.
type file struct {
	id   string
	sent bool
	size int64
}

func (f file) name() string {
	if f.sent {
		return f.id + sentEnd
	}
	return f.id + waitingEnd
}

// files lists them, the oldest first. What else is in the folder is not ours.
func (s *Shelf) files() ([]file, error) {
	list, err := os.ReadDir(s.dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read evidence: %w", err)
	}
	var all []file
	for _, e := range list {
		id, sent := strings.CutSuffix(e.Name(), sentEnd)
		if !sent {
			id = strings.TrimSuffix(e.Name(), waitingEnd)
		}
		info, err := e.Info()
		if err != nil || !e.Type().IsRegular() || !evidence.IsID(id) || id == e.Name() {
			continue
		}
		all = append(all, file{id, sent, info.Size()})
	}
	return all, nil // by name, and so by time
}

// Put keeps a document durably, and makes room for it.
func (s *Shelf) Put(id string, text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := durable.WriteFile(filepath.Join(s.dir, id+waitingEnd), text, 0o600); err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	all, err := s.files()
	if err != nil {
		return err
	}
	var size int64
	for i, f := range slices.Backward(all) {
		size += f.size
		if len(all)-i <= shelfCount && size <= shelfBytes {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, f.name())); err != nil {
			return fmt.Errorf("make room for evidence: %w", err)
		}
	}
	return nil
}

// List tells of all, the newest first. One that cannot be read is left out.
func (s *Shelf) List() ([]evidence.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.files()
	if err != nil {
		return nil, err
	}
	entries := []evidence.Entry{}
	for _, f := range slices.Backward(all) {
		if b, _, err := s.read(f); err == nil {
			e := b.Entry()
			e.Sent = f.sent
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (s *Shelf) read(f file) (*evidence.Bundle, []byte, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, f.name()))
	if err != nil {
		return nil, nil, err
	}
	b, err := evidence.Decode(text)
	return b, text, err
}

// Get gives one back. The error is os.ErrNotExist where there is none.
func (s *Shelf) Get(id string) (*evidence.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.files()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(f file) bool { return f.id == id })
	if i < 0 {
		return nil, fmt.Errorf("evidence %q: %w", id, os.ErrNotExist)
	}
	b, _, err := s.read(all[i])
	return b, err
}

// Waiting gives the oldest that the collector does not have; an empty id: none
// waits. One that cannot be read is taken away.
func (s *Shelf) Waiting() (id string, text []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.files()
	if err != nil {
		return "", nil, err
	}
	for _, f := range all {
		if f.sent {
			continue
		}
		_, text, err := s.read(f)
		if err == nil {
			return f.id, text, nil
		}
		if text == nil { // the disk's fault, not the file's
			return "", nil, fmt.Errorf("read evidence: %w", err)
		}
		if err := os.Remove(filepath.Join(s.dir, f.name())); err != nil {
			return "", nil, fmt.Errorf("take broken evidence away: %w", err)
		}
	}
	return "", nil, nil
}

// Ack says that the collector has one, or never will: it is not sent again.
func (s *Shelf) Ack(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := os.Rename(filepath.Join(s.dir, id+waitingEnd), filepath.Join(s.dir, id+sentEnd))
	if os.IsNotExist(err) {
		return nil // there was no room for it any more
	}
	if err == nil {
		err = durable.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("note that evidence was sent: %w", err)
	}
	return nil
}
