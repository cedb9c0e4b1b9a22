package host

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	raw "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mark is the comment on each rule of ours: which Filter the table was made
// from, which rule of how many this is, the sum of what it does, and what it
// refuses. So a table that somebody took a rule from, or added one to, or in which
// he put another in a rule's place, is known for what it is.
func mark(digest string, i, n int, does []expr.Any, reason string) string {
	return strings.TrimSpace(fmt.Sprintf("ginnel %s %d/%d %s %s", digest, i+1, n, sum(does), reason))
}

// sum is of what a rule does, without what it has counted and the name that the
// kernel gave to a set of its own.
func sum(does []expr.Any) string {
	h := fnv.New32a()
	for _, e := range does {
		switch e := e.(type) {
		case *expr.Counter:
			fmt.Fprintln(h, "counter")
		case *expr.Lookup:
			fmt.Fprintln(h, "lookup", e.SourceRegister, e.DestRegister, e.IsDestRegSet, e.Invert)
		default:
			fmt.Fprintf(h, "%T%+v\n", e, e)
		}
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// written is a rule as it was found, with its comment.
type written struct {
	*nftables.Rule
	comment string
}

// digest is the one in the comments if they are all of one Filter, in its order,
// none is missing or too many, and each rule does what its comment says; else
// empty. The kernel changes nothing in a set of a rule's own, gives it to no other
// rule, and numbers (by handles) what comes into a table: a set that is newer than
// the first rule is not ours, as we write sets before rules.
func digest(found []written, newestSet uint64) string {
	if len(found) == 0 || newestSet > found[0].Handle {
		return ""
	}
	first := strings.Fields(found[0].comment)
	if len(first) < 4 || first[0] != "ginnel" {
		return ""
	}
	for i, r := range found {
		part := strings.Fields(r.comment)
		if len(part) < 4 || mark(first[1], i, len(found), r.Exprs, "") != strings.Join(part[:4], " ") {
			return ""
		}
	}
	return first[1]
}

// asMade is true of a chain that hooks in where we put it, or nowhere.
func asMade(c *nftables.Chain) bool {
	want, isBase := base[c.Name]
	if !isBase {
		return c.Hooknum == nil
	}
	return c.Type == want.Type && c.Hooknum != nil && *c.Hooknum == *want.Hooknum &&
		c.Priority != nil && *c.Priority == *want.Priority && c.Policy != nil && *c.Policy == nftables.ChainPolicyAccept
}

// setHandle is NFTA_SET_HANDLE of linux/netfilter/nf_tables.h.
const setHandle = 16

// newestSets is the highest number of a set in each table of the inet family.
func newestSets() (map[string]uint64, error) {
	c, err := raw.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer c.Close()
	ask := raw.Message{Data: []byte{unix.NFPROTO_INET, 0, 0, 0}, // struct nfgenmsg
		Header: raw.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETSET, Flags: raw.Request | raw.Dump}}
	list, err := again(func() ([]raw.Message, error) {
		list, err := c.Execute(ask)
		if slices.ContainsFunc(list, func(m raw.Message) bool { return m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 }) {
			err = netlink.ErrDumpInterrupted
		}
		return list, err
	})
	if err != nil {
		return nil, err
	}
	newest := map[string]uint64{}
	for _, m := range list {
		var number uint64
		decode(m.Data, len(ask.Data), func(ad *raw.AttributeDecoder) {
			if ad.Type() == setHandle {
				ad.ByteOrder = binary.BigEndian
				number = ad.Uint64()
			}
		})
		table := tableIn(m)
		newest[table] = max(newest[table], number)
	}
	return newest, nil
}
