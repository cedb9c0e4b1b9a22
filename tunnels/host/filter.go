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

// filters lists our tables. The digest of one that was changed is empty.
func (h *Host) filters() ([]tunnels.Filter, error) {
	nft, err := nftables.New(nftables.AsLasting()) // many questions by one socket
	if err != nil {
		return nil, err
	}
	defer nft.CloseLasting()
	tables, err := again(func() ([]*nftables.Table, error) { return nft.ListTablesOfFamily(nftables.TableFamilyINet) })
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	chains, err := again(func() ([]*nftables.Chain, error) { return nft.ListChainsOfTableFamily(nftables.TableFamilyINet) })
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	newest, err := newestSets()
	if err != nil {
		return nil, fmt.Errorf("list nftables sets: %w", err)
	}
	var found []tunnels.Filter
	for _, t := range tables {
		if !strings.HasPrefix(t.Name, tablePrefix) {
			continue
		}
		f, err := readFilter(nft, t, chains, newest[t.Name])
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
// Its digest is empty if the table is no longer what we made. newest is the number
// of its newest set.
func readFilter(nft *nftables.Conn, t *nftables.Table, chains []*nftables.Chain, newest uint64) (tunnels.Filter, error) {
	f := tunnels.Filter{Table: t.Name}
	var found []written
	changed := t.Flags != 0 // a dormant one filters nothing
	refused := map[string]tunnels.Refusal{}
	for _, c := range chains {
		if c.Table.Name != t.Name {
			continue
		}
		changed = changed || !asMade(c)
		rules, err := again(func() ([]*nftables.Rule, error) { return nft.GetRules(t, c) })
		if err != nil {
			return f, err
		}
		for _, r := range rules {
			text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			found = append(found, written{r, text})
			note(refused, r, text)
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(refused)) {
		f.Refused = append(f.Refused, refused[rule])
	}
	if !changed {
		f.Digest = digest(found, newest)
	}
	return f, nil
}

// note adds up what the rules with one reason have counted.
func note(refused map[string]tunnels.Refusal, r *nftables.Rule, comment string) {
	part := strings.Fields(comment)
	if len(part) != 5 || part[0] != "ginnel" {
		return
	}
	reason := part[4]
	for _, e := range r.Exprs {
		if c, ok := e.(*expr.Counter); ok && c.Packets > 0 {
			sum := refused[reason]
			refused[reason] = tunnels.Refusal{Rule: reason, Packets: sum.Packets + c.Packets, Bytes: sum.Bytes + c.Bytes}
		}
	}
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
	if noNftables(err) {
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
