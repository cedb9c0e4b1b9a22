package config

import (
	"github.com/ginnel/ginnel/checks"
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

// Table is a table of another strict TOML file of ours, such as fleet.toml: it
// has the rules, the places and the words of a desired config.
type Table struct{ t table }

// OpenTable parses a file's text and gives its root table; name is what messages
// call it. Its error is Problems. What reading finds is collected: see Problems.
func OpenTable(name string, text []byte) (Table, error) {
	r, root, err := open(name, text)
	if err != nil {
		return Table{}, err
	}
	r.refuseSecrets("", r.root)
	return Table{root}, nil
}

// Problems is what was found in the whole file so far, in its order.
func (t Table) Problems() Problems { return slices.Clone(t.t.r.problems).Sorted() }

// Path is where the table stands: "network.kestrel"; empty: the root.
func (t Table) Path() string { return t.t.path }

// Line is where a key's value stands, or the table where it is missing.
func (t Table) Line(key string) int { return t.t.at(key).line }

// Keys are the table's, in the order of the file.
func (t Table) Keys() []string { return slices.Clone(t.t.v.keys) }

// Has says whether a key is there.
func (t Table) Has(key string) bool { return t.t.v.of[key] != nil }

// Problem adds a mistake at a key's value; an empty key: at the table.
func (t Table) Problem(key, hint, format string, args ...any) {
	t.t.problem(key, hint, format, args...)
}

// ProblemAt adds a mistake at an element of a list, from 0.
func (t Table) ProblemAt(key string, i int, hint, format string, args ...any) {
	p := t.At(key, i)
	t.t.r.problem(place{p.Line, p.Column}, p.Path, hint, format, args...)
}

// At is a problem with nothing but its place: an element of a list, from 0; of
// the key's value where it has no such element.
func (t Table) At(key string, i int) Problem {
	at, path := t.t.at(key), join(t.t.path, key)
	if v := t.t.v.of[key]; v != nil && v.kind == arrayKind && i >= 0 && i < len(v.list) {
		at, path = v.list[i].at, item(path, i)
	}
	return Problem{File: t.t.r.file, Line: at.line, Column: at.column, Path: path}
}

// Missing says that a key is needed; it is silent where a misspelt one was told.
func (t Table) Missing(key, hint string) { t.t.missing(key, hint) }

// Only names every key that is not one of known, and gives the table that knows
// which of them were meant.
func (t Table) Only(known ...string) Table {
	t.t.only(known...)
	return t
}

// Table is the table at a key; false where there is none.
func (t Table) Table(key string) (Table, bool) {
	v := t.t.v.of[key]
	if v == nil {
		return Table{}, false
	}
	path := join(t.t.path, key)
	if v.kind != tableKind {
		t.t.r.wrongType(v, path, "a table", "["+path+"]")
		return Table{}, false
	}
	return Table{table{r: t.t.r, v: v, path: path}}, true
}

// Manners reads [manners] and [[off]]; text is both, as a config has them.
func (t Table) Manners() (m checks.Manners, text string) {
	m = t.t.manners()
	w := &writer{}
	w.manners(m)
	return m, w.String()
}

// Mannered says what is ill-mannered of a check, of which t is the table.
func (t Table) Mannered(m checks.Manners, k Check) {
	c := Config{Checks: []Check{k}}
	t.t.mannered(m, c.CheckSpecs()[0])
}

// Tables is the list of tables at a key.
func (t Table) Tables(key string) []Table {
	var list []Table
	for _, e := range t.t.tables(key) {
		list = append(list, Table{e})
	}
	return list
}

// CheckKey says what is wrong with a key that is a name.
func (t Table) CheckKey(key string) { t.t.checkName(key, key) }

// Text reads a string of at most so many characters in one line; empty where
// there is none.
func (t Table) Text(key string, most int) string { return t.t.line(key, most) }

// Word reads one of a few words; empty where there is none.
func (t Table) Word(key string, words ...string) string {
	hint := oneOf(words)
	s, ok := t.t.text(key, hint)
	if ok && !slices.Contains(words, s) {
		t.Problem(key, hint, "%s is not known", show(s))
		return ""
	}
	return s
}

// Integer reads an integer within bounds; 0 where there is none.
func (t Table) Integer(key string, low, high int64) int64 { return t.t.integer(key, low, high) }

// Duration reads a duration within bounds; 0 where there is none.
func (t Table) Duration(key string, low, high time.Duration) time.Duration {
	return t.t.duration(key, low, high)
}

// Strings reads a list of strings. One that is no string is told, and empty.
func (t Table) Strings(key, hint string) []string {
	var list []string
	for _, e := range t.t.strings(key, hint) {
		list = append(list, e.text)
	}
	return list
}

// Words reads a string, or a list of them.
func (t Table) Words(key string) []string {
	if v := t.t.v.of[key]; v != nil && v.kind == stringKind {
		return []string{v.text}
	}
	return t.Strings(key, "a string, or a list of them")
}

// Prefixes reads a list of prefixes that a network may carry.
func (t Table) Prefixes(key string) []netip.Prefix { return t.t.prefixes(key) }

// Prefix reads one such prefix; it is not valid where there is none.
func (t Table) Prefix(key, hint string) netip.Prefix { return t.t.one(key, hint) }

// Endpoints reads a list of "host:port".
func (t Table) Endpoints(key string) []string {
	var list []string
	for _, e := range t.t.strings(key, "") {
		if t.t.r.endpoint(e) {
			list = append(list, e.text)
		}
	}
	return list
}

// Signers reads the keys that may sign a pushed config, under "signers".
func (t Table) Signers() []string { return t.t.signers(0) }

// Collectors reads the URLs of the collector, under "collector".
func (t Table) Collectors() []string { return t.t.collectors() }

// Trial reads how long a change may take to prove itself, under "trial"; 0
// where it is not said.
func (t Table) Trial() time.Duration { return t.t.duration("trial", trialMin, trialMax) }

// Allow reads an [[allow]].
func (t Table) Allow() tunnels.Allow { return t.t.allow() }

// Check reads a [[check]] that may have more keys, which are the caller's to
// read; and gives it as it is written, without those.
func (t Table) Check(more ...string) (c Check, text string) {
	c = t.t.check(more...)
	w := &writer{}
	for _, k := range t.t.v.keys {
		if k != "options" && slices.Contains(checkKeys, k) {
			w.put(k, t.t.v.of[k].any())
		}
	}
	if len(c.Options) > 0 {
		w.put("options", c.Options)
	}
	return c, w.String()
}

// ParsePrefix is a prefix that a network may carry, or what is wrong with it.
func ParsePrefix(text string) (netip.Prefix, *Problem) {
	r := &reader{}
	p, ok := r.network(element{value: &value{kind: stringKind, text: text}})
	if !ok {
		return netip.Prefix{}, &r.problems[0]
	}
	return p, nil
}

// CheckName says what is wrong with a name; nil: nothing.
func CheckName(text string) *Problem {
	r := &reader{}
	table{r: r, v: newTable(place{})}.checkName("", text)
	if len(r.problems) == 0 {
		return nil
	}
	return &r.problems[0]
}

// Nearest is the known word that a misspelt one was probably meant to be; empty
// if none is near.
func Nearest(word string, known []string) string { return nearest(word, known) }

// Among is Nearest, or all of the known words where they are few.
func Among(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return near
	}
	if len(known) <= 8 {
		return oneOf(known)
	}
	return ""
}

// Show quotes a value for a message: ASCII, and not more of it than one needs to
// find it.
func Show(s string) string { return show(s) }

// Literal writes a value as TOML: a string, a prefix, a number, or a list.
func Literal(v any) string { return literal(v) }

// Tell writes a duration without the zeros that String adds.
func Tell(d time.Duration) string { return tell(d) }
