package block

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ginnel/ginnel/checks"
)

// The packed form, version 1. Numbers are varints unless said otherwise; a
// string is its length and its bytes.
//
//	"GNB", version byte
//	gateway, epoch (8 bytes), sequence, sequence - first, start (ns), length (ns)
//	1 and the size of the body, if that is deflated; else 0
//	body: boot id
//	      dictionary: number, strings; below, text is its place there, 0 is empty
//	      subjects: number; class, name, network, target, stands for, state
//	        (+ 128: a cause follows its time), since, runs by verdict (4), sent,
//	        received, length of histogram + 1 and the histogram; or 0
//	      edges: number; time, class, name, from, to, reason, code, text, owner
//	      gaps: number; from, to, reason
//	CRC-32C of all before (4 bytes)
//
// A time is relative to the block's start, in the largest unit that loses
// nothing. The golden file in testdata keeps this from drifting.
const (
	magic   = "GNB"
	version = 1

	// MaxSize is the largest packed block, and the largest body unpacked.
	MaxSize = 1 << 20
	// MaxSubjects is how many a block may have.
	MaxSubjects = 4096

	withCause = 0x80
)

// Places in these lists are written in blocks: append only.
var (
	classes = []Class{SiteClass, TunnelClass, CheckClass}
	states  = []checks.State{checks.Up, checks.DegradedState, checks.Down, checks.UnknownState, checks.MaintenanceMode}
)

// Units of a time, its lowest two bits.
const (
	inSeconds = iota
	inMillis
	inNanos
	special // 0: the zero Time, 1: eight bytes of nanoseconds follow
)

var (
	earliest = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

func inRange(t time.Time) bool { return !t.Before(earliest) && t.Before(latest) }

// writer appends the parts of a body and remembers the first fault.
type writer struct {
	b     []byte
	words map[string]int
	start time.Time
	err   error
}

func (w *writer) number(v uint64) { w.b = binary.AppendUvarint(w.b, v) }

func (w *writer) string(s string) {
	if !utf8.ValidString(s) {
		w.fail(fmt.Errorf("%q is not UTF-8", s))
	}
	w.number(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *writer) word(s string) { w.number(uint64(w.words[s])) }

func (w *writer) class(c Class) {
	i := slices.Index(classes, c)
	if i < 0 {
		w.fail(fmt.Errorf("class %q is not known", c))
	}
	w.b = append(w.b, byte(i))
}

func (w *writer) state(s checks.State, flag byte) {
	i := slices.Index(states, s)
	if i < 0 {
		w.fail(fmt.Errorf("state %q is not known", s))
	}
	w.b = append(w.b, byte(i)|flag)
}

func (w *writer) cause(c Cause) {
	w.word(string(c.Reason))
	w.word(c.Code)
	w.word(c.Text)
	w.word(c.Owner)
}

func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.number(special)
		return
	}
	if !inRange(t) {
		w.fail(fmt.Errorf("time %v is out of range", t))
		return
	}
	d := t.Sub(w.start)
	unit, n := uint64(inNanos), int64(d)
	switch {
	case d%time.Second == 0:
		unit, n = inSeconds, int64(d/time.Second)
	case d%time.Millisecond == 0:
		unit, n = inMillis, int64(d/time.Millisecond)
	}
	if n <= -1<<60 || n >= 1<<60 || d == math.MinInt64 || d == math.MaxInt64 {
		w.number(1<<2 | special)
		w.b = binary.LittleEndian.AppendUint64(w.b, uint64(t.UnixNano()))
		return
	}
	w.number(zigzag(n)<<2 | unit)
}

func zigzag(n int64) uint64   { return uint64(n)<<1 ^ uint64(n>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

var errShort = errors.New("cut short")

// reader takes the parts of a body off b, until the first fault.
type reader struct {
	b     []byte
	words []string
	start time.Time
	err   error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) small() uint32 {
	v := r.number()
	if v > math.MaxUint32 {
		r.fail(fmt.Errorf("%d is too large a count", v))
	}
	return uint32(v)
}

// count reads how many things follow that take at least size bytes each.
func (r *reader) count(size int) int {
	v := r.number()
	if v > uint64(len(r.b)/size) {
		r.fail(fmt.Errorf("%d things announced in %d bytes", v, len(r.b)))
		return 0
	}
	return int(v)
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) string() string {
	s := string(r.bytes(r.number()))
	if !utf8.ValidString(s) {
		r.fail(fmt.Errorf("%q is not UTF-8", s))
	}
	return s
}

func (r *reader) word() string {
	i := r.number()
	switch {
	case i == 0:
		return ""
	case i > uint64(len(r.words)):
		r.fail(fmt.Errorf("word %d of %d", i, len(r.words)))
		return ""
	}
	return r.words[i-1]
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) class() Class {
	i := r.byte()
	if int(i) >= len(classes) {
		r.fail(fmt.Errorf("class %d is not known", i))
		return ""
	}
	return classes[i]
}

func (r *reader) state() (s checks.State, cause bool) {
	i := r.byte()
	if int(i&^withCause) >= len(states) {
		r.fail(fmt.Errorf("state %d is not known", i))
		return "", false
	}
	return states[i&^withCause], i&withCause != 0
}

func (r *reader) cause() Cause {
	return Cause{Reason: checks.Reason(r.word()), Code: r.word(), Text: r.word(), Owner: r.word()}
}

func (r *reader) time() time.Time {
	v := r.number()
	n := unzigzag(v >> 2)
	var t time.Time
	switch v & 3 {
	case inSeconds:
		t = time.Unix(r.start.Unix()+n, int64(r.start.Nanosecond()))
	case inMillis:
		t = time.Unix(r.start.Unix()+n/1000, int64(r.start.Nanosecond())+n%1000*1e6)
	case inNanos:
		t = r.start.Add(time.Duration(n))
	default:
		return r.specialTime(v >> 2)
	}
	if !inRange(t) {
		r.fail(fmt.Errorf("time %v is out of range", t.UTC()))
	}
	return t.UTC()
}

func (r *reader) specialTime(kind uint64) time.Time {
	if kind == 0 {
		return time.Time{}
	}
	b := r.bytes(8)
	if kind != 1 || b == nil {
		r.fail(fmt.Errorf("special time %d is not known", kind))
		return time.Time{}
	}
	t := time.Unix(0, int64(binary.LittleEndian.Uint64(b))).UTC()
	if !inRange(t) {
		r.fail(fmt.Errorf("time %v is out of range", t))
	}
	return t
}
