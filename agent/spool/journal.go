package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
)

// A journal is lines: the CRC-32C of the rest in hex, a space, and one of these
// as JSON. The same lines are applied when they are written and when they are
// read back, so that what is recovered is what was there.
type line struct {
	Kind    string        `json:"k"`
	Elapsed time.Duration `json:"e,omitempty"` // since the block's start

	Head    *head          `json:"head,omitempty"`
	Subject *block.Subject `json:"subject,omitempty"` // without figures
	Gap     *block.Gap     `json:"gap,omitempty"`
	Sample  *sample        `json:"sample,omitempty"`
	Edge    *block.Edge    `json:"edge,omitempty"`
	Refused *block.Refused `json:"refused,omitempty"`
}

const (
	headLine    = "head"
	subjectLine = "subject" // a new one, or an old one described anew
	gapLine     = "gap"
	sampleLine  = "sample"
	edgeLine    = "edge"
	refusedLine = "refused"
	lifeLine    = "life" // nothing but that the agent runs
)

type head struct {
	Gateway  string    `json:"gateway"`
	Epoch    uint64    `json:"epoch,string"`
	Sequence uint64    `json:"sequence"`
	Boot     string    `json:"boot"`
	Start    time.Time `json:"start"`
}

type sample struct {
	Subject        int // its place in the block
	Verdict        checks.Verdict
	Sent, Received int
	RTT            []time.Duration `json:",omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendTo appends the line to raw.
func (l line) appendTo(raw []byte) ([]byte, error) {
	const sum = "00000000 "
	at := len(raw)
	raw = append(raw, sum...)
	if l.Kind == sampleLine && plain(l.Sample.Verdict) {
		raw = l.appendSample(raw)
	} else {
		text, err := json.Marshal(l)
		if err != nil {
			return nil, err
		}
		raw = append(raw, text...)
	}
	var crc [4]byte
	binary.BigEndian.PutUint32(crc[:], crc32.Checksum(raw[at+len(sum):], castagnoli))
	hex.Encode(raw[at:], crc[:])
	return append(raw, '\n'), nil
}

// appendSample is json.Marshal for the one line of which there are a thousand in
// a second.
func (l line) appendSample(raw []byte) []byte {
	number := func(key string, n int64) { raw = strconv.AppendInt(append(raw, key...), n, 10) }
	raw = append(raw, `{"k":"sample"`...)
	if l.Elapsed != 0 {
		number(`,"e":`, int64(l.Elapsed))
	}
	number(`,"sample":{"Subject":`, int64(l.Sample.Subject))
	raw = append(append(append(raw, `,"Verdict":"`...), l.Sample.Verdict...), '"')
	number(`,"Sent":`, int64(l.Sample.Sent))
	number(`,"Received":`, int64(l.Sample.Received))
	for i, d := range l.Sample.RTT {
		if i == 0 {
			number(`,"RTT":[`, int64(d))
		} else {
			number(`,`, int64(d))
		}
	}
	if len(l.Sample.RTT) > 0 {
		raw = append(raw, ']')
	}
	return append(raw, "}}"...)
}

// plain says that a verdict is one that JSON takes as it is.
func plain(v checks.Verdict) bool {
	switch v {
	case checks.OK, checks.Degraded, checks.Failed, checks.Unknown:
		return true
	}
	return false
}

// readJournal gives the block that a journal tells of, up to the first line that
// is torn or no line. ok is false when there was nothing in it.
func readJournal(raw []byte) (b *block.Block, ok bool) {
	var elapsed time.Duration
	for {
		text, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole {
			break
		}
		raw = rest
		l, err := parseLine(string(text))
		if err != nil || (b == nil) != (l.Kind == headLine) {
			break
		}
		if b == nil {
			b = &block.Block{Gateway: l.Head.Gateway, Epoch: l.Head.Epoch, First: l.Head.Sequence, Sequence: l.Head.Sequence, Boot: l.Head.Boot, Start: l.Head.Start}
			continue
		}
		if !l.apply(b) {
			break
		}
		elapsed = max(elapsed, l.Elapsed)
	}
	if b == nil || elapsed < grain && len(b.Edges) == 0 && empty(b) {
		return nil, false
	}
	b.Length = max(grain, elapsed.Truncate(grain))
	return b, true
}

func parseLine(text string) (line, error) {
	var l line
	sum, raw, ok := strings.Cut(text, " ")
	want, err := strconv.ParseUint(sum, 16, 32)
	if !ok || err != nil || crc32.Checksum([]byte(raw), castagnoli) != uint32(want) {
		return l, errors.New("line is damaged")
	}
	if err := json.Unmarshal([]byte(raw), &l); err != nil {
		return l, err
	}
	missing := l.Kind == headLine && l.Head == nil || l.Kind == subjectLine && l.Subject == nil || l.Kind == gapLine && l.Gap == nil ||
		l.Kind == sampleLine && l.Sample == nil || l.Kind == edgeLine && l.Edge == nil || l.Kind == refusedLine && l.Refused == nil
	if missing || l.Elapsed < 0 {
		return l, fmt.Errorf("line %q lacks its part", l.Kind)
	}
	return l, nil
}

// apply changes b by what the line says; false: it cannot be about b.
func (l line) apply(b *block.Block) bool {
	switch l.Kind {
	case subjectLine:
		describe(b, *l.Subject)
	case gapLine:
		b.Gaps = append(b.Gaps, *l.Gap)
	case edgeLine:
		b.Edges = append(b.Edges, *l.Edge)
	case sampleLine:
		if l.Sample.Subject < 0 || l.Sample.Subject >= len(b.Subjects) {
			return false
		}
		l.Sample.count(&b.Subjects[l.Sample.Subject])
	case refusedLine:
		return b.Count(*l.Refused)
	case lifeLine:
	default:
		return false
	}
	return true
}

// describe adds a subject, or changes the words about one that is there.
func describe(b *block.Block, d block.Subject) {
	if i := place(b.Subjects, d.Class, d.Name); i >= 0 {
		s := &b.Subjects[i]
		s.Network, s.Target, s.StandsFor = d.Network, d.Target, d.StandsFor
		return
	}
	b.Subjects = append(b.Subjects, d)
}

func place(subjects []block.Subject, class block.Class, name string) int {
	for i := range subjects {
		if subjects[i].Class == class && subjects[i].Name == name {
			return i
		}
	}
	return -1
}

// places remembers where subjects were found, for there may be a thousand. What
// it says is tried first, and need not be right.
type places map[subjectKey]int

type subjectKey struct {
	class block.Class
	name  string
}

func (p places) find(subjects []block.Subject, class block.Class, name string) int {
	key := subjectKey{class, name}
	i, ok := p[key]
	if ok && i < len(subjects) && subjects[i].Class == class && subjects[i].Name == name {
		return i
	}
	if i = place(subjects, class, name); i >= 0 {
		p[key] = i
	}
	return i
}

func (m *sample) count(s *block.Subject) {
	switch m.Verdict {
	case checks.OK:
		s.OK++
	case checks.Degraded:
		s.Degraded++
	case checks.Failed:
		s.Failed++
	default:
		s.Unknown++
	}
	s.Sent += uint64(max(0, m.Sent))
	s.Received += uint64(max(0, m.Received))
	if len(m.RTT) > 0 && s.RTT == nil {
		s.RTT = new(hist.Histogram)
	}
	for _, d := range m.RTT {
		s.RTT.Add(d)
	}
}
