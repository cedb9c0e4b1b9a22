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
//		udp dport { 51820 } iifname != "lo" iifname != "eth0" counter drop
//	}
//	chain forward { type filter hook forward priority filter
//		iifname "gn-kestrel" oifname "gn-*" oifname != "gn-kestrel" counter drop
//		oifname "gn-kestrel" iifname "gn-*" iifname != "gn-kestrel" counter drop
//		meta nfproto ipv4 iifname "eth1" oifname != "gn-*" ct state != established,related counter drop
//		meta nfproto ipv6 iifname != "gn-*" oifname != "gn-*" counter drop
//	}
//
// The last two are there where packets are forwarded because of us only, and
// let pass what is ours and replies to it. Links are few and are named in the
// rules: elements of a set of its own could be taken away without a trace in
// any rule, and nft(8) cannot show link names in the other kind.
type ruleset struct {
	nft    *nftables.Conn
	table  *nftables.Table
	filter *tunnels.Filter
	rules  []rule
	err    error
}

type rule struct {
	chain *nftables.Chain
	match []expr.Any
}

func newRuleset(nft *nftables.Conn, t *nftables.Table, f *tunnels.Filter) *ruleset {
	return &ruleset{nft: nft, table: t, filter: f}
}

// write queues the chains and rules for the next Flush.
func (r *ruleset) write() error {
	input := r.chain("input", nftables.ChainHookInput)
	forward := r.chain("forward", nftables.ChainHookForward)
	f := r.filter
	if len(f.Ports) > 0 {
		r.drop(input, r.portIn(f.Ports), r.noneOf(iif, append([]string{"lo"}, f.Uplinks...)))
	}
	for _, d := range once(f.Devices) {
		r.drop(forward, r.link(iif, expr.CmpOpEq, d), ours(oif, expr.CmpOpEq), r.noneOf(oif, f.Devices))
		r.drop(forward, r.link(oif, expr.CmpOpEq, d), ours(iif, expr.CmpOpEq), r.noneOf(iif, f.Devices))
	}
	for _, l := range once(f.Only) {
		r.drop(forward, version(unix.NFPROTO_IPV4), r.link(iif, expr.CmpOpEq, l), ours(oif, expr.CmpOpNeq), notReply())
	}
	if f.Only6 {
		r.drop(forward, version(unix.NFPROTO_IPV6), ours(iif, expr.CmpOpNeq), ours(oif, expr.CmpOpNeq))
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

// link compares the name of a packet's link.
func (r *ruleset) link(which expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	if copy(padded, name) == unix.IFNAMSIZ {
		r.err = fmt.Errorf("link name %q is longer than %d bytes", name, unix.IFNAMSIZ-1)
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
	set := &nftables.Set{Table: r.table, Anonymous: true, Constant: true, KeyType: nftables.TypeInetService}
	if err := r.nft.AddSet(set, elements); err != nil {
		r.err = err
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}
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
