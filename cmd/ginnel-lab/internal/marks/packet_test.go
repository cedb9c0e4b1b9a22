package marks

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
)

var (
	here4, there4 = netip.MustParseAddr("192.168.10.20"), netip.MustParseAddr("198.51.100.20")
	here6, there6 = netip.MustParseAddr("2001:db8::10:20"), netip.MustParseAddr("2001:db8::51:20")
)

func packets() (all []Packet) {
	for _, ends := range [][2]netip.Addr{{here4, there4}, {here6, there6}} {
		for _, protocol := range []string{"tcp", "udp", "icmp"} {
			all = append(all, Packet{Protocol: protocol, Src: ends[0], Dst: ends[1], Port: 443})
		}
	}
	return all
}

func TestMarksAreRead(t *testing.T) {
	for _, p := range packets() {
		for _, number := range []uint32{0, 1, 9999, 10000, 65536, MaxNumber} {
			b := p.Bytes(number)
			if n, kind, ok := Read(b); !ok || n != number || kind != Question {
				t.Errorf("%+v %d: read %d %d %t", p, number, n, kind, ok)
			}
			for cut := range b { // whatever is missing, nothing breaks
				Read(b[:cut])
			}
		}
	}
}

// An ICMP error has the packet in it, or its first 28 bytes.
func TestMarksInsideRefusals(t *testing.T) {
	for _, p := range packets() {
		inner := p.Bytes(4711)
		outer := Packet{Protocol: "icmp", Src: p.Dst, Dst: p.Src}.Bytes(1)
		body := 20
		if p.Dst.Is6() {
			body = 40
		}
		for code, want := range map[byte]Kind{3: Answer, 13: Refusal} {
			kind := byte(3)
			if p.Dst.Is6() {
				kind, code = 1, map[byte]byte{3: 4, 13: 1}[code]
			}
			b := append(bytes.Clone(outer[:body]), kind, code, 0, 0, 0, 0, 0, 0)
			b = append(b, inner...)
			if n, got, ok := Read(b); !ok || n != 4711 || got != want {
				t.Errorf("%+v, code %d: read %d %d %t, want %d", p, code, n, got, ok, want)
			}
		}
	}
}

// The other end's kernel, which is real, answers what we have built.
func TestKernelAnswers(t *testing.T) {
	a, b := pair(t)
	log := NewLog()
	defer log.Close()
	for _, err := range []error{log.Links(a), log.Links(b), log.Stack(b)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := From(a, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	drop(t, b, "udp dport 444")
	for i, p := range packets() {
		if err := s.Send(p, uint32(i)); err != nil {
			t.Fatal(err)
		}
		p.Port, p.Protocol = 444, "udp" // this one its filter keeps out
		if err := s.Send(p, uint32(100+i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range packets() {
		want := map[string]Kind{"a:eth0": Question | Answer, "b:eth0": Question | Answer, "b:in": Question}
		eventually(t, fmt.Sprintf("%+v", p), want, func() map[string]Kind { return log.Seen(uint32(i)) })
		want = map[string]Kind{"a:eth0": Question, "b:eth0": Question}
		eventually(t, "what the filter keeps out", want, func() map[string]Kind { return log.Seen(uint32(100 + i)) })
	}
	if n := log.Missed(); n != 0 {
		t.Errorf("%d packets were missed", n)
	}
	forged := Packet{Protocol: "udp", Src: there4.Next(), Dst: there4, Port: 9}
	if err := s.Send(forged, 200); err != nil {
		t.Fatal(err)
	}
	eventually(t, "somebody else's source", Question, func() Kind { return log.Seen(200)["b:eth0"] & Question })
	if own, err := From(a, "", there4, there6); !Refused(err) {
		t.Errorf("a node has an address that is not its own: %v, %v", own, err)
	}
}
