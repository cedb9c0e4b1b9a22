package host

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// tablePrefix begins the name of each nftables table of ours.
const tablePrefix = "ginnel_"

// mark is the comment on each rule of ours: which Filter the table was made
// from, and which rule of how many this is. So a table that somebody took a
// rule from, or added one to, is known for what it is.
func mark(digest string, i, n int) string { return fmt.Sprintf("ginnel %s %d/%d", digest, i+1, n) }

// filters lists our tables. The digest of one that was changed is empty.
func (h *Host) filters() ([]tunnels.Filter, error) {
	tables, err := again(func() ([]*nftables.Table, error) { return h.nft.ListTablesOfFamily(nftables.TableFamilyINet) })
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	var found []tunnels.Filter
	for _, t := range tables {
		if !strings.HasPrefix(t.Name, tablePrefix) {
			continue
		}
		digest, err := h.digest(t)
		if errors.Is(err, unix.ENOENT) { // gone since
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read nftables table %s: %w", t.Name, err)
		}
		found = append(found, tunnels.Filter{Table: t.Name, Digest: digest})
	}
	return found, nil
}

// digest reads back what a table was made from; empty if it is no longer so.
func (h *Host) digest(t *nftables.Table) (string, error) {
	chains, err := h.nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return "", err
	}
	var comments []string
	for _, c := range chains {
		if c.Table.Name != t.Name {
			continue
		}
		if c.Policy == nil || *c.Policy != nftables.ChainPolicyAccept {
			return "", nil
		}
		rules, err := h.nft.GetRules(t, c)
		if err != nil {
			return "", err
		}
		for _, r := range rules {
			text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			comments = append(comments, text)
		}
	}
	return wholeDigest(comments), nil
}

// wholeDigest is the digest in the comments if they are all of one Filter and
// none is missing or too many.
func wholeDigest(comments []string) string {
	if len(comments) == 0 {
		return ""
	}
	part := strings.Fields(comments[0])
	if len(part) != 3 || part[0] != "ginnel" {
		return ""
	}
	var want []string
	for i := range comments {
		want = append(want, mark(part[1], i, len(comments)))
	}
	have := slices.Clone(comments)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return ""
	}
	return part[1]
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
	if err != nil {
		return err
	}
	i := slices.IndexFunc(have, func(x tunnels.Filter) bool { return x.Table == f.Table })
	if s.Op == tunnels.Remove && i < 0 || s.Op != tunnels.Remove && i >= 0 && have[i].Digest == f.Sum() {
		return nil
	}
	if err := transact(f, i >= 0, s.Op != tunnels.Remove); err != nil {
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
