package plugin

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// lines passes what a plugin writes on to a log, line by line, and not more of
// it than a person can read.
type lines struct {
	log   *slog.Logger
	flood func() // called once when there is so much that reading it costs

	mu    sync.Mutex
	part  []byte
	begun time.Time // of the present span
	count int       // lines in it
	bytes int       // in it
}

const (
	lineMax   = 1000 // bytes of one line
	spanLines = 100  // lines in one span: a crash with its stack
	span      = 10 * time.Second
	floodMost = 4 << 20 // bytes in one span
)

// Write implements io.Writer. It never fails.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meter(len(b))
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 && len(l.part) <= lineMax {
			return len(b), nil
		}
		line := l.part
		if i >= 0 {
			line = l.part[:i]
		}
		l.tell(string(line[:min(len(line), lineMax)]))
		l.part = l.part[:copy(l.part, l.part[min(len(line)+1, len(l.part)):])]
	}
}

// meter counts what was written in the present span.
func (l *lines) meter(n int) {
	if now := time.Now(); now.Sub(l.begun) > span {
		l.begun, l.count, l.bytes = now, 0, 0
	}
	before := l.bytes
	if l.bytes += n; before <= floodMost && l.bytes > floodMost && l.flood != nil {
		l.flood()
	}
}

func (l *lines) tell(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	l.count++
	switch {
	case l.count <= spanLines:
		l.log.Info("the plugin says", "line", line)
	case l.count == spanLines+1:
		l.log.Warn("the plugin says too much; the rest is left out", "lines", spanLines, "within", span)
	}
}
