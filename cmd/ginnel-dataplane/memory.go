package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// limitMemory keeps us below a ceiling, so that the collector works harder before
// the kernel kills us and every session with us. GOMEMLIMIT in the environment
// wins, then what was asked for.
func limitMemory(asked int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if asked == 0 {
		asked = ceiling(machineMemory("/proc/meminfo"), groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"))
	}
	if asked > 0 {
		debug.SetMemoryLimit(asked)
	}
}

const (
	// leastMemory is what wireguard-go needs to move packets at all: a batch of
	// its largest messages for each of the three readers is 24 MiB.
	leastMemory = 32 << 20
	// plenty is the ceiling above which none is needed: at full speed the
	// pools of wireguard-go grew to 219 MiB at the most.
	plenty = 320 << 20
)

// ceiling is the most that we let the collector keep, in bytes; 0: no limit. It
// is a fifth of the machine, or of the control group where that is smaller:
// data planes of one machine have it together, of which one or two are busy at a
// time. Far more of it is never touched than used, as most packets are
// smaller than the 64 KiB that wireguard-go has for each.
func ceiling(machine, group int64) int64 {
	return 0
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
