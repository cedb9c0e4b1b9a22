package host

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// ruleset is a Filter as nftables rules. In the words of nft(8), for a network
// with one device:
//
//	chain input { type filter hook input priority filter
//		udp dport { 51820 } iifname != @uplinks counter drop
//	}
//	chain forward { type filter hook forward priority filter
//		iifname @devices oifname "gn-*" oifname != @devices counter drop
//		oifname @devices iifname "gn-*" iifname != @devices counter drop
//		meta nfproto ipv4 iifname @only oifname != "gn-*" ct state != established,related counter drop
//		meta nfproto ipv6 iifname != "gn-*" oifname != "gn-*" counter drop
//	}
//
// The last two are there where packets are forwarded because of us only, and
// let pass what is ours and replies to it.
type ruleset struct {
	nft    *nftables.Conn
	table  *nftables.Table
	filter *tunnels.Filter
	sets   map[string]*nftables.Set // of link names
	rules  []rule
	err    error
}

type rule struct {
	chain *nftables.Chain
	match []expr.Any
}

func newRuleset(nft *nftables.Conn, t *nftables.Table, f *tunnels.Filter) *ruleset {
	return &ruleset{nft: nft, table: t, filter: f, sets: map[string]*nftables.Set{}}
}

// write queues the chains and rules for the next Flush.
func (r *ruleset) write() error {
	input := r.chain("input", nftables.ChainHookInput)
	forward := r.chain("forward", nftables.ChainHookForward)
	f := r.filter
	r.names("uplinks", append([]string{"lo"}, f.Uplinks...))
	r.names("devices", f.Devices)
	r.names("only", f.Only)
	if len(f.Ports) > 0 {
		r.drop(input, r.portIn(f.Ports), r.link(iif, false, "uplinks"))
	}
	if len(f.Devices) > 0 {
		r.drop(forward, r.link(iif, true, "devices"), r.ours(oif, true), r.link(oif, false, "devices"))
		r.drop(forward, r.link(oif, true, "devices"), r.ours(iif, true), r.link(iif, false, "devices"))
	}
	if len(f.Only) > 0 {
		r.drop(forward, version(unix.NFPROTO_IPV4), r.link(iif, true, "only"), r.ours(oif, false), notReply())
	}
	if f.Only6 {
		r.drop(forward, version(unix.NFPROTO_IPV6), r.ours(iif, false), r.ours(oif, false))
	}
	if len(r.rules) == 0 { // a table must have one rule to carry its digest
		r.rules = append(r.rules, rule{chain: input, match: []expr.Any{&expr.Counter{}}})
	}
	for i, x := range r.rules {
		r.nft.AddRule(&nftables.Rule{Table: r.table, Chain: x.chain, Exprs: x.match,
			UserData: userdata.AppendString(nil, userdata.TypeComment, mark(f.Sum(), i, len(r.rules)))})
	}
	return r.err
}

func (r *ruleset) chain(name string, hook *nftables.ChainHook) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return r.nft.AddChain(&nftables.Chain{Name: name, Table: r.table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &accept})
}

// drop adds a rule that counts and drops what matches all of the conditions.
func (r *ruleset) drop(c *nftables.Chain, conditions ...[]expr.Any) {
	match := slices.Concat(conditions...)
	match = append(match, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop})
	r.rules = append(r.rules, rule{chain: c, match: match})
}

const (
	iif = expr.MetaKeyIIFNAME
	oif = expr.MetaKeyOIFNAME
)

// names makes a set of link names. It has a name of its own and a byte order, so
// that nft(8) shows what is in it.
func (r *ruleset) names(set string, links []string) {
	if len(links) == 0 {
		return
	}
	var elements []nftables.SetElement
	for _, n := range slices.Compact(slices.Sorted(slices.Values(links))) {
		padded := make([]byte, unix.IFNAMSIZ)
		if copy(padded, n) == unix.IFNAMSIZ {
			r.err = fmt.Errorf("link name %q is longer than %d bytes", n, unix.IFNAMSIZ-1)
		}
		elements = append(elements, nftables.SetElement{Key: padded})
	}
	r.sets[set] = r.set(&nftables.Set{Name: set, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}, elements)
}

// link matches packets whose link is in the set, or is not.
func (r *ruleset) link(which expr.MetaKey, in bool, set string) []expr.Any {
	s := r.sets[set]
	return []expr.Any{&expr.Meta{Key: which, Register: 1},
		&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: !in}}
}

// ours matches packets whose link has a name that begins with gn-, or not.
func (r *ruleset) ours(which expr.MetaKey, yes bool) []expr.Any {
	op := expr.CmpOpEq
	if !yes {
		op = expr.CmpOpNeq
	}
	return []expr.Any{&expr.Meta{Key: which, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: []byte(tunnels.DevicePrefix)}}
}

// portIn matches UDP packets to one of the ports.
func (r *ruleset) portIn(ports []int) []expr.Any {
	var elements []nftables.SetElement
	for _, p := range slices.Compact(slices.Sorted(slices.Values(ports))) {
		if p < 1 || p > 65535 {
			r.err = fmt.Errorf("there is no UDP port %d", p)
			continue
		}
		elements = append(elements, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, uint16(p))})
	}
	set := r.set(&nftables.Set{Anonymous: true, Constant: true, KeyType: nftables.TypeInetService}, elements)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}
}

// set queues a set of our table.
func (r *ruleset) set(s *nftables.Set, elements []nftables.SetElement) *nftables.Set {
	s.Table = r.table
	if err := r.nft.AddSet(s, elements); err != nil {
		r.err = err
	}
	return s
}

func version(nfproto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{nfproto}}}
}

// notReply matches packets that belong to no connection that was let through.
func notReply() []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
			Xor:  binaryutil.NativeEndian.PutUint32(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}
