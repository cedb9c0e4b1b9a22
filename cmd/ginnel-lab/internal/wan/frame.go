package wan

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Packet is what a frame says on its outside.
type Packet struct {
	Protocol string // "udp", "tcp", "icmp", "arp", "ip/47", "ether/88cc"
	Src, Dst netip.AddrPort
	Length   int    // bytes of the frame
	Note     string // what is known of its content; empty: nothing
}

// Parse reads a frame's headers. Whatever the bytes are, it returns what
// could be read.
func Parse(frame []byte) Packet {
	p := Packet{Length: len(frame), Protocol: "?"}
	if len(frame) < 14 {
		return p
	}
	payload := frame[14:]
	switch kind := binary.BigEndian.Uint16(frame[12:]); kind {
	case 0x0800:
		p.ipv4(payload)
	case 0x86dd:
		p.ipv6(payload)
	case 0x0806:
		p.Protocol = "arp"
	default:
		p.Protocol = fmt.Sprintf("ether/%04x", kind)
	}
	return p
}

func (p *Packet) ipv4(b []byte) {
	if len(b) < 20 {
		return
	}
	src, _ := netip.AddrFromSlice(b[12:16])
	dst, _ := netip.AddrFromSlice(b[16:20])
	head := int(b[0]&15) * 4
	fragment := binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	if head < 20 || head > len(b) || fragment {
		head = len(b)
	}
	p.transport(b[9], src, dst, b[head:])
}

func (p *Packet) ipv6(b []byte) {
	if len(b) < 40 {
		return
	}
	src, _ := netip.AddrFromSlice(b[8:24])
	dst, _ := netip.AddrFromSlice(b[24:40])
	p.transport(b[6], src, dst, b[40:])
}

func (p *Packet) transport(protocol byte, src, dst netip.Addr, b []byte) {
	var from, to uint16
	switch protocol {
	case 1, 58:
		p.Protocol = "icmp"
	case 6, 17:
		p.Protocol = map[byte]string{6: "tcp", 17: "udp"}[protocol]
		if len(b) >= 4 {
			from, to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		}
		if protocol == 17 && len(b) > 8 {
			p.Note = wireGuard(b[8:])
		}
	default:
		p.Protocol = fmt.Sprintf("ip/%d", protocol)
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
}

// What Packet.Note says of WireGuard messages.
const (
	Offer     = "WireGuard handshake, first message"
	Answer    = "WireGuard handshake, answer"
	Cookie    = "WireGuard cookie"
	Keepalive = "WireGuard keepalive"
	Data      = "WireGuard data"
)

// wireGuard names a WireGuard message by its type and length (the WireGuard
// paper, 5.4); empty for anything else.
func wireGuard(b []byte) string {
	if len(b) < 32 || b[1] != 0 || b[2] != 0 || b[3] != 0 {
		return ""
	}
	switch {
	case b[0] == 1 && len(b) == 148:
		return Offer
	case b[0] == 2 && len(b) == 92:
		return Answer
	case b[0] == 3 && len(b) == 64:
		return Cookie
	case b[0] == 4 && len(b) == 32:
		return Keepalive
	case b[0] == 4 && len(b)%16 == 0:
		return Data
	}
	return ""
}

// String is one line for people.
func (p Packet) String() string {
	text := fmt.Sprintf("%-4s", p.Protocol)
	switch {
	case !p.Src.IsValid():
	case p.Src.Port() == 0 && p.Dst.Port() == 0:
		text += fmt.Sprintf(" %s > %s", p.Src.Addr(), p.Dst.Addr())
	default:
		text += fmt.Sprintf(" %s > %s", p.Src, p.Dst)
	}
	text += fmt.Sprintf(" %d", p.Length)
	if p.Note != "" {
		text += " " + p.Note
	}
	return text
}
