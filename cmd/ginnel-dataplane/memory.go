package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// limitMemory keeps us a fifth below the limit of our control group, so that
// the collector works harder before the kernel kills us and every session with
// us. GOMEMLIMIT in the environment wins. Without either there is no limit: at
// full speed the pools of wireguard-go grow past any that we tried, and a
// collector that works against them takes a quarter of the throughput.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if own := groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"); own > 0 {
		debug.SetMemoryLimit(own / 5 * 4)
	}
}

// groupLimit is the least memory.max of our control group and those above it,
// in bytes; 0 if there is none. The file self names the group below root.
func groupLimit(self, root string) int64 {
	text, err := os.ReadFile(self)
	if err != nil {
		return 0
	}
	_, group, ok := strings.Cut(string(text), "0::")
	if !ok {
		return 0
	}
	group, _, _ = strings.Cut(group, "\n")
	least := int64(math.MaxInt64)
	for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		if err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
				least = min(least, n)
			}
		}
		if dir == "/" {
			break
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// trimmer gives memory back to the system when traffic has ceased. The runtime
// would do so too, but needs collections that nothing prompts while we are
// idle.
type trimmer struct {
	tick   <-chan time.Time
	ticker *time.Ticker
	read   []metrics.Sample
	before uint64 // bytes allocated in our life, as of the last tick
	owed   bool   // there was traffic since the last trim
}

const (
	trimEvery = 10 * time.Second
	calm      = 1 << 20 // bytes allocated between two ticks that count as idle
)

func newTrimmer() *trimmer {
	t := &trimmer{ticker: time.NewTicker(trimEvery), read: []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}}
	t.tick = t.ticker.C
	return t
}

func (t *trimmer) stop() { t.ticker.Stop() }

// look notes whether there was traffic since the last look, and reports
// whether it has just ceased.
func (t *trimmer) look() bool {
	metrics.Read(t.read)
	allocated := t.read[0].Value.Uint64()
	busy := allocated-t.before >= calm
	t.before = allocated
	ceased := t.owed && !busy
	t.owed = busy
	return ceased
}

func (t *trimmer) trim() {
	if t.look() {
		runtime.GC() // the pools give up their spares at the second collection
		debug.FreeOSMemory()
	}
}
