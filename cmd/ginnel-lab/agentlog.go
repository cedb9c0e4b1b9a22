package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// agentLog is what an agent prints from some moment on.
type agentLog struct {
	path string
	from int64
}

// logFromHere begins to listen to the agent of a site or hub in this scenario.
func (s *stage) logFromHere(site interface{ Name() string }) (agentLog, error) {
	l := agentLog{path: filepath.Join(netns.Out, "scenario-"+s.name, site.Name()+".log")}
	st, err := os.Stat(l.path)
	if err != nil {
		return l, err
	}
	l.from = st.Size()
	return l, nil
}

// text is all that was printed since.
func (l agentLog) text() (string, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	text := make([]byte, max(0, st.Size()-l.from))
	_, err = f.ReadAt(text, l.from)
	return string(text), err
}

// changeLine is what an agent logs of each of its writes to the host: for a
// config, or to put back what somebody else changed.
var changeLine = regexp.MustCompile(`(?m)^time=(\S+) .*msg="(?:host changed|changed by somebody else, put back)".*$`)

// writes are the times of all writes since.
func (l agentLog) writes() ([]time.Time, error) {
	text, err := l.text()
	if err != nil {
		return nil, err
	}
	var at []time.Time
	for _, m := range changeLine.FindAllStringSubmatch(text, -1) {
		t, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			return nil, fmt.Errorf("the agent's log: %w", err)
		}
		at = append(at, t)
	}
	return at, nil
}

// changes are the lines of all writes since.
func (l agentLog) changes() ([]string, error) {
	text, err := l.text()
	return changeLine.FindAllString(text, -1), err
}

// lines are those since that say something.
func (l agentLog) lines(something string) ([]string, error) {
	text, err := l.text()
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, something) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found, err
}

// processorTime is what a process has used of all processors since its start.
// The kernel counts it in hundredths of a second (USER_HZ).
func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name before it, in brackets, may have anything in it.
	field := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, f := range field[11:13] { // utime and stime of proc(5)
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// memory is a line of a process's status, such as VmRSS, in MiB.
func memory(pid int, line string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^` + line + `:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("process %d has no %s", pid, line)
	}
	kib, err := strconv.ParseFloat(string(m[1]), 64)
	return kib / 1024, err
}
