package centre

import (
	"cmp"
	"slices"

	"github.com/ginnel/ginnel/checks"
)

// Severity orders states: the greater, the sooner someone should look.
func Severity(s checks.State) int {
	switch s {
	case checks.Down:
		return 4
	case checks.DegradedState:
		return 3
	case checks.MaintenanceMode:
		return 1
	case checks.Up:
		return 0
	}
	return 2 // unknown, and words of a newer program
}

// WorstFirst sorts sites: down, degraded, unknown, maintenance, up; in a state
// the one that changed last first; then by name.
func WorstFirst(sites []Site) {
	slices.SortStableFunc(sites, func(a, b Site) int {
		return cmp.Or(
			cmp.Compare(Severity(b.State), Severity(a.State)),
			bySince(a, b),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.ID, b.ID),
		)
	})
}

// bySince leaves sites that are well in the order of their names, so that the
// list lies still while nothing is wrong.
func bySince(a, b Site) int {
	if Severity(a.State) <= 1 {
		return 0
	}
	return b.Since.Compare(a.Since)
}

// Add counts one thing in state s.
func (c *Count) Add(s checks.State) {
	c.All++
	if Severity(s) <= 1 {
		c.Up++
	}
}
