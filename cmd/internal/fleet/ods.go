package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/ginnel/ginnel/agent/config"
)

// The columns of the files of the Organisation Data Service that we read, from
// 0. They have 27, all quoted, and no header.
const (
	odsCodeColumn, odsName, odsArea           = 0, 1, 3
	odsPostcode, odsOpened, odsClosed         = 9, 10, 11
	odsStatus, odsCommissioner, odsPrescribes = 12, 14, 25
	odsColumns                                = 27

	gpPractice = "4" // a prescribing setting
)

// odsKinds are the files, by the beginning of their names, and the kind of site
// that each has.
var odsKinds = map[string]string{
	"epraccur": "gp", "ebranchs": "gp-branch", "edispensary": "pharmacy",
	"ets": "trust-site", "etr": "trust", "ecarehomesite": "care-home",
}

// Import is what `import-ods` was asked for.
type Import struct {
	File string
	Kind string // of sites that are added; empty: by the file's name

	// Which rows become sites; none: all. Sites that the sheet has are
	// updated whatever these say.
	Commissioners []string // codes of an ICB or a sub-ICB
	Postcodes     []string // beginnings: "TN37"
	Most          int      // how many may be added; 0: any number
}

// Imported is what an import changed in sites.csv, a line each.
type Imported struct {
	Added, Updated, Closed []string
	Same                   int // sites of the sheet that are as the file has them
	Left                   int // rows that were not chosen, or are closed and no site here
}

// ImportODS adds the organisations of a file to sites.csv and updates those that
// it has. It never removes one: a closed organisation is told. Nothing is
// written with dry, or if an error is returned.
func ImportODS(dir string, in Import, dry bool) (Imported, error) {
	var out Imported
	source, sheet, err := in.open(dir)
	if err != nil {
		return out, err
	}
	im := importing{Import: in, s: sheet, out: &out, byODS: map[string]*row{}, ids: map[string]bool{}}
	for _, r := range sheet.rows {
		im.ids[sheet.get(r, "site")] = true
		if code := strings.ToUpper(sheet.get(r, "ods")); code != "" {
			im.byODS[code] = r
		}
	}
	for _, r := range source.rows {
		if !r.blank() {
			im.organisation(r)
		}
	}
	if in.Most > 0 && len(out.Added) > in.Most {
		return out, config.Problems{{File: filepath.Base(in.File), Message: fmt.Sprintf("%d organisations would be added", len(out.Added)),
			Hint: "choose with --commissioner 97R or --postcode TN37, or add them all with --all"}}
	}
	if dry || !sheet.changed {
		return out, nil
	}
	return out, writeFile(filepath.Join(dir, sitesFile), sheet.bytes())
}

// open reads the file and the sheet that it goes into.
func (in *Import) open(dir string) (source, into *sheet, err error) {
	base := filepath.Base(in.File)
	refuse := func(hint, format string, args ...any) (*sheet, *sheet, error) {
		return nil, nil, config.Problems{{File: base, Message: fmt.Sprintf(format, args...), Hint: hint}}
	}
	if in.Kind == "" {
		name, _, _ := strings.Cut(strings.ToLower(base), ".")
		kind, known := odsKinds[name]
		switch {
		case name == "eccg" || name == "eauth":
			return refuse("", "has geographies, no sites")
		case !known:
			return refuse("--kind gp, or whatever they are", "is none of the files that we know: %s", strings.Join(names(odsKinds), ", "))
		}
		in.Kind = kind
	}
	raw, err := os.ReadFile(in.File)
	if err != nil {
		return nil, nil, err
	}
	source, ps := parseSheet(base, raw)
	if len(ps) > 0 && ps[0].Path == "" {
		return nil, nil, ps
	}
	first := &row{line: 1, cells: source.header} // it has no header
	source.rows = append([]*row{first}, source.rows...)
	if n := len(first.cells); n < odsPrescribes || !odsCode.MatchString(first.cells[0]) {
		return refuse("a file of the Organisation Data Service as it was downloaded", "has %d columns; %d are wanted, a code first", n, odsColumns)
	}
	raw, err = os.ReadFile(filepath.Join(dir, sitesFile))
	if err != nil {
		return nil, nil, err
	}
	if into, ps = parseSheet(sitesFile, raw); len(ps) > 0 {
		return nil, nil, ps
	}
	into.columns("site", "name", "kind", "ods", "postcode")
	return source, into, nil
}

// importing is an import that is under way.
type importing struct {
	Import
	s     *sheet
	out   *Imported
	byODS map[string]*row
	ids   map[string]bool
}

// organisation takes one row of the file.
func (im *importing) organisation(r *row) {
	cell := func(i int) string {
		if i < len(r.cells) {
			return trim(r.cells[i])
		}
		return ""
	}
	code, name := strings.ToUpper(cell(odsCodeColumn)), titled(cell(odsName))
	if !odsCode.MatchString(code) || name == "" || isFormula(name) {
		im.out.Left++
		return
	}
	postcode, _ := tidyPostcode(cell(odsPostcode))
	closed := cell(odsStatus) == "C" || cell(odsStatus) == "D" || cell(odsClosed) != ""
	have, known := im.byODS[code]
	switch {
	case known && closed:
		im.out.Closed = append(im.out.Closed, fmt.Sprintf("%s  %s, %s%s", im.s.get(have, "site"), code, name, when(cell(odsClosed))))
	case known:
		im.update(have, code, name, postcode)
	case closed || !im.chosen(cell):
		im.out.Left++
	default:
		id := im.newID(name, code)
		im.byODS[code] = im.s.add("site", id, "name", shortened(name), "kind", im.Kind, "ods", code, "postcode", postcode)
		im.out.Added = append(im.out.Added, fmt.Sprintf("%s  %s, %s", id, code, name))
	}
}

// when tells a day that the file writes 20230306.
func when(day string) string {
	if len(day) != 8 {
		return ""
	}
	return ", since " + day[:4] + "-" + day[4:6] + "-" + day[6:]
}

// chosen says whether a row becomes a site.
func (im *importing) chosen(cell func(int) string) bool {
	if im.Kind == "gp" && cell(odsPrescribes) != gpPractice {
		return false
	}
	by := im.Commissioners
	if len(by) > 0 && !slices.Contains(by, cell(odsCommissioner)) && !slices.Contains(by, cell(odsArea)) {
		return false
	}
	tight := func(s string) string { return strings.ToUpper(strings.ReplaceAll(s, " ", "")) }
	return len(im.Postcodes) == 0 || slices.ContainsFunc(im.Postcodes, func(p string) bool {
		return strings.HasPrefix(tight(cell(odsPostcode)), tight(p))
	})
}

// update writes what the file has and the sheet has not, or has otherwise.
func (im *importing) update(r *row, code, name, postcode string) {
	var changes []string
	change := func(column, value string) {
		before := im.s.get(r, column)
		im.s.set(r, column, value)
		changes = append(changes, fmt.Sprintf("%s %s -> %s", column, config.Show(before), config.Show(value)))
	}
	if !alike(im.s.get(r, "name"), name) && !alike(im.s.get(r, "name"), shortened(name)) {
		change("name", shortened(name))
	}
	if postcode != "" && !alike(im.s.get(r, "postcode"), postcode) {
		change("postcode", postcode)
	}
	if im.s.get(r, "kind") == "" {
		change("kind", im.Kind)
	}
	if len(changes) == 0 {
		im.out.Same++
		return
	}
	im.out.Updated = append(im.out.Updated, fmt.Sprintf("%s  %s: %s", im.s.get(r, "site"), code, strings.Join(changes, ", ")))
}

// alike compares letters and digits only: people write names more nicely.
func alike(a, b string) bool {
	only := func(s string) string {
		return strings.Map(func(c rune) rune {
			if unicode.IsLetter(c) || unicode.IsDigit(c) {
				return unicode.ToLower(c)
			}
			return -1
		}, s)
	}
	return only(a) == only(b)
}

// titled is a name that is all in capitals, as people write it.
func titled(name string) string {
	if strings.ToUpper(name) != name {
		return name
	}
	words := strings.Fields(strings.ToLower(name))
	for i, w := range words {
		if i > 0 && slices.Contains([]string{"and", "of", "the", "at", "in", "on", "for"}, w) {
			continue
		}
		words[i] = capital(w)
	}
	return strings.Join(words, " ")
}

// capital makes the first letter of a word, and one behind a hyphen or a bracket,
// a capital.
func capital(word string) string {
	up := true
	return strings.Map(func(c rune) rune {
		if up && unicode.IsLetter(c) {
			up = false
			return unicode.ToUpper(c)
		}
		if c == '-' || c == '(' || c == '/' {
			up = true
		}
		return c
	}, word)
}

func shortened(name string) string {
	if r := []rune(name); len(r) > wordsMax {
		return strings.TrimSpace(string(r[:wordsMax]))
	}
	return name
}

// newID makes a site's own short name of what people call it; the code goes
// behind it where another site has that name.
func (im *importing) newID(name, code string) string {
	slug := func(s string) string {
		s = strings.Map(func(c rune) rune {
			switch {
			case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
				return c
			case c == '\'' || c == '’':
				return -1
			}
			return '-'
		}, strings.ToLower(s))
		for strings.Contains(s, "--") {
			s = strings.ReplaceAll(s, "--", "-")
		}
		return strings.TrimLeft(s, "-0123456789")
	}
	const most = nameMax - 2
	id := slug(name)
	if len(id) > most {
		id = id[:most]
		id = id[:max(strings.LastIndexByte(id, '-'), most/2)]
	}
	if id = strings.TrimRight(id, "-"); id == "" || im.ids[id] {
		id = strings.Trim(id[:min(len(id), most-len(code)-1)]+"-"+strings.ToLower(code), "-")
		if slug(id) != id {
			id = "site-" + strings.ToLower(code)
		}
	}
	im.ids[id] = true
	return id
}
