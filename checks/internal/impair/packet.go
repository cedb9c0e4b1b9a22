package impair

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const protoICMP, protoTCP, protoUDP, protoICMPv6 = 1, 6, 17, 58

// packet is one that came.
type packet struct {
	whole    []byte
	from, to netip.Addr
	proto    int
	ttl      int
	df       bool
	body     []byte // behind the IP header
}

// parse reads a packet; false: it is not one to be answered, as a fragment.
func parse(b []byte) (p packet, ok bool) {
	p.whole = slices.Clone(b)
	switch {
	case len(b) >= ipv4.HeaderLen && b[0]>>4 == 4:
		h, err := ipv4.ParseHeader(b)
		if err != nil || h.Len > len(b) || h.FragOff != 0 || h.Flags&ipv4.MoreFragments != 0 {
			return p, false
		}
		p.from, p.to = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.proto, p.ttl, p.df = h.Protocol, h.TTL, h.Flags&ipv4.DontFragment != 0
		p.body = p.whole[h.Len:]
	case len(b) >= ipv6.HeaderLen && b[0]>>4 == 6:
		h, err := ipv6.ParseHeader(b)
		if err != nil {
			return p, false
		}
		p.from, p.to = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		p.proto, p.ttl, p.df = h.NextHeader, h.HopLimit, true
		p.body = p.whole[ipv6.HeaderLen:]
	default:
		return p, false
	}
	switch p.proto {
	case protoICMP:
		return p, len(p.body) >= 8 && p.body[0] == byte(ipv4.ICMPTypeEcho)
	case protoICMPv6:
		return p, len(p.body) >= 8 && p.body[0] == byte(ipv6.ICMPTypeEchoRequest)
	case protoUDP:
		return p, len(p.body) >= 8
	case protoTCP:
		return p, len(p.body) >= 20
	}
	return p, false
}

func (q packet) icmp() bool { return q.proto == protoICMP || q.proto == protoICMPv6 }
func (q packet) tcp() bool  { return q.proto == protoTCP }
func (q packet) syn() bool  { return q.body[13]&0x12 == 0x02 }

// port is the one that is asked.
func (q packet) port() uint16 { return binary.BigEndian.Uint16(q.body[2:]) }

// deny says what a router does with a packet that it does not pass: an ICMP
// error, or nothing at all; false: it passes.
func (p *place) deny(q packet) ([]byte, bool) {
	by := q.to
	if p.rules.By.IsValid() {
		by = p.rules.By
	}
	switch long := p.rules.MTU > 0 && len(q.whole) > p.rules.MTU; {
	case q.ttl <= p.rules.Hops:
		if q.to.Is4() {
			return q.denial(by, ipv4.ICMPTypeTimeExceeded, 0, nil), true
		}
		return q.denial(by, ipv6.ICMPTypeTimeExceeded, 0, nil), true
	case long && p.rules.Tell && q.df:
		return q.tooLong(by, p.rules.MTU), true
	case long:
		return nil, true
	case p.rules.Deny != NoDenial:
		code4 := map[Denial]int{NetUnreachable: 0, HostUnreachable: 1, Prohibited: 13}
		code6 := map[Denial]int{NetUnreachable: 0, HostUnreachable: 3, Prohibited: 1}
		if q.to.Is4() {
			return q.denial(by, ipv4.ICMPTypeDestinationUnreachable, code4[p.rules.Deny], nil), true
		}
		return q.denial(by, ipv6.ICMPTypeDestinationUnreachable, code6[p.rules.Deny], nil), true
	case (q.proto == protoUDP) && !p.open(q.port()):
		return q.refusal(), true
	}
	return nil, false
}

func (p *place) open(port uint16) bool {
	return p.rules.Ports == nil || slices.Contains(p.rules.Ports, port)
}

// refusal says that nobody takes a datagram.
func (q packet) refusal() []byte {
	if q.to.Is4() {
		return q.denial(q.to, ipv4.ICMPTypeDestinationUnreachable, 3, nil)
	}
	return q.denial(q.to, ipv6.ICMPTypeDestinationUnreachable, 4, nil)
}

// tooLong says which length would have passed.
func (q packet) tooLong(by netip.Addr, mtu int) []byte {
	if q.to.Is6() {
		return q.denial(by, ipv6.ICMPTypePacketTooBig, 0, &icmp.PacketTooBig{MTU: mtu, Data: q.quoted()})
	}
	b := q.denial(by, ipv4.ICMPTypeDestinationUnreachable, 4, nil)
	binary.BigEndian.PutUint16(b[ipv4.HeaderLen+6:], uint16(mtu)) // RFC 1191 4
	body := b[ipv4.HeaderLen:]
	clear(body[2:4])
	binary.BigEndian.PutUint16(body[2:], ^sum(0, body))
	return b
}

// quoted is what an ICMP error repeats: the IP header and 8 bytes, as the least
// that RFC 792 asks for, or, in IPv6, all.
func (q packet) quoted() []byte {
	if q.to.Is4() {
		return q.whole[:len(q.whole)-len(q.body)+8]
	}
	return q.whole[:min(len(q.whole), 1232)]
}

// denial makes an ICMP error about q.
func (q packet) denial(by netip.Addr, kind icmp.Type, code int, body icmp.MessageBody) []byte {
	if body == nil {
		body = &icmp.DstUnreach{Data: q.quoted()}
	}
	m := icmp.Message{Type: kind, Code: code, Body: body}
	proto, pseudo := protoICMP, []byte(nil)
	if q.to.Is6() {
		proto, pseudo = protoICMPv6, icmp.IPv6PseudoHeader(by.AsSlice(), q.from.AsSlice())
	}
	b, err := m.Marshal(pseudo)
	if err != nil {
		return nil
	}
	return wrap(by, q.from, proto, b)
}

// answer makes what q asks for, changed by the rules.
func (p *place) answer(q packet, udp func([]byte) []byte) []byte {
	body := slices.Clone(q.body)
	at := 2 // of the checksum
	switch q.proto {
	case protoICMP:
		body[0] = byte(ipv4.ICMPTypeEchoReply)
	case protoICMPv6:
		body[0] = byte(ipv6.ICMPTypeEchoReply)
	case protoUDP:
		at = 6
		swapPorts(body)
		if udp != nil {
			body = append(body[:8], udp(q.body[8:])...)
			binary.BigEndian.PutUint16(body[4:], uint16(len(body)))
		}
	case protoTCP:
		at = 16
		body = q.handshake(p.open(q.port()))
	}
	corrupt, damage := nth(p.answered+1, p.rules.Corrupt), nth(p.answered+1, p.rules.Damage)
	if corrupt {
		body[len(body)-1] ^= 0xff
	}
	clear(body[at : at+2])
	seed := uint32(0)
	if q.proto != protoICMP {
		seed = pseudoSum(q.to, q.from, q.proto, len(body))
	}
	binary.BigEndian.PutUint16(body[at:], ^sum(seed, body))
	if damage {
		body[len(body)-1] ^= 0xff
	}
	return wrap(q.to, q.from, q.proto, body)
}

func swapPorts(b []byte) {
	copy(b[:4], []byte{b[2], b[3], b[0], b[1]})
}

// handshake answers a SYN: SYN and ACK, or RST and ACK. RFC 9293 3.5.
func (q packet) handshake(open bool) []byte {
	b := make([]byte, 20)
	copy(b, q.body[:4])
	swapPorts(b)
	binary.BigEndian.PutUint32(b[8:], binary.BigEndian.Uint32(q.body[4:])+1)
	b[12], b[13] = 5<<4, 0x14
	if open {
		binary.BigEndian.PutUint32(b[4:], 1)
		b[13] = 0x12
		binary.BigEndian.PutUint16(b[14:], 0xffff)
	}
	return b
}

// wrap puts an IP header before a body.
func wrap(from, to netip.Addr, proto int, body []byte) []byte {
	if from.Is4() {
		h := ipv4.Header{Version: 4, Len: ipv4.HeaderLen, TotalLen: ipv4.HeaderLen + len(body), TTL: 64, Protocol: proto, Src: from.AsSlice(), Dst: to.AsSlice()}
		b, err := h.Marshal()
		if err != nil {
			return nil
		}
		binary.BigEndian.PutUint16(b[10:], ^sum(0, b))
		return append(b, body...)
	}
	b := make([]byte, ipv6.HeaderLen, ipv6.HeaderLen+len(body))
	b[0], b[6], b[7] = 6<<4, byte(proto), 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	copy(b[8:], from.AsSlice())
	copy(b[24:], to.AsSlice())
	return append(b, body...)
}

// pseudoSum begins a checksum over the pseudo header: RFC 768, RFC 8200 8.1.
func pseudoSum(from, to netip.Addr, proto, size int) uint32 {
	header := slices.Concat(from.AsSlice(), to.AsSlice(), []byte{0, byte(proto)})
	header = binary.BigEndian.AppendUint16(header, uint16(size))
	return uint32(sum(0, header))
}

// sum is that of RFC 1071, without the complement.
func sum(seed uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		seed += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		seed += uint32(b[0]) << 8
	}
	for seed > 0xffff {
		seed = seed>>16 + seed&0xffff
	}
	return uint16(seed)
}
