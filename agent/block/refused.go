package block

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Refused is how many packets one rule of a network's filter refused in a
// block's time.
type Refused struct {
	Network string
	Rule    string // as in "into-lan"
	Packets uint64
}

// MaxRefused is how many a block may have.
const MaxRefused = 4096

// Count adds refusals to those of b, a network and rule once. It is false when
// there is no room for them.
func (b *Block) Count(r Refused) bool {
	i := slices.IndexFunc(b.Refused, func(o Refused) bool { return o.Network == r.Network && o.Rule == r.Rule })
	switch {
	case r.Packets == 0:
		return true
	case i >= 0:
		if r.Packets > math.MaxInt64-b.Refused[i].Packets {
			return false
		}
		b.Refused[i].Packets += r.Packets
		return true
	case len(b.Refused) >= MaxRefused || r.Network == "" || r.Rule == "":
		return false
	}
	b.Refused = append(b.Refused, r)
	return true
}

// SumRefused adds lists up, in the order of their names.
func SumRefused(lists ...[]Refused) []Refused {
	var sum Block
	for _, r := range slices.Concat(lists...) {
		sum.Count(r)
	}
	slices.SortFunc(sum.Refused, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Rule, b.Rule))
	})
	return sum.Refused
}

func (w *writer) refused(list []Refused) {
	if len(list) > MaxRefused {
		w.fail(fmt.Errorf("%d refusals, at most %d are allowed", len(list), MaxRefused))
		return
	}
	w.number(uint64(len(list)))
	for _, r := range list {
		if r.Packets == 0 || r.Network == "" || r.Rule == "" {
			w.fail(fmt.Errorf("refusals without a number or a name: %+v", r))
		}
		w.word(r.Network)
		w.word(r.Rule)
		w.number(r.Packets)
	}
}

func (r *reader) refused() (list []Refused) {
	n := r.count(3)
	if n == 0 || n > MaxRefused {
		r.fail(fmt.Errorf("%d refusals, from 1 to %d are possible", n, MaxRefused))
	}
	for i := 0; i < n && r.err == nil; i++ {
		one := Refused{Network: r.word(), Rule: r.word(), Packets: r.number()}
		if one.Packets == 0 || one.Network == "" || one.Rule == "" {
			r.fail(errors.New("refusals without a number or a name"))
		}
		list = append(list, one)
	}
	return list
}
