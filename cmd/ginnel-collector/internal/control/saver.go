package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// saveEvery is how long a snapshot may wait in memory. A gateway's call never
// waits for the store: when all gateways come back at once, the store sees
// one writer, and of each gateway the newest only.
const saveEvery = 300 * time.Millisecond

type arrival struct {
	snapshot block.Snapshot
	at       time.Time
}

// saver writes snapshots in batches.
type saver struct {
	store Store
	log   *slog.Logger

	writing sync.Mutex // held by the one flush that runs

	mu      sync.Mutex // guards the following
	waiting map[string]arrival
	timer   *time.Timer // not nil: a flush will come
	failing bool
	closed  bool // no more timers
}

func (s *saver) save(gateway string, snap block.Snapshot, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[gateway] = arrival{snap, at}
	s.arm(saveEvery)
}

// arm makes a flush come, once; the caller holds mu.
func (s *saver) arm(after time.Duration) {
	if s.timer != nil || s.closed {
		return
	}
	s.timer = time.AfterFunc(after, func() {
		if err := s.flush(); err != nil {
			s.retry(err)
		}
	})
}

// close writes what waits and leaves no timer behind.
func (s *saver) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.flush()
}

// flush writes all that waits, in one go. What could not be written waits
// again, unless something newer does.
func (s *saver) flush() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	batch := s.waiting
	if s.timer != nil {
		s.timer.Stop()
	}
	s.waiting, s.timer = map[string]arrival{}, nil
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	all := make([]store.Heard, 0, len(batch))
	for gateway, a := range batch {
		all = append(all, store.Heard{Gateway: gateway, Snapshot: a.snapshot, At: a.at})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := s.store.SaveSnapshots(ctx, all)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		for gateway, a := range batch {
			if _, newer := s.waiting[gateway]; !newer {
				s.waiting[gateway] = a
			}
		}
		return err
	}
	if s.failing {
		s.failing = false
		s.log.Info("snapshots are saved again")
	}
	return nil
}

// retry tells once that saving fails, and tries again later.
func (s *saver) retry(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.failing {
		s.failing = true
		s.log.Error("cannot save snapshots, trying on", "err", err)
	}
	s.arm(5 * time.Second)
}
