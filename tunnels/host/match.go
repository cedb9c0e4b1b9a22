package host

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// version is one of IP's, with where it keeps what.
type version struct {
	nfproto        byte
	source, target uint32 // offsets of the addresses
	quoted         uint32 // of the target of the packet inside an ICMP error
	headers        int    // bytes of IP's and TCP's
	icmp, ping     byte   // protocol, and type of an echo request
	key            nftables.SetDatatype
}

var (
	v4 = &version{unix.NFPROTO_IPV4, 12, 16, 20 + 8 + 16, 20 + 20, unix.IPPROTO_ICMP, 8, nftables.TypeIPAddr}
	v6 = &version{unix.NFPROTO_IPV6, 8, 24, 40 + 8 + 24, 40 + 20, unix.IPPROTO_ICMPV6, 128, nftables.TypeIP6Addr}

	versions = []*version{v4, v6}
)

const (
	tcp = unix.IPPROTO_TCP
	udp = unix.IPPROTO_UDP
)

func versionOf(p netip.Prefix) *version {
	if p.Addr().Is4() {
		return v4
	}
	return v6
}

// of is those of the prefixes that are of this version.
func (v *version) of(list []netip.Prefix) (mine []netip.Prefix) {
	for _, p := range list {
		if versionOf(p) == v {
			mine = append(mine, p)
		}
	}
	return mine
}

func (v *version) match() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal(v.nfproto)}
}

// echo matches echo requests.
func (v *version) echo() []expr.Any {
	return append(protocol(v.icmp), v.kind(v.ping)...)
}

// kind matches the type of an ICMP message.
func (*version) kind(number byte) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1}, equal(number)}
}

// remark matches what a router says of packets from one tunnel into the same, by
// type and code (RFC 792; RFC 4443, section 3): nobody there, as the kernel's
// WireGuard says of a peer that it cannot send to; a better way; hops at an end; a
// header that is not understood. None of them is needed to find an MTU.
func (r *ruleset) remark(v *version) []expr.Any {
	kinds := [][2]byte{{3, 1}, {5, 0}, {5, 1}, {5, 2}, {5, 3}, {11, 0}, {12, 0}, {12, 1}, {12, 2}}
	if v == v6 {
		kinds = [][2]byte{{1, 3}, {3, 0}, {4, 0}, {4, 1}, {4, 2}, {137, 0}}
	}
	var elements []nftables.SetElement
	for _, k := range kinds {
		elements = append(elements, nftables.SetElement{Key: k[:]})
	}
	key := nftables.TypeInteger
	key.Bytes = 2
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 2}, r.oneOf(key, false, elements)}
}

// failure matches ICMP errors.
func (r *ruleset) failure(v *version) []expr.Any {
	kind := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: 1}
	if v == v6 { // RFC 4443, section 2.1: errors have the high bit 0
		return append(protocol(v.icmp), kind, &expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: []byte{128}})
	}
	var kinds []nftables.SetElement
	for _, k := range []byte{3, 11, 12} {
		kinds = append(kinds, nftables.SetElement{Key: []byte{k}})
	}
	return append(protocol(v.icmp), kind, r.oneOf(nftables.TypeICMPType, false, kinds))
}

func equal(data ...byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func protocol(number byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal(number)}
}

// prefixes matches an address of a packet that is in one of the prefixes;
// without any it matches all.
func (r *ruleset) prefixes(v *version, offset uint32, list []netip.Prefix) []expr.Any {
	switch len(list) {
	case 0:
		return nil
	case 1:
		return r.prefix(v, offset, list[0])
	}
	var elements []nftables.SetElement
	for _, s := range spans(list) {
		elements = append(elements, nftables.SetElement{Key: s.first.AsSlice()})
		if end := s.last.Next(); end.IsValid() { // there is none after the last of all
			elements = append(elements, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return append(v.address(offset), r.oneOf(v.key, true, elements))
}

// prefix matches an address of a packet that is in a prefix.
func (r *ruleset) prefix(v *version, offset uint32, p netip.Prefix) []expr.Any {
	p = p.Masked()
	match := v.address(offset)
	if !p.IsSingleIP() {
		match = append(match, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: v.key.Bytes,
			Mask: mask(p), Xor: make([]byte, v.key.Bytes)})
	}
	return append(match, equal(p.Addr().AsSlice()...))
}

func (v *version) address(offset uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: v.key.Bytes}}
}

func mask(p netip.Prefix) []byte {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	a, m := p.Masked().Addr().AsSlice(), mask(p)
	for i := range a {
		a[i] |= ^m[i]
	}
	end, _ := netip.AddrFromSlice(a)
	return end
}

// span is all addresses from one to another.
type span struct{ first, last netip.Addr }

// spans joins prefixes that overlap or follow each other without a gap: a set
// takes no others.
func spans(list []netip.Prefix) (out []span) {
	for _, p := range slices.SortedFunc(slices.Values(list), netip.Prefix.Compare) {
		s := span{p.Masked().Addr(), last(p)}
		if n := len(out) - 1; n >= 0 && (s.first.Compare(out[n].last) <= 0 || s.first == out[n].last.Next()) {
			if s.last.Compare(out[n].last) > 0 {
				out[n].last = s.last
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// services are the conditions of ports as in an Allow, one for each protocol;
// without any one that matches all.
func (r *ruleset) services(v *version, ports []string) (list [][]expr.Any) {
	var of [256][]int
	for _, p := range ports {
		proto, number, _ := strings.Cut(p, "/")
		n, _ := strconv.Atoi(number)
		switch proto {
		case "icmp":
			list = append(list, protocol(v.icmp))
		case "tcp":
			of[tcp] = append(of[tcp], n)
		case "udp":
			of[udp] = append(of[udp], n)
		default:
			r.fail("there is no port %q", p)
		}
	}
	for _, proto := range []byte{tcp, udp} {
		if len(of[proto]) > 0 {
			list = append(list, append(protocol(proto), r.portIn(of[proto])...))
		}
	}
	if len(ports) == 0 {
		list = append(list, nil)
	}
	return list
}

// portIn matches packets to one of the ports of TCP or UDP.
func (r *ruleset) portIn(ports []int) []expr.Any {
	match := []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}}
	var elements []nftables.SetElement
	for _, p := range slices.Compact(slices.Sorted(slices.Values(ports))) {
		if p < 1 || p > 65535 {
			r.fail("there is no port %d", p)
			continue
		}
		elements = append(elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, uint16(p))})
	}
	if len(elements) == 1 {
		return append(match, equal(elements[0].Key...))
	}
	return append(match, r.oneOf(nftables.TypeInetService, false, elements))
}

// oneOf looks what was loaded up in a set of the rule's own.
func (r *ruleset) oneOf(key nftables.SetDatatype, interval bool, elements []nftables.SetElement) expr.Any {
	set := &nftables.Set{Table: r.table, Anonymous: true, Constant: true, Interval: interval, KeyType: key}
	if err := r.nft.AddSet(set, elements); err != nil {
		r.fail("a set of %d: %w", len(elements), err)
	}
	return &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}
}

const (
	iif = expr.MetaKeyIIFNAME
	oif = expr.MetaKeyOIFNAME
)

// link compares the name of a packet's link.
func (r *ruleset) link(which expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	if copy(padded, name) == unix.IFNAMSIZ {
		r.fail("link name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
	}
	return []expr.Any{&expr.Meta{Key: which, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: padded}}
}

// noneOf matches packets whose link has none of the names.
func (r *ruleset) noneOf(which expr.MetaKey, names []string) (match []expr.Any) {
	for _, n := range once(names) {
		match = append(match, r.link(which, expr.CmpOpNeq, n)...)
	}
	return match
}

// ours compares the beginning of the name of a packet's link with gn-.
func ours(which expr.MetaKey, op expr.CmpOp) []expr.Any {
	return []expr.Any{&expr.Meta{Key: which, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte(tunnels.DevicePrefix)}}
}

func once(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// replies matches packets of connections that were let through, and errors
// about such packets; notReply all others.
func replies() []expr.Any  { return connection(expr.CmpOpNeq) }
func notReply() []expr.Any { return connection(expr.CmpOpEq) }

func connection(op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
			Xor:  binaryutil.NativeEndian.PutUint32(0)},
		&expr.Cmp{Op: op, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

// syn matches packets that open a TCP connection, or answer to that.
func syn() []expr.Any {
	const synFlag, rstFlag = 0x02, 0x04
	return append(protocol(tcp),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{synFlag | rstFlag}, Xor: []byte{0}},
		equal(synFlag))
}
