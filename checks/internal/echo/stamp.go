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
	if old := s.wasAsked(q.Seq); old.number != 0 && q.Time.Since(old.time) < linger && len(s.asked) < mostAsked {
		s.askMore()
	}
	*s.wasAsked(q.Seq) = asked{q.Seq, q.Time, t.number(i)}
	s.test++
	return appendFilling(q.Append(b), stamp.Size, t.Size)
}

// mostAsked is the most test packets of a socket that are remembered: those of ten
// seconds at atOnce in a tick.
const mostAsked = 1 << 16

// wasAsked is where a sequence number is kept. There is a power of two of them.
func (s *socket) wasAsked(seq uint32) *asked { return &s.asked[seq%uint32(len(s.asked))] }

// askMore makes room for as many again.
func (s *socket) askMore() {
	old := s.asked
	s.asked = make([]asked, 2*len(old))
	for _, a := range old {
		if a.number != 0 {
			*s.wasAsked(a.seq) = a
		}
	}
}

// numberOfAnswer is which question of the socket a test packet answers.
func (s *socket) numberOfAnswer(payload []byte) (number uint64, ok bool) {
	a, ok := stamp.ParseAnswer(payload)
	if !ok {
		return 0, false
	}
	q := s.wasAsked(a.Question.Seq)
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
	q := s.wasAsked(seq)
	return q.number, q.number != 0 && q.seq == seq
}

// intactTest says whether the padding came back as it went.
func (p pattern) intactTest(payload []byte, cut bool) bool {
	if len(payload) != p.size && !cut || len(payload) < stamp.Size {
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
