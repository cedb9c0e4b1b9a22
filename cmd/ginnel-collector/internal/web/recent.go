package web

import (
	"context"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// keptSnapshots is how many snapshots of a gateway Recent keeps: ten minutes at
// the usual heartbeat, in which blocks should have come.
const keptSnapshots = 20

// Recent is a store that remembers the round trips of the snapshots which pass
// through it, so that a chart need not wait for the block of its last minutes.
type Recent struct {
	store.Store
	mu sync.Mutex
	of map[string][]figures // by gateway, in order of time
}

// figures are the round trips that one snapshot tells, by subject.
type figures struct {
	at  time.Time
	rtt map[subject][2]time.Duration // p50 and p95
}

// subject names a tunnel or check as blocks do.
type subject struct {
	class block.Class
	name  string
}

// NewRecent remembers in front of st.
func NewRecent(st store.Store) *Recent { return &Recent{Store: st, of: map[string][]figures{}} }

// SaveSnapshot saves and remembers.
func (r *Recent) SaveSnapshot(ctx context.Context, gateway string, s block.Snapshot, arrived time.Time) error {
	return r.SaveSnapshots(ctx, []store.Heard{{Gateway: gateway, Snapshot: s, At: arrived}})
}

// SaveSnapshots saves and remembers.
func (r *Recent) SaveSnapshots(ctx context.Context, all []store.Heard) error {
	if err := r.Store.SaveSnapshots(ctx, all); err != nil {
		return err
	}
	for _, h := range all {
		r.remember(h.Gateway, h.Snapshot)
	}
	return nil
}

func (r *Recent) remember(gateway string, s block.Snapshot) {
	f := figures{at: s.At, rtt: map[subject][2]time.Duration{}}
	for _, t := range s.Tunnels {
		f.add(subject{block.TunnelClass, tunnelName(t)}, t.Figures)
	}
	for _, c := range s.Checks {
		f.add(subject{block.CheckClass, c.Name}, c.Figures)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.of[gateway]
	if n := len(kept); n > 0 && !f.at.After(kept[n-1].at) {
		kept = nil // its clock was set back
	}
	if len(kept) == keptSnapshots {
		kept = append([]figures(nil), kept[1:]...)
	}
	r.of[gateway] = append(kept, f)
}

// tunnelName is what blocks call a tunnel.
func tunnelName(t block.TunnelSnapshot) string {
	if t.Hub == "" {
		return t.Network
	}
	return t.Network + "/" + t.Hub
}

func (f *figures) add(s subject, of block.Figures) {
	if of.RTTp50 != nil && of.RTTp95 != nil && *of.RTTp50 >= 0 && *of.RTTp95 >= *of.RTTp50 && *of.RTTp95 < 3600 {
		f.rtt[s] = [2]time.Duration{seconds(*of.RTTp50), seconds(*of.RTTp95)}
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// points gives what snapshots told of a subject after a time.
func (r *Recent) points(gateway string, s subject, after time.Time) []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []point
	for _, f := range r.of[gateway] {
		if rtt, ok := f.rtt[s]; ok && f.at.After(after) {
			all = append(all, point{at: f.at, length: time.Minute, p50: rtt[0], p95: rtt[1]})
		}
	}
	return all
}

// subjects gives those that snapshots told of.
func (r *Recent) subjects(gateway string) map[subject]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[subject]bool{}
	for _, f := range r.of[gateway] {
		for s := range f.rtt {
			all[s] = true
		}
	}
	return all
}
