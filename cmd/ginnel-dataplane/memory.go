package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// limiter keeps us below a ceiling, so that the collector works harder before the
// kernel kills us and every session with us.
type limiter struct {
	most  int64  // bytes; 0: there is no ceiling
	now   int64  // the ceiling as it is
	group string // the folder of the control group that limits us; empty: none does
	max   int64  // of group
	tick  <-chan time.Time
}

// limitMemory sets the ceiling. GOMEMLIMIT in the environment wins, then what was
// asked for. Neither looks at what others use.
func limitMemory(asked int64) *limiter {
	l := &limiter{most: asked}
	switch {
	case os.Getenv("GOMEMLIMIT") != "":
		return &limiter{}
	case asked == 0:
		l.group, l.max = groupLimit("/proc/self/cgroup", "/sys/fs/cgroup")
		l.most = ceiling(machineMemory("/proc/meminfo"), l.max)
	}
	l.now = l.most
	if l.most > 0 {
		debug.SetMemoryLimit(l.most)
	}
	if l.group != "" && l.most > 0 {
		l.tick = time.Tick(squeezeEvery)
	}
	return l
}

// String is for the log.
func (l *limiter) String() string {
	if l.most == 0 {
		return ""
	}
	return fmt.Sprintf(", with at most %d MiB", l.most>>20)
}

const (
	// leastMemory is what wireguard-go needs to move packets at all: a batch of
	// its largest messages for each of the three readers is 24 MiB.
	leastMemory = 32 << 20
	// plenty is the ceiling above which none is needed: at full speed we have
	// not seen more than 225 MiB in use.
	plenty = 320 << 20
	// squeezeEvery is how often a group that is shared is looked at. At full speed
	// memory in use was seen to grow by 200 MiB in a second.
	squeezeEvery = 250 * time.Millisecond
)

// ceiling is the most that a data plane may let the collector keep, in bytes; 0:
// no limit. A gateway has several, of which one or two are busy at a time, so
// their ceilings overlap: a third of the control group that they share (see
// ginnel-dataplane.slice), or a fifth of a machine without one. Of that, about
// three quarters are ever in use, as most packets are smaller than the 64 KiB
// that wireguard-go has for each.
func ceiling(machine, group int64) int64 {
	room := machine / 5
	if group > 0 {
		room = group / 3
	}
	if room == 0 || room >= plenty {
		return 0
	}
	return max(room, leastMemory)
}

// squeeze lowers our ceiling while the others of our group leave less than that.
func (l *limiter) squeeze() {
	text, err := os.ReadFile(filepath.Join(l.group, "memory.current"))
	if err != nil {
		return
	}
	if used, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
		l.now = squeezed(l.now, l.most, l.max-used)
		debug.SetMemoryLimit(l.now)
	}
}

// squeezed is the ceiling, now so high, where a group has so much left: that much,
// so that all who are busy come to the same, and most at most. It rises by a
// quarter of the way: all at once they would take what is left six times over.
func squeezed(now, most, left int64) int64 {
	goal := max(min(most, left), leastMemory)
	if goal > now {
		return now + (goal-now)/4
	}
	return goal
}

// machineMemory is MemTotal of /proc/meminfo in bytes; 0 if it cannot be read.
func machineMemory(path string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	var kB int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kB); err != nil {
		return 0
	}
	return kB << 10
}

// groupLimit is the least memory.max of our control group and those above it, in
// bytes, and the folder of the group that has it; 0 if there is none. The file
// self names our group below root.
func groupLimit(self, root string) (folder string, least int64) {
	text, err := os.ReadFile(self)
	if err != nil {
		return "", 0
	}
	_, group, ok := strings.Cut(string(text), "0::")
	if !ok {
		return "", 0
	}
	group, _, _ = strings.Cut(group, "\n")
	for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		if err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (n < least || least == 0) {
				folder, least = filepath.Join(root, dir), n
			}
		}
		if dir == "/" {
			return folder, least
		}
	}
}

// trimmer gives memory back to the system when traffic has ceased. The runtime
// would do so too, but needs collections that nothing prompts while we are
// idle. Between the bursts of a busy line it keeps what it has: filling the pools
// anew costs a tenth of the throughput.
type trimmer struct {
	tick    <-chan time.Time
	ticker  *time.Ticker
	carried func() int64 // bytes in the life of the device
	before  int64        // as of the last tick
	quiet   int          // ticks in a row without traffic
	owed    bool         // there was traffic since the last trim
}

const (
	trimEvery = 10 * time.Second
	calm      = 1 << 20 // bytes between two ticks that count as no traffic
	rest      = 3       // ticks without traffic before memory is given back
)

func newTrimmer(carried func() int64) *trimmer {
	t := &trimmer{ticker: time.NewTicker(trimEvery), carried: carried}
	t.tick = t.ticker.C
	return t
}

func (t *trimmer) stop() { t.ticker.Stop() }

// look notes whether there was traffic since the last look, and reports
// whether there has been none for long enough.
func (t *trimmer) look() bool {
	carried := t.carried()
	busy := carried-t.before >= calm
	t.before = carried
	if busy {
		t.quiet, t.owed = 0, true
		return false
	}
	t.quiet++
	if !t.owed || t.quiet < rest {
		return false
	}
	t.owed = false
	return true
}

func (t *trimmer) trim() {
	if t.look() {
		runtime.GC() // the pools give up their spares at the second collection
		debug.FreeOSMemory()
	}
}

// carried is what a device has sent and received, in bytes, as it tells by its
// own protocol (rx_bytes and tx_bytes of each peer).
func carried(get func() (string, error)) int64 {
	text, err := get()
	if err != nil {
		return 0
	}
	var sum int64
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "rx_bytes" || key == "tx_bytes" {
			n, _ := strconv.ParseInt(value, 10, 64)
			sum += n
		}
	}
	return sum
}
