package host

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// packet is what a chain is asked about.
type packet struct {
	family   byte
	iif, oif string
	from, to netip.Addr
	reply    bool // belongs to a connection that was let through
}

// verdict is what becomes of a packet in a chain.
type verdict byte

const (
	goesOn verdict = iota
	accepted
	dropped
	returned
)

// answer is whether a packet meets a condition.
type answer byte

const (
	no answer = iota
	maybe
	yes
)

// walk follows packets through the chains of one table as the kernel would,
// for as far as the rules can be told in advance.
type walk struct {
	nft    *nftables.Conn
	chains []*nftables.Chain
	table  *nftables.Table
	rules  map[string][]*nftables.Rule // by chain, as they were read
}

// deepest is how far chains may jump into each other, as in the kernel.
const deepest = 16

func (w *walk) sees(family byte) bool {
	switch w.table.Family {
	case nftables.TableFamilyINet:
		return true
	case nftables.TableFamilyIPv4:
		return family == unix.NFPROTO_IPV4
	case nftables.TableFamilyIPv6:
		return family == unix.NFPROTO_IPV6
	}
	return false
}

func (w *walk) chain(c *nftables.Chain, p packet, depth int) (verdict, error) {
	rules, ok := w.rules[c.Name]
	if !ok {
		var err error
		if rules, err = w.nft.GetRules(w.table, c); err != nil {
			return goesOn, err
		}
		w.rules[c.Name] = rules
	}
	for _, r := range rules {
		v, err := w.rule(c, r, p, depth)
		if err != nil {
			return goesOn, err
		}
		if v == returned {
			break
		}
		if v != goesOn {
			return v, nil
		}
	}
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		return dropped, nil
	}
	return goesOn, nil
}

// rule gives the benefit of the doubt: where a condition cannot be told, the
// rule matches if it accepts, and does not if it drops. docker's own chains
// accept for its own networks only.
func (w *walk) rule(c *nftables.Chain, r *nftables.Rule, p packet, depth int) (verdict, error) {
	registers := map[uint32][]byte{}
	sure := yes
	for _, e := range r.Exprs {
		v, a := goesOn, yes
		switch e := e.(type) {
		case *expr.Verdict:
			var err error
			if v, err = w.follow(e, p, depth); err != nil {
				return goesOn, err
			}
		case *expr.Reject:
			v = dropped
		case *expr.Target:
			if e.Name == "REJECT" {
				v = dropped
			}
		case *expr.Lookup:
			var err error
			if v, a, err = w.lookup(e, registers, p, depth); err != nil {
				return goesOn, err
			}
		default:
			a = condition(e, registers, p)
		}
		sure = min(sure, a)
		switch {
		case sure == no:
			return goesOn, nil
		case v == goesOn:
		case sure == yes, v == accepted && !strings.HasPrefix(c.Name, "DOCKER-"):
			return v, nil
		default:
			return goesOn, nil
		}
	}
	return goesOn, nil
}

func (w *walk) follow(v *expr.Verdict, p packet, depth int) (verdict, error) {
	switch v.Kind {
	case expr.VerdictAccept:
		return accepted, nil
	case expr.VerdictDrop:
		return dropped, nil
	case expr.VerdictReturn:
		return returned, nil
	case expr.VerdictJump, expr.VerdictGoto:
		i := slices.IndexFunc(w.chains, func(c *nftables.Chain) bool { return same(c.Table, w.table) && c.Name == v.Chain })
		if i < 0 || depth >= deepest {
			return goesOn, nil
		}
		got, err := w.chain(w.chains[i], p, depth+1)
		if got == goesOn && v.Kind == expr.VerdictGoto {
			got = returned
		}
		return got, err
	}
	return goesOn, nil // a queue's program decides
}

// lookup looks into a set, or into a map of verdicts.
func (w *walk) lookup(e *expr.Lookup, registers map[uint32][]byte, p packet, depth int) (verdict, answer, error) {
	value := registers[e.SourceRegister]
	set, err := w.nft.GetSetByName(w.table, e.SetName)
	if err != nil {
		return goesOn, no, err
	}
	if value == nil || set.Interval || set.Concatenation || e.IsDestRegSet && e.DestRegister != 0 {
		if e.IsDestRegSet {
			registers[e.DestRegister] = nil
		}
		return goesOn, maybe, nil
	}
	elements, err := w.nft.GetSetElements(set)
	if err != nil {
		return goesOn, no, err
	}
	i := slices.IndexFunc(elements, func(x nftables.SetElement) bool { return bytes.Equal(x.Key, value) })
	if (i >= 0) == e.Invert {
		return goesOn, no, nil
	}
	if i >= 0 && e.IsDestRegSet {
		v, err := w.follow(verdictOf(elements[i].Val), p, depth)
		return v, yes, err
	}
	return goesOn, yes, nil
}

// verdictOf reads an element of a map of verdicts, which the library leaves as
// the kernel sent it.
func verdictOf(data []byte) *expr.Verdict {
	v := &expr.Verdict{Kind: expr.VerdictContinue}
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return v
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			v.Kind = expr.VerdictKind(int32(ad.Uint32()))
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = ad.String()
		}
	}
	return v
}

// condition computes one expression of a rule. Registers that are not known
// hold nil.
func condition(e expr.Any, registers map[uint32][]byte, p packet) answer {
	switch e := e.(type) {
	case *expr.Meta:
		registers[e.Register] = p.meta(e.Key)
	case *expr.Ct:
		registers[e.Register] = nil
		if e.Key == expr.CtKeySTATE {
			registers[e.Register] = binaryutil.NativeEndian.PutUint32(p.state())
		}
	case *expr.Payload:
		registers[e.DestRegister] = p.payload(e)
	case *expr.Bitwise:
		registers[e.DestRegister] = masked(registers[e.SourceRegister], e.Mask, e.Xor)
	case *expr.Cmp:
		return compared(registers[e.Register], e)
	case *expr.Match:
		return p.extension(e)
	case *expr.Counter, *expr.Log, *expr.Notrack, *expr.Objref, *expr.Immediate:
	default:
		return maybe
	}
	return yes
}

func (p packet) meta(key expr.MetaKey) []byte {
	switch key {
	case expr.MetaKeyIIFNAME:
		return name16(p.iif)
	case expr.MetaKeyOIFNAME:
		return name16(p.oif)
	case expr.MetaKeyNFPROTO:
		return []byte{p.family}
	case expr.MetaKeyPROTOCOL:
		if p.family == unix.NFPROTO_IPV6 {
			return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)
		}
		return binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP)
	case expr.MetaKeyMARK:
		return make([]byte, 4)
	}
	return nil
}

func (p packet) state() uint32 {
	if p.reply {
		return expr.CtStateBitESTABLISHED
	}
	return expr.CtStateBitNEW
}

// payload is what can be told of the network header: its addresses.
func (p packet) payload(e *expr.Payload) []byte {
	from, to := uint32(12), uint32(16) // RFC 791, section 3.1
	if p.family == unix.NFPROTO_IPV6 {
		from, to = 8, 24 // RFC 8200, section 3
	}
	if e.Base != expr.PayloadBaseNetworkHeader || e.OperationType != expr.PayloadLoad {
		return nil
	}
	addresses := append(p.from.AsSlice(), p.to.AsSlice()...)
	if e.Offset < from || e.Offset+e.Len > to+uint32(len(addresses)/2) {
		return nil
	}
	return addresses[e.Offset-from:][:e.Len]
}

// extension is a condition of iptables that nftables has no words for.
func (p packet) extension(e *expr.Match) answer {
	switch info := e.Info.(type) {
	case *xt.Comment:
		return yes
	case *xt.ConntrackMtinfo3:
		if info.MatchFlags != uint16(xt.ConntrackState) {
			return maybe
		}
		bit := uint16(1 << 3) // XT_CONNTRACK_STATE_BIT(IP_CT_NEW)
		if p.reply {
			bit = 1 << 1 // of IP_CT_ESTABLISHED
		}
		if (info.StateMask&bit != 0) == (info.InvertFlags&uint16(xt.ConntrackState) == 0) {
			return yes
		}
		return no
	}
	return maybe
}

func masked(value, mask, xor []byte) []byte {
	if value == nil || len(mask) != len(value) || len(xor) != len(value) {
		return nil
	}
	out := make([]byte, len(value))
	for i := range value {
		out[i] = value[i]&mask[i] ^ xor[i]
	}
	return out
}

func compared(value []byte, e *expr.Cmp) answer {
	if value == nil || len(value) < len(e.Data) {
		return maybe
	}
	c := bytes.Compare(value[:len(e.Data)], e.Data)
	holds := false
	switch e.Op {
	case expr.CmpOpEq:
		holds = c == 0
	case expr.CmpOpNeq:
		holds = c != 0
	case expr.CmpOpLt:
		holds = c < 0
	case expr.CmpOpLte:
		holds = c <= 0
	case expr.CmpOpGt:
		holds = c > 0
	case expr.CmpOpGte:
		holds = c >= 0
	}
	if holds {
		return yes
	}
	return no
}

func name16(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}
