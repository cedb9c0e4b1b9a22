package keychain

import (
	"maps"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
)

// Merged is what a statement adds to keys.csv.
type Merged struct {
	New     []fleet.Key // may be recorded
	Changed []Change    // are to be approved by a person first
	Gone    []fleet.Key // of a replaced device, and not of this one: go with the approval
}

// Change is a row that would take the place of another.
type Change struct {
	Old fleet.Key // zero: a network that the device before had no key for
	New fleet.Key
}

// Merge compares a verified statement with a gateway's rows of keys.csv. Rows
// that the statement has nothing of stay. With another device than before, all
// that it states is a change, and rows of the one before are none of its: the
// gateway was replaced.
func Merge(known []fleet.Key, st identity.Statement, now time.Time) Merged {
	day := now.UTC().Format(time.DateOnly)
	rows := []fleet.Key{{Gateway: st.Gateway, Network: fleet.Device, Public: encode(st.Device), Fingerprint: identity.Fingerprint(st.Device), FirstSeen: day}}
	for _, network := range slices.Sorted(maps.Keys(st.Keys)) {
		k := st.Keys[network]
		rows = append(rows, fleet.Key{Gateway: st.Gateway, Network: network, Public: k.String(), Fingerprint: fingerprint(k), FirstSeen: day})
	}
	var m Merged
	replaced := false
	for _, row := range rows {
		i := slices.IndexFunc(known, func(k fleet.Key) bool { return k.Network == row.Network })
		switch {
		case i >= 0 && known[i].Public == row.Public:
		case i >= 0:
			m.Changed = append(m.Changed, Change{known[i], row})
			replaced = replaced || row.Network == fleet.Device
		case replaced:
			m.Changed = append(m.Changed, Change{New: row})
		default:
			m.New = append(m.New, row)
		}
	}
	for _, k := range known {
		if replaced && !slices.ContainsFunc(rows, func(row fleet.Key) bool { return row.Network == k.Network }) {
			m.Gone = append(m.Gone, k)
		}
	}
	return m
}
