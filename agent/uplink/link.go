package uplink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/agent/internal/durable"
)

// linkFile lies beside the identity.
const linkFile = "link.json"

// writeEvery is the shortest time between two writes of what may be lost: a
// rollout that hurries a fleet does not wear its disks.
const writeEvery = 10 * time.Minute

// link is what is kept of the control link over restarts.
type link struct {
	path string

	mu      sync.Mutex // guards the following
	now     kept
	disk    kept
	written time.Time // when the pace was, by this process; zero: never
}

// kept is link's file.
type kept struct {
	Heartbeat float64 `json:"heartbeat_seconds,omitempty"` // as the collector said last; 0: it never did
	Slot      float64 `json:"slot_seconds,omitempty"`
	Window    float64 `json:"window_seconds,omitempty"`
	// Collectors are the URLs that ever answered, the newest first. Nothing
	// takes one out: it may be the way back from a list that was wrong.
	Collectors []string `json:"collectors,omitempty"`
}

func (k kept) equal(l kept) bool {
	return k.Heartbeat == l.Heartbeat && k.Slot == l.Slot && k.Window == l.Window && slices.Equal(k.Collectors, l.Collectors)
}

// openLink reads what is kept beside the identity in dir. The link is good with
// an error too: it then begins anew.
func openLink(dir string) (*link, error) {
	l := &link{path: filepath.Join(dir, linkFile)}
	text, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l.now)
	}
	if err != nil {
		l.now = kept{}
		return l, fmt.Errorf("read what is kept of the control link: %w", err)
	}
	l.disk = l.now
	return l, nil
}

// heartbeat is the interval that was commanded last.
func (l *link) heartbeat() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.Heartbeat == 0 {
		return firstHeartbeat
	}
	return clamp(l.now.Heartbeat, leastHeartbeat, mostHeartbeat)
}

func (l *link) slot() slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.Window <= 0 {
		return slot{}
	}
	w := clamp(l.now.Window, leastWindow, mostWindow)
	return slot{clamp(l.now.Slot, 0, w), w}
}

// clamp is a number of seconds within bounds.
func clamp(seconds float64, least, most time.Duration) time.Duration {
	return time.Duration(min(most.Seconds(), max(least.Seconds(), seconds)) * float64(time.Second))
}

// commanded takes what the collector says of the pace.
func (l *link) commanded(change func(*kept)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.now)
	if l.now.equal(l.disk) || !l.written.IsZero() && time.Since(l.written) < writeEvery {
		return nil
	}
	l.written = time.Now()
	return l.write()
}

// answered keeps a collector that answered, at once.
func (l *link) answered(url string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.now.Collectors, url) {
		return nil
	}
	l.now.Collectors = slices.Insert(slices.Clone(l.now.Collectors), 0, url)
	return l.write()
}

// write makes the file what is known; the caller holds mu.
func (l *link) write() error {
	text, err := json.Marshal(l.now)
	if err == nil {
		err = durable.WriteFile(l.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep what is known of the control link: %w", err)
	}
	l.disk = l.now
	return nil
}

// collectors are URLs to try, in order: those that are preferred, those of the
// site pack, then every one that ever answered.
func (l *link) collectors(preferred, pack []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, list := range [][]string{preferred, pack, l.now.Collectors} {
		for _, url := range list {
			if url = strings.TrimRight(url, "/"); !slices.Contains(all, url) {
				all = append(all, url)
			}
		}
	}
	return all
}
