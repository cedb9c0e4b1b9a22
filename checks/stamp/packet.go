// Package stamp has the test packets of the Simple Two-way Active Measurement
// Protocol, unauthenticated (RFC 8762 4.2.1 and 4.3.1), with the session
// identifier of RFC 8972 3, and a Session-Reflector that answers them. It numbers
// its answers by itself (the stateful mode of RFC 8762 4.3), so that whoever asks
// can tell what was lost on the way there from what was lost on the way back.
package stamp

import (
	"encoding/binary"
	"time"
)

// Size is that of a test packet without padding, and of an answer to it, bytes.
const Size = 44

// Unsynchronised is an error estimate (RFC 4656 4.1.2) of a second: nobody here
// knows how well the clock is set.
const Unsynchronised = 32<<8 | 1

// Time is an NTP timestamp: seconds since 1900, and 2^-32 parts of one. It begins
// anew in 2036.
type Time uint64

// TimeOf turns a time into an NTP timestamp.
func TimeOf(t time.Time) Time {
	const from1900to1970 = 2208988800
	return Time(uint64(t.Unix()+from1900to1970)<<32 | uint64(t.Nanosecond())<<32/1e9)
}

// Since is the time from s to t, which are less than 68 years apart.
func (t Time) Since(s Time) time.Duration {
	d := int64(t - s)
	return time.Duration(d>>32)*time.Second + time.Duration(uint64(d)&0xffffffff*1e9>>32)
}

// Question is what a Session-Sender sends.
type Question struct {
	Seq     uint32
	Time    Time // of departure
	Error   uint16
	Session uint16 // 0: the sender has none
}

// Answer is what a Session-Reflector sends back.
type Answer struct {
	Seq      uint32 // its own
	Time     Time   // of departure
	Error    uint16
	Session  uint16
	Received Time     // of the question
	Question Question // as it came, but for its session
	TTL      uint8    // that the question came with
}

// Append appends a question without padding.
func (q Question) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, q.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(q.Time))
	b = binary.BigEndian.AppendUint16(b, q.Error)
	b = binary.BigEndian.AppendUint16(b, q.Session)
	return append(b, make([]byte, Size-16)...)
}

// ParseQuestion reads a question; false: it is too short for one.
func ParseQuestion(b []byte) (q Question, ok bool) {
	if len(b) < Size {
		return q, false
	}
	return Question{binary.BigEndian.Uint32(b), Time(binary.BigEndian.Uint64(b[4:])), binary.BigEndian.Uint16(b[12:]), binary.BigEndian.Uint16(b[14:])}, true
}

// Put writes an answer over the question in b, of which the padding stays.
func (a Answer) Put(b []byte) {
	_ = b[Size-1]
	binary.BigEndian.PutUint32(b, a.Seq)
	binary.BigEndian.PutUint64(b[4:], uint64(a.Time))
	binary.BigEndian.PutUint16(b[12:], a.Error)
	binary.BigEndian.PutUint16(b[14:], a.Session)
	binary.BigEndian.PutUint64(b[16:], uint64(a.Received))
	binary.BigEndian.PutUint32(b[24:], a.Question.Seq)
	binary.BigEndian.PutUint64(b[28:], uint64(a.Question.Time))
	binary.BigEndian.PutUint16(b[36:], a.Question.Error)
	clear(b[38:Size])
	b[40] = a.TTL
}

// ParseAnswer reads an answer; false: it is too short for one.
func ParseAnswer(b []byte) (a Answer, ok bool) {
	if len(b) < Size {
		return a, false
	}
	return Answer{
		Seq: binary.BigEndian.Uint32(b), Time: Time(binary.BigEndian.Uint64(b[4:])),
		Error: binary.BigEndian.Uint16(b[12:]), Session: binary.BigEndian.Uint16(b[14:]),
		Received: Time(binary.BigEndian.Uint64(b[16:])),
		Question: Question{Seq: binary.BigEndian.Uint32(b[24:]), Time: Time(binary.BigEndian.Uint64(b[28:])), Error: binary.BigEndian.Uint16(b[36:])},
		TTL:      b[40],
	}, true
}
