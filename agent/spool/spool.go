// Package spool is the gateway's durable queue of blocks and its flight
// recorder. What was measured goes into the open block first, whose journal
// survives kill -9; each minute it is sealed into a block in a segment file; only
// the collector's watermark frees it for removal, and what is freed stays for
// `ginnel history` as long as there is room.
//
// Files in its directory, all written by the one process that holds the lock:
//
//	spool.json          gateway, epoch and watermark
//	N.open              journal of block N, until that is in a segment
//	active.seg          the segment that grows
//	FIRST-LAST-….seg    full segments; the name says what is in them
//
// When the spool is full, acknowledged segments go first, oldest first. Then the
// oldest minutes are joined into blocks of five minutes, of an hour, and at last
// of a whole segment. A joined block keeps every edge and every gap, adds up the
// figures, carries a gap Thinned, and stands for all sequences from First to
// Sequence: a watermark below Sequence does not free it, and a collector that has
// some of its parts replaces them by it. Blocks are joined whole and inside of a
// segment only, so that ranges nest and never lie across one another.
package spool

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// Errors that callers decide by.
var (
	// ErrMemory: what was given is counted, but only in memory; it is lost if
	// the process ends before there is room on the disk.
	ErrMemory = errors.New("kept in memory only")
	ErrClosed = errors.New("spool is closed")
	ErrInUse  = errors.New("another process uses the spool")
)

// Options are what Open needs; Gateway must be set.
type Options struct {
	Gateway  string
	MaxBytes int64         // 0: 256 MiB
	MaxAge   time.Duration // of acknowledged blocks; 0: 14 months. What was not acknowledged has no age limit
	Boot     string        // kernel boot id; empty: asked of the kernel
	Log      *slog.Logger  // nil: none
}

const (
	defaultBytes = 256 << 20
	defaultAge   = 426 * 24 * time.Hour
	stateFile    = "spool.json"
	lockFile     = "lock"
)

// Spool is an open spool. Its methods are safe for concurrent use.
type Spool struct {
	o     Options
	root  *os.Root
	lock  *os.File
	epoch uint64
	clock clock
	kick  chan struct{} // wakes Run when something is to be persisted

	// mu guards what is measured. It may be taken while disk is held, never
	// the other way round.
	mu       sync.Mutex
	open     *current // nil: closed
	subjects []block.Subject
	places   places
	gathered []byte     // lines for the journal that are not written yet
	finished []finished // sealed, not yet in a segment
	fault    error      // of the journal
	owed     end        // the record's end, while the clock says that it is still to come

	// disk guards segments and watermark.
	disk     sync.Mutex
	segments []segment // full ones, oldest first
	active   segment
	acked    uint64
	newest   Packed
	trouble  error // of segments
}

// Packed is a block as it lies in the spool.
type Packed struct {
	Epoch           uint64
	First, Sequence uint64 // equal unless thinned
	Bytes           []byte
}

// Stats is how the spool is.
type Stats struct {
	Waiting      int // blocks that are not acknowledged
	Bytes        int64
	UsedRatio    float64
	NextSequence uint64    // of the open block
	Oldest       time.Time // start of the oldest block that waits, to the second; zero: none
	Error        error     // what is wrong now; nil: nothing
}

// state is spool.json.
type state struct {
	Gateway string `json:"gateway"`
	Epoch   uint64 `json:"epoch,string"`
	Acked   uint64 `json:"acked"`
}

// Open opens the spool in dir, or makes one. What a former process left in the
// open block is sealed, and the time since becomes a gap of the new block.
func Open(dir string, o Options) (*Spool, error) { return open(dir, o, realClock()) }

func open(dir string, o Options, c clock) (*Spool, error) {
	if o.Gateway == "" {
		return nil, errors.New("open spool: gateway has no name")
	}
	o.MaxBytes, o.MaxAge = cmp.Or(o.MaxBytes, defaultBytes), cmp.Or(o.MaxAge, defaultAge)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Boot == "" {
		id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		if err != nil {
			return nil, fmt.Errorf("open spool: boot id: %w", err)
		}
		o.Boot = strings.TrimSpace(string(id))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{o: o, root: root, clock: c, kick: make(chan struct{}, 1), places: places{}}
	if err := s.load(); err != nil {
		s.release()
		return nil, fmt.Errorf("open spool %s: %w", dir, err)
	}
	return s, nil
}

// lingering is how long the lock of a killed agent may stay: a program that it was
// just starting has it too, until it runs.
const lingering = 2 * time.Second

// take locks a file for this process.
func take(f *os.File) error {
	until := time.Now().Add(lingering)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || time.Now().After(until) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// load takes the lock and everything that is in the directory.
func (s *Spool) load() error {
	var err error
	if s.lock, err = s.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := take(s.lock); err != nil {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	if err := s.loadState(); err != nil {
		return err
	}
	if err := s.loadSegments(); err != nil {
		return err
	}
	return s.recover()
}

// loadState reads spool.json. Without one, or with one that cannot be read, the
// epoch is that of the blocks, and they count as not acknowledged.
func (s *Spool) loadState() error {
	raw, err := s.root.ReadFile(stateFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var st state
	if err == nil && json.Unmarshal(raw, &st) != nil || st.Epoch == 0 {
		st = state{}
	}
	known := st == (state{s.o.Gateway, st.Epoch, st.Acked})
	if st.Gateway == "" {
		st.Gateway, st.Epoch = s.nameInBlocks()
	}
	if st.Gateway != "" && st.Gateway != s.o.Gateway {
		if err := s.setAside(st.Gateway); err != nil {
			return fmt.Errorf("setting the blocks of %s aside: %w", st.Gateway, err)
		}
		st = state{}
	}
	s.epoch, s.acked = st.Epoch, st.Acked
	for s.epoch == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return err
		}
		s.epoch = binary.LittleEndian.Uint64(b[:])
	}
	if !known {
		// without it the next Open finds the epoch in the blocks; a full disk
		// does not keep the agent from starting
		s.setTrouble(s.saveState())
	}
	return nil
}

// saveState writes spool.json anew, durably.
func (s *Spool) saveState() error {
	raw, err := json.Marshal(state{s.o.Gateway, s.epoch, s.acked})
	if err != nil {
		return err
	}
	return s.replace(stateFile, raw)
}

// replace writes a file so that there is the old or the new one after a crash.
func (s *Spool) replace(name string, raw []byte) error {
	f, err := s.root.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = s.root.Rename(name+".tmp", name)
	}
	if err != nil {
		_ = s.root.Remove(name + ".tmp") // the first error says it
		return err
	}
	return s.syncDir()
}

func (s *Spool) syncDir() error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// setAside moves the files of another gateway into a folder of their own: this
// machine got another name, and what it measured before belongs to the old one.
func (s *Spool) setAside(gateway string) error {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	wall, _ := s.clock()
	folder := "aside-" + wall.Format("20060102-150405")
	if err := s.root.Mkdir(folder, 0o700); err != nil {
		return err
	}
	s.o.Log.Warn("blocks of another gateway were set aside", "gateway", gateway, "folder", folder)
	for _, e := range entries {
		if e.IsDir() || e.Name() == lockFile {
			continue
		}
		if err := s.root.Rename(e.Name(), folder+"/"+e.Name()); err != nil {
			return err
		}
	}
	return s.syncDir()
}

// Close seals the open block. Afterwards nothing is measured.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.open == nil {
		s.mu.Unlock()
		return nil
	}
	s.finish(true)
	s.mu.Unlock()
	err := s.persist()
	s.release()
	return err
}

func (s *Spool) release() {
	// closing a lock or a directory has nothing to lose
	if s.lock != nil {
		_ = s.lock.Close()
	}
	_ = s.root.Close()
}

// Stats says how the spool is.
func (s *Spool) Stats() Stats {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Waiting: s.waiting() + len(s.finished), Bytes: s.used(), Error: errors.Join(s.trouble, s.fault)}
	if s.open != nil {
		st.NextSequence = s.open.block.Sequence
		st.Bytes += s.open.size
	}
	for _, g := range s.all() {
		if g.last > s.acked {
			st.Oldest = g.start
			break
		}
	}
	st.UsedRatio = float64(st.Bytes) / float64(s.o.MaxBytes)
	return st
}
