package marks

import (
	"cmp"
	"encoding/binary"
	"net/netip"
)

// Packet is the outside of a question. The source need not be the sender's own.
type Packet struct {
	Protocol string // "tcp": a SYN with the usual options; "udp"; "icmp": an echo request
	Src, Dst netip.Addr
	Port     uint16 // of Dst; none for icmp
	Hops     uint8  // after which it dies; 0: 64
}

// MaxNumber bounds the numbers of marks.
const MaxNumber = 1<<22 - 1

// How a packet is known again. TCP has no payload to write into: its number is
// the sequence number, times four so that what a SYN or a FIN counts changes
// nothing, and its source port is from a range that no kernel gives away.
const (
	text      = "ginnel mark "
	firstPort = 20000
	ports     = 10000
	highByte  = 0x67
)

func port(number uint32) uint16 { return uint16(firstPort + number%ports) }

const (
	protoICMP, protoTCP, protoUDP, protoICMP6 = 1, 6, 17, 58
	echo, echoReply                           = 8, 0
	echo6, echoReply6                         = 128, 129
)

// Bytes is the packet with its IP header.
func (p Packet) Bytes(number uint32) []byte {
	protocol, body := p.body(number)
	sum := checksum(body, p.pseudo(protocol, len(body)))
	if protocol == protoUDP && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(body[checksumAt[protocol]:], sum)
	hops := cmp.Or(p.Hops, 64)
	if p.Dst.Is4() {
		head := make([]byte, 20, 20+len(body))
		head[0], head[8], head[9] = 0x45, hops, protocol
		binary.BigEndian.PutUint16(head[2:], uint16(20+len(body)))
		copy(head[12:], p.Src.AsSlice())
		copy(head[16:], p.Dst.AsSlice())
		binary.BigEndian.PutUint16(head[10:], checksum(head, 0))
		return append(head, body...)
	}
	head := make([]byte, 40, 40+len(body))
	head[0], head[6], head[7] = 0x60, protocol, hops
	binary.BigEndian.PutUint16(head[4:], uint16(len(body)))
	copy(head[8:], p.Src.AsSlice())
	copy(head[24:], p.Dst.AsSlice())
	return append(head, body...)
}

var checksumAt = map[byte]int{protoICMP: 2, protoICMP6: 2, protoTCP: 16, protoUDP: 6}

// body is what stands behind the IP header, with no checksum yet.
func (p Packet) body(number uint32) (protocol byte, b []byte) {
	marked := binary.BigEndian.AppendUint32([]byte(text), number)
	switch p.Protocol {
	case "tcp":
		b = binary.BigEndian.AppendUint16(nil, port(number))
		b = binary.BigEndian.AppendUint16(b, p.Port)
		b = binary.BigEndian.AppendUint32(b, highByte<<24|number<<2)
		b = append(b, 0, 0, 0, 0, 10<<4, 0x02, 0xfa, 0xf0, 0, 0, 0, 0) // SYN, window 64240
		b = append(b, 2, 4, 0x05, 0xb4, 4, 2, 8, 10)                   // MSS 1460, SACK, timestamps
		b = binary.BigEndian.AppendUint32(b, number)
		return protoTCP, append(b, 0, 0, 0, 0, 1, 3, 3, 7) // window scale
	case "udp":
		b = binary.BigEndian.AppendUint16(nil, port(number))
		b = binary.BigEndian.AppendUint16(b, p.Port)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(marked)))
		return protoUDP, append(append(b, 0, 0), marked...)
	}
	protocol, kind := byte(protoICMP), byte(echo)
	if p.Dst.Is6() {
		protocol, kind = protoICMP6, echo6
	}
	b = []byte{kind, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, number<<16|number&0xffff)
	return protocol, append(b, marked...)
}

// pseudo is the sum of the pseudo header; ICMP for IPv4 has none.
func (p Packet) pseudo(protocol byte, length int) (sum uint32) {
	if protocol == protoICMP {
		return 0
	}
	for _, a := range [][]byte{p.Src.AsSlice(), p.Dst.AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	return sum + uint32(protocol) + uint32(length)
}

// checksum is the Internet's (RFC 1071).
func checksum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
