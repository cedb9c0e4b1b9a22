package county

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Passage is what became at a gateway of packets from its LAN for a prefix. A
// packet that arrived and was not routed was refused: there was no way for it.
// The refusals themselves cannot be counted at the host that asked, because the
// kernel tells it at most one a second.
type Passage struct{ Arrived, Routed int }

// Refused is how many packets had no way.
func (p Passage) Refused() int { return p.Arrived - p.Routed }

// WatchLAN counts at a gateway what comes from its LAN for a prefix, in a table
// of nftables of its own, until stop is called.
func (s *Site) WatchLAN(to netip.Prefix) (stop func() (Passage, error), err error) {
	conn, err := nftables.New(nftables.WithNetNSFd(s.Node.NetFD()))
	if err != nil {
		return nil, fmt.Errorf("counting at %s: %w", s.Name(), err)
	}
	table := conn.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyIPv4})
	chain := func(name string, hook *nftables.ChainHook) *nftables.Chain {
		c := conn.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: hook, Priority: nftables.ChainPriorityRaw})
		conn.AddRule(&nftables.Rule{Table: table, Chain: c, Exprs: countLAN(to)})
		return c
	}
	arrived := chain("arrived", nftables.ChainHookPrerouting)
	forwarded := chain("forwarded", nftables.ChainHookForward)
	taken := chain("taken", nftables.ChainHookInput)
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("counting at %s: %w", s.Name(), err)
	}
	return func() (p Passage, err error) {
		for _, c := range []*nftables.Chain{arrived, forwarded, taken} {
			n, err := counted(conn, table, c)
			if err != nil {
				return p, fmt.Errorf("counting at %s: %w", s.Name(), err)
			}
			if c == arrived {
				p.Arrived = n
			} else {
				p.Routed += n
			}
		}
		conn.DelTable(table)
		return p, conn.Flush()
	}, nil
}

// countLAN counts packets that came in by the LAN's link for a prefix.
func countLAN(to netip.Prefix) []expr.Any {
	link := append([]byte("eth1"), make([]byte, 12)...) // IFNAMSIZ bytes
	mask := make([]byte, 4)
	for i := range to.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: link},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: to.Masked().Addr().AsSlice()},
		&expr.Counter{},
	}
}

// counted reads the counter of a chain of ours.
func counted(conn *nftables.Conn, t *nftables.Table, c *nftables.Chain) (int, error) {
	rules, err := conn.GetRules(t, c)
	if err != nil {
		return 0, err
	}
	for _, r := range rules {
		i := slices.IndexFunc(r.Exprs, func(e expr.Any) bool { _, ok := e.(*expr.Counter); return ok })
		if i >= 0 {
			return int(r.Exprs[i].(*expr.Counter).Packets), nil
		}
	}
	return 0, fmt.Errorf("chain %s has no counter", c.Name)
}
