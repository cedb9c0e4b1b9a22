package fleet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// State is what `sites --csv` puts on the right of a site's row.
type State struct{ State, Version, LastSeen, LastChange string }

// WithStates is sites.csv as it stands, in its own order and with all its own
// columns, and the state of each site on the right. Nothing in it is a formula to
// a spreadsheet.
func WithStates(dir string, state func(site string) State) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, sitesFile))
	if err != nil {
		return nil, err
	}
	s, ps := parseSheet(sitesFile, raw)
	if len(ps) > 0 {
		return nil, ps
	}
	s.columns(returned...)
	for _, r := range s.rows {
		if r.blank() {
			continue
		}
		for i, c := range r.cells {
			if h := s.header[min(i, len(s.header)-1)]; !slices.Contains(returned, normal(h)) && defused(c) != c {
				r.cells[i], r.raw = defused(c), ""
			}
		}
		st := state(s.get(r, "site"))
		for i, v := range []string{st.State, st.Version, st.LastSeen, st.LastChange} {
			s.set(r, returned[i], defused(v))
		}
	}
	return s.bytes(), nil
}

// defused keeps a spreadsheet from computing a cell: an apostrophe before it says
// that it is text. Telephone numbers are left alone.
func defused(cell string) string {
	t := trim(cell)
	if t == "" || !isFormula(t) && !strings.ContainsAny(cell[:1], "\t\r") {
		return cell
	}
	if (t[0] == '+' || t[0] == '-') && strings.Trim(t[1:], "0123456789 ().") == "" {
		return cell
	}
	return "'" + cell
}
