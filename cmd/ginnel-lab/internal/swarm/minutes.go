package swarm

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/checks"
)

// minutes are a gateway's blocks, one a minute, in memory until the collector
// has them.
type minutes struct {
	g     *Gateway
	epoch uint64

	mu     sync.Mutex // guards the following
	next   uint64
	blocks []uplink.Packed
}

// keepMinutes is how many are kept while the collector is away.
const keepMinutes = 60

// run adds a block a minute, until ctx ends.
func (m *minutes) run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-tick.C:
			if err := m.add(at.Add(-time.Minute)); err != nil {
				m.g.log.Error("a minute cannot be packed", "err", err)
			}
			m.g.up.Wake()
		}
	}
}

// add packs the minute from start on, in which all was well.
func (m *minutes) add(start time.Time) error {
	m.g.mu.Lock()
	subjects := []block.Subject{{Class: block.SiteClass, Name: m.g.name, State: checks.Up, Since: m.g.born.UTC()}}
	for _, name := range names(m.g.config) {
		subjects = append(subjects, block.Subject{Class: block.TunnelClass, Name: name, State: checks.Up, Since: m.g.applied.UTC(), OK: 6})
	}
	m.g.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	raw, err := block.Encode(&block.Block{Gateway: m.g.name, Epoch: m.epoch, Sequence: m.next, Boot: m.g.boot,
		Start: start.UTC(), Length: time.Minute, Subjects: subjects})
	if err != nil {
		return err
	}
	m.blocks = append(m.blocks, uplink.Packed{Epoch: m.epoch, First: m.next, Sequence: m.next, Bytes: raw})
	if n := len(m.blocks) - keepMinutes; n > 0 {
		m.blocks = slices.Delete(m.blocks, 0, n)
	}
	return nil
}

// Pending gives all that wait; an hour is small.
func (m *minutes) Pending(int) ([]uplink.Packed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.blocks), nil
}

// Ack forgets what the collector has.
func (m *minutes) Ack(epoch, sequence uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks = slices.DeleteFunc(m.blocks, func(b uplink.Packed) bool { return b.Epoch == epoch && b.Sequence <= sequence })
	return nil
}

func newEpoch() uint64 { return rand.Uint64() | 1 }
