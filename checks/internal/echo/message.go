package echo

import (
	"bytes"
	"encoding/binary"
)

// Types of ICMP messages: RFC 792, RFC 4443 4.
const (
	echoRequest4 = 8
	echoReply4   = 0
	echoRequest6 = 128
	echoReply6   = 129
)

// icmpHeader is the size of an echo request's header, bytes.
const icmpHeader = 8

// compose appends the datagram of question i of t. The kernel sets the identifier
// of a datagram socket, and the checksum but for a raw IPv4 one.
func (s *socket) compose(b []byte, t *train, i int) []byte {
	at := len(b)
	if !s.udp {
		kind := byte(echoRequest4)
		if s.v6 {
			kind = echoRequest6
		}
		b = append(b, kind, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint16(b, t.packets[i].seq)
	}
	if s.reflected {
		return s.composeTest(b, t, i)
	}
	b = binary.BigEndian.AppendUint64(b, s.nonce)
	b = binary.BigEndian.AppendUint64(b, t.number(i))
	b = append(b, t.Ask...)
	b = appendFilling(b, HeadSize+len(t.Ask), t.Size)
	if s.raw && !s.v6 {
		binary.BigEndian.PutUint16(b[at+2:], checksum(b[at:]))
	}
	return b
}

// appendFilling appends what a payload has from one offset to another.
func appendFilling(b []byte, from, to int) []byte {
	for i := from; i < to; i++ {
		b = append(b, byte(i))
	}
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// payloadOf takes what comes before the payload off an answer, and returns the
// sequence number of an ICMP one; false: it is none.
func (s *socket) payloadOf(b []byte) (payload []byte, seq uint16, ok bool) {
	if s.udp {
		return b, 0, true
	}
	if s.raw && !s.v6 {
		if b, ok = withoutIP4(b); !ok {
			return nil, 0, false
		}
	}
	want := byte(echoReply4)
	if s.v6 {
		want = echoReply6
	}
	if len(b) < icmpHeader || b[0] != want || b[1] != 0 || s.raw && binary.BigEndian.Uint16(b[4:]) != s.id {
		return nil, 0, false
	}
	return b[icmpHeader:], binary.BigEndian.Uint16(b[6:]), true
}

// withoutIP4 takes the IPv4 header off, which a raw socket gives.
func withoutIP4(b []byte) ([]byte, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, false
	}
	size := int(b[0]&0xf) * 4
	if size < 20 || size > len(b) {
		return nil, false
	}
	return b[size:], true
}

// numberOf is which question of the socket a payload belongs to.
func (s *socket) numberOf(payload []byte) (number uint64, ok bool) {
	if s.reflected {
		return s.numberOfAnswer(payload)
	}
	if len(payload) < HeadSize || binary.BigEndian.Uint64(payload) != s.nonce {
		return 0, false
	}
	return binary.BigEndian.Uint64(payload[8:]), true
}

// intact says whether a payload is what the answer should be. One that was too
// long for our buffer is judged by what there is of it.
func (p pattern) intact(payload []byte, cut bool) bool {
	if p.session != 0 {
		return p.intactTest(payload, cut)
	}
	rest := payload[HeadSize:]
	if len(payload) != p.size && !cut || len(rest) < len(p.answer) || !bytes.Equal(rest[:len(p.answer)], p.answer) {
		return false
	}
	for i := HeadSize + len(p.answer); i < len(payload); i++ {
		if payload[i] != byte(i) {
			return false
		}
	}
	return true
}
