package host

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

func count() []expr.Any  { return []expr.Any{&expr.Counter{}} }
func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

// reject tells the sender that it is forbidden.
func reject() []expr.Any {
	return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
}

// jump comes back from a chain, goTo does not.
func (c *chain) jump() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: c.Name}}
}

func (c *chain) goTo() []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: c.Name}}
}

// maxSegment lowers the largest segment that a TCP packet announces (RFC 9293,
// 3.7.1: option 2, its value at byte 2).
func maxSegment(size int) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, uint16(size))},
		&expr.Exthdr{SourceRegister: 1, Type: 2, Offset: 2, Len: 2, Op: expr.ExthdrOpTcpopt},
	}
}

// netmap replaces the network part of an address by another, and keeps the
// host's part.
func netmap(v *version, kind expr.NATType, to netip.Prefix) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: to.Masked().Addr().AsSlice()},
		&expr.Immediate{Register: 2, Data: last(to).AsSlice()},
		&expr.NAT{Type: kind, Family: uint32(v.nfproto), RegAddrMin: 1, RegAddrMax: 2, Prefix: true},
	}
}
