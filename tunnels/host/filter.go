package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// tablePrefix begins the name of each nftables table of ours.
const tablePrefix = "ginnel_"

// mark is the comment on each rule of ours: which Filter the table was made
// from, which rule of how many this is, and what it refuses. So a table that
// somebody took a rule from, or added one to, is known for what it is.
func mark(digest string, i, n int, reason string) string {
	return strings.TrimSpace(fmt.Sprintf("ginnel %s %d/%d %s", digest, i+1, n, reason))
}

// filters lists our tables. The digest of one that was changed is empty.
func (h *Host) filters() ([]tunnels.Filter, error) {
	tables, err := again(func() ([]*nftables.Table, error) { return h.nft.ListTablesOfFamily(nftables.TableFamilyINet) })
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	chains, err := again(func() ([]*nftables.Chain, error) { return h.nft.ListChainsOfTableFamily(nftables.TableFamilyINet) })
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var found []tunnels.Filter
	for _, t := range tables {
		if !strings.HasPrefix(t.Name, tablePrefix) {
			continue
		}
		f, err := h.readFilter(t, chains)
		if errors.Is(err, unix.ENOENT) { // gone since
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read nftables table %s: %w", t.Name, err)
		}
		found = append(found, f)
	}
	return found, nil
}

// readFilter reads back what a table was made from, and what it has refused.
// Its digest is empty if the table is no longer what we made.
func (h *Host) readFilter(t *nftables.Table, chains []*nftables.Chain) (tunnels.Filter, error) {
	f := tunnels.Filter{Table: t.Name}
	var comments []string
	changed := false
	refused := map[string]tunnels.Refusal{}
	for _, c := range chains {
		if c.Table.Name != t.Name {
			continue
		}
		changed = changed || !asMade(c)
		rules, err := again(func() ([]*nftables.Rule, error) { return h.nft.GetRules(t, c) })
		if err != nil {
			return f, err
		}
		for _, r := range rules {
			text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			comments = append(comments, text)
			note(refused, r, text)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(refused)) {
		f.Refused = append(f.Refused, refused[rule])
	}
	if !changed {
		f.Digest = wholeDigest(comments)
	}
	return f, nil
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

// note adds up what the rules with one reason have counted.
func note(refused map[string]tunnels.Refusal, r *nftables.Rule, comment string) {
	part := strings.Fields(comment)
	if len(part) != 4 || part[0] != "ginnel" {
		return
	}
	for _, e := range r.Exprs {
		if c, ok := e.(*expr.Counter); ok && c.Packets > 0 {
			sum := refused[part[3]]
			refused[part[3]] = tunnels.Refusal{Rule: part[3], Packets: sum.Packets + c.Packets, Bytes: sum.Bytes + c.Bytes}
		}
	}
}

// wholeDigest is the digest in the comments if they are all of one Filter, in
// its order, and none is missing or too many.
func wholeDigest(comments []string) string {
	if len(comments) == 0 {
		return ""
	}
	first := strings.Fields(comments[0])
	if len(first) < 3 || first[0] != "ginnel" {
		return ""
	}
	for i, c := range comments {
		part := strings.Fields(c)
		if len(part) < 3 || mark(first[1], i, len(comments), "") != strings.Join(part[:3], " ") {
			return ""
		}
	}
	return first[1]
}

// applyFilter replaces or removes a table in one transaction: there is no
// moment without it.
func (h *Host) applyFilter(s tunnels.Step) error {
	f := s.Filter
	if !strings.HasPrefix(f.Table, tablePrefix) {
		return fmt.Errorf("refused to write nftables table %q: it is not ours", f.Table)
	}
	h.nftMu.Lock()
	defer h.nftMu.Unlock()
	have, err := h.filters()
	if noNftables(err) {
		return withoutNftables(err)
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(have, func(x tunnels.Filter) bool { return x.Table == f.Table })
	if s.Op == tunnels.Remove && i < 0 || s.Op != tunnels.Remove && i >= 0 && have[i].Digest == f.Sum() {
		return nil
	}
	err = transact(f, i >= 0, s.Op != tunnels.Remove)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return withoutNftables(err)
	}
	if err != nil {
		return fmt.Errorf("nftables table %s: %w", f.Table, err)
	}
	return nil
}

// transact takes the old table away and puts the new one there, all or
// nothing.
func transact(f *tunnels.Filter, away, there bool) error {
	nft, err := nftables.New() // of its own: what a failure leaves queued goes with it
	if err != nil {
		return err
	}
	t := &nftables.Table{Name: f.Table, Family: nftables.TableFamilyINet}
	if away {
		nft.DelTable(t)
	}
	if there {
		nft.AddTable(t)
		if err := newRuleset(nft, t, f).write(); err != nil {
			return err
		}
	}
	return nft.Flush()
}
