package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/config"
)

// files are the fleet's, in the order in which mistakes are told.
var files = []string{tomlFile, sitesFile, attachmentsFile, keysFile, addressesFile, generationsFile}

// reading is a fleet that is being read.
type reading struct {
	*Fleet
	found config.Problems
	root  config.Table // of fleet.toml

	literal   map[string][]netip.Addr // endpoints of hubs that are addresses
	maps      map[string][]piece      // by network: its `as`
	told      map[string]netip.Addr   // by network: where the next free prefix is looked for
	hasTOML   bool                    // fleet.toml could be read: what it does not name is not there
	hasSheets bool                    // sites.csv and attachments.csv could
}

func (r *reading) problem(file string, line int, path, hint, format string, args ...any) {
	r.found = append(r.found, config.Problem{File: file, Line: line, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *reading) note(file string, line int, path, hint, format string, args ...any) {
	r.notes = append(r.notes, config.Problem{File: file, Line: line, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// read reads all files. Those that commands write need not be there.
func (r *reading) read() error {
	sum := sha256.New()
	r.hasSheets = true
	for _, name := range files {
		raw, err := os.ReadFile(filepath.Join(r.Dir, name))
		made := name == keysFile || name == addressesFile || name == generationsFile
		switch {
		case errors.Is(err, fs.ErrNotExist) && made:
		case errors.Is(err, fs.ErrNotExist):
			r.problem(name, 0, "", "ginnelctl init DIR makes a fleet to start from", "is missing")
			r.hasSheets = r.hasSheets && name == tomlFile
			continue
		case err != nil:
			return fmt.Errorf("read fleet: %w", err)
		}
		r.was[name] = sha256.Sum256(raw)
		fmt.Fprintf(sum, "%s %d\n", name, len(raw))
		sum.Write(raw)
		if name == tomlFile {
			r.toml(raw)
			continue
		}
		s, ps := parseSheet(name, raw)
		r.sheets[name] = s
		r.found = append(r.found, ps...)
		if len(ps) > 0 && ps[0].Line == 0 {
			r.hasSheets = r.hasSheets && made
		}
	}
	r.digest = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// all reads what the sheets say, and then holds all of it together.
func (r *reading) all() {
	r.makeIndex()
	if r.hasSheets {
		r.readSites()
		r.readAttachments()
	}
	r.makeGateways()
	r.networks()
	r.hubs()
	r.lans()
	r.readKeys()
	r.readAddresses()
	r.reach()
	r.readGenerations()
	r.choose()
}

// problems are all of them, in the order of the files.
func (r *reading) problems() error {
	order := func(a, b config.Problem) int {
		return cmp.Or(cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(r.place(a), r.place(b)))
	}
	if r.hasTOML {
		r.found = append(r.found, r.root.Problems()...)
	}
	slices.SortStableFunc(r.notes, order)
	if len(r.found) == 0 {
		return nil
	}
	slices.SortStableFunc(r.found, order)
	return r.found
}

// place is where a problem's column is in its sheet.
func (r *reading) place(p config.Problem) int {
	if s := r.sheets[p.File]; s != nil {
		return s.column[p.Path]
	}
	return 0
}

// rowsOf are the rows of a sheet that has these columns; none where it has not.
// A column that nobody knows is named once and left alone.
func (r *reading) rowsOf(name string, needed []string, known ...string) []cells {
	s := r.sheets[name]
	if s == nil || len(s.rows) == 0 && s.head == "" {
		return nil
	}
	known = append(slices.Clone(needed), known...)
	var unknown, missing []string
	for _, h := range s.header {
		if n := normal(h); n != "" && !slices.Contains(known, n) && !slices.Contains(returned, n) {
			unknown = append(unknown, h)
		}
	}
	for _, n := range needed {
		if _, ok := s.column[n]; !ok {
			missing = append(missing, n)
			hint := ""
			for _, u := range unknown {
				if config.Nearest(normal(u), []string{n}) == n {
					hint = "is " + config.Show(trim(u)) + " meant to be it?"
				}
			}
			r.problem(name, 1, n, hint, "there is no such column")
		}
	}
	if len(unknown) > 0 {
		r.noteUnknown(s, unknown, known)
	}
	if len(missing) > 0 {
		return nil
	}
	list := make([]cells, 0, len(s.rows))
	for _, row := range s.rows {
		if !row.blank() {
			list = append(list, cells{r, s, row})
		}
	}
	return list
}

// noteUnknown names the columns that we leave alone, and those that were
// probably meant to be others.
func (r *reading) noteUnknown(s *sheet, unknown, known []string) {
	var names, hints []string
	for _, u := range unknown {
		names = append(names, config.Show(trim(u)))
		near := config.Nearest(normal(u), known)
		if _, there := s.column[near]; near != "" && !there && slices.Contains(known, near) {
			hints = append(hints, near+" for "+config.Show(trim(u)))
		}
	}
	hint := ""
	if len(hints) > 0 {
		hint = strings.Join(hints, ", ") + "?"
	}
	what := "is a column that nobody knows; it is left alone"
	if len(names) > 1 {
		what = "are columns that nobody knows; they are left alone"
	}
	r.note(s.name, 1, "", hint, "%s %s", strings.Join(names, ", "), what)
}
