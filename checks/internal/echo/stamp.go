package echo

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/stamp"
)

// asked is a test packet that left, by its sequence number: the answer has that
// and the time in it, so nobody who has not seen the question can make one up.
type asked struct {
	seq    uint32
	time   stamp.Time
	number uint64 // of the question; 0: none
}

// composeTest appends question i of t as a test packet of its session. All
// sessions of the socket share the sequence numbers.
func (s *socket) composeTest(b []byte, t *train, i int) []byte {
	q := stamp.Question{Seq: s.test, Time: stamp.TimeOf(time.Now()), Error: stamp.Unsynchronised, Session: t.Session}
	s.asked[q.Seq%ring] = asked{q.Seq, q.Time, t.number(i)}
	s.test++
	return appendFilling(q.Append(b), stamp.Size, t.Size)
}

// numberOfAnswer is which question of the socket a test packet answers.
func (s *socket) numberOfAnswer(payload []byte) (number uint64, ok bool) {
	a, ok := stamp.ParseAnswer(payload)
	if !ok {
		return 0, false
	}
	q := &s.asked[a.Question.Seq%ring]
	return q.number, q.number != 0 && q.seq == a.Question.Seq && q.time == a.Question.Time
}

// numberOfTest is which question of the socket is quoted in an ICMP error. Eight
// bytes of a datagram, of which its sequence number begins the ninth, is the least
// that may be quoted; more is usual.
func (s *socket) numberOfTest(quoted []byte) (number uint64, ok bool) {
	if len(quoted) < 4 {
		return 0, false
	}
	seq := binary.BigEndian.Uint32(quoted)
	q := &s.asked[seq%ring]
	return q.number, q.number != 0 && q.seq == seq
}

// intactTest says whether the padding came back as it went.
func (t *train) intactTest(payload []byte, cut bool) bool {
	if len(payload) != t.Size && !cut || len(payload) < stamp.Size {
		return false
	}
	return bytes.Equal(payload[stamp.Size:], appendFilling(nil, stamp.Size, len(payload)))
}

// keepAnswer keeps what the reflector said of question i.
func (t *train) keepAnswer(i int, payload []byte) {
	if i >= len(t.packets) || t.packets[i].fate != checks.Answered || t.packets[i].answered != nil {
		return
	}
	if a, ok := stamp.ParseAnswer(payload); ok {
		t.packets[i].answered = &a
	}
}
