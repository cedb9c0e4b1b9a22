package marks

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Kind says what a packet with a mark is.
type Kind byte

const (
	Question Kind = 1 << iota // as it was sent
	Answer                    // the other end's stack has had the question
	Refusal                   // an ICMP error on the way, with the question in it
)

// String is "question", "answer", "refusal" or several of them.
func (k Kind) String() string {
	var words []string
	for i, word := range []string{"question", "answer", "refusal"} {
		if k>>i&1 != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

// Read finds the mark of a packet that begins with its IP header; false: there
// is none.
func Read(b []byte) (number uint32, kind Kind, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		head := int(b[0]&15) * 4
		if head < 20 || head > len(b) || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return 0, 0, false
		}
		return readBody(b[9], b[head:])
	case len(b) >= 40 && b[0]>>4 == 6:
		return readBody(b[6], b[40:])
	}
	return 0, 0, false
}

func readBody(protocol byte, b []byte) (uint32, Kind, bool) {
	switch protocol {
	case protoTCP:
		return readTCP(b)
	case protoUDP:
		if len(b) < 8 {
			return 0, 0, false
		}
		n, ok := readText(b[8:])
		switch port(n) {
		case binary.BigEndian.Uint16(b):
			return n, Question, ok
		case binary.BigEndian.Uint16(b[2:]):
			return n, Answer, ok
		}
		return 0, 0, false
	case protoICMP, protoICMP6:
		return readICMP(protocol, b)
	}
	return 0, 0, false
}

// readTCP reads at least the first eight bytes, which is what an ICMP error has.
func readTCP(b []byte) (uint32, Kind, bool) {
	if len(b) < 8 {
		return 0, 0, false
	}
	from, to := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if n, ok := inSequence(binary.BigEndian.Uint32(b[4:])); ok && from == port(n) {
		return n, Question, true
	}
	if len(b) < 20 {
		return 0, 0, false
	}
	if n, ok := inSequence(binary.BigEndian.Uint32(b[8:])); ok && to == port(n) {
		return n, Answer, true
	}
	return 0, 0, false
}

func inSequence(s uint32) (uint32, bool) { return s & 0xffffff >> 2, s>>24 == highByte }

// readText reads a payload, which the other end may have sent back.
func readText(b []byte) (uint32, bool) {
	if len(b) < len(text)+4 || !bytes.HasPrefix(b, []byte(text)) {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[len(text):]), true
}

func readICMP(protocol byte, b []byte) (uint32, Kind, bool) {
	if len(b) < 8 {
		return 0, 0, false
	}
	six := protocol == protoICMP6
	switch kind := b[0]; {
	case !six && kind == echo, six && kind == echo6:
		n, ok := readText(b[8:])
		return n, Question, ok
	case !six && kind == echoReply, six && kind == echoReply6:
		n, ok := readText(b[8:])
		return n, Answer, ok
	}
	n, _, ok := Read(b[8:])
	if !six && b[0] == 3 && b[1] == 3 || six && b[0] == 1 && b[1] == 4 {
		return n, Answer, ok // "no such port" comes from the other end itself
	}
	return n, Refusal, ok
}
