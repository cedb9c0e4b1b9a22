package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reader collects the problems of one file, and where everything in it stands.
type reader struct {
	file     string
	problems Problems
	places   map[string]place // key path -> place of the value
	root     *value

	// What the rules between parts of the file look at.
	claims   []claim
	uses     []use
	through  []use   // networks that checks name
	checks   []table // in their order
	networks map[string]*Network
}

func (r *reader) problem(at place, path, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: at.line, Column: at.column,
		Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// open parses a file's text and gives its root table.
func open(file string, text []byte) (*reader, table, error) {
	root, err := parseTree(file, text)
	if err != nil {
		return nil, table{}, err
	}
	r := &reader{file: file, places: map[string]place{}, root: root, networks: map[string]*Network{}}
	r.locate("", root)
	return r, table{r: r, v: root}, nil
}

// places tells where the keys of a good file stand. Only what is found later to be
// wrong with it asks: until then its text is kept, which is much less.
type places struct {
	file string
	text []byte

	mu sync.Mutex
	of map[string]place // by key path; nil: not looked for yet
}

// all is nil where there is no file.
func (p *places) all() map[string]place {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		if r, _, err := open(p.file, p.text); err == nil { // it was good once
			p.of = r.places
		}
	}
	return p.of
}

func (r *reader) locate(path string, v *value) {
	r.places[path] = v.at
	for i, e := range v.list {
		r.locate(item(path, i), e)
	}
	for _, k := range v.keys {
		r.locate(join(path, k), v.of[k])
	}
}

// join adds a key to a path, quoted where TOML would need quotes.
func join(path, key string) string {
	if !isBare(key) {
		key = strconv.QuoteToASCII(shorten(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// isBare is true of a key that TOML takes without quotes.
func isBare(key string) bool {
	return key != "" && strings.IndexFunc(key, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}) < 0
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// table is a TOML table that is being read.
type table struct {
	r    *reader
	v    *value
	path string
	// meant holds the known keys that an unknown one was probably meant to
	// be: that they are missing is not said again.
	meant map[string]bool
}

// at is the place of a key's value, or of the table where it is missing.
func (t table) at(key string) place {
	if v := t.v.of[key]; v != nil {
		return v.at
	}
	return t.v.at
}

func (t table) problem(key, hint, format string, args ...any) {
	path := t.path
	if key != "" {
		path = join(t.path, key)
	}
	t.r.problem(t.at(key), path, hint, format, args...)
}

// only names every key that is not one of known, and every secret that must not
// be here.
func (t *table) only(known ...string) {
	t.meant = map[string]bool{}
	for _, k := range t.v.keys {
		if slices.Contains(known, k) {
			continue
		}
		v := t.v.of[k]
		if isSecretKey(k) {
			continue // told by refuseSecrets, at any depth
		}
		near := nearest(k, known)
		if _, there := t.v.of[near]; !there && near != "" {
			t.meant[near] = true
		}
		t.r.problem(v.key, join(t.path, k), near, "unknown key")
	}
}

// wrongType says what a value is and what it should be.
func (r *reader) wrongType(v *value, path, want, hint string) {
	r.problem(v.at, path, hint, "is %s; %s is wanted", v.kind, want)
}

// missing says that a key is needed; it is silent where a misspelt one was told.
func (t table) missing(key, hint string) {
	if !t.meant[key] {
		t.problem(key, hint, "is missing")
	}
}

// text reads a string; ok is false where there is none, or another type.
func (t table) text(key, hint string) (s string, ok bool) {
	v := t.v.of[key]
	if v == nil {
		return "", false
	}
	if v.kind != stringKind {
		t.r.wrongType(v, join(t.path, key), "a string", hint)
		return "", false
	}
	return v.text, true
}

// integer reads an integer within bounds; 0 where there is none.
func (t table) integer(key string, low, high int64) int64 {
	v := t.v.of[key]
	if v == nil {
		return 0
	}
	if v.kind != integerKind {
		t.r.wrongType(v, join(t.path, key), "an integer", "")
		return 0
	}
	n, err := strconv.ParseInt(v.text, 0, 64)
	if err != nil || n < low || n > high {
		t.problem(key, "", "%s is not between %d and %d", v.text, low, high)
		return 0
	}
	return n
}

func (t table) boolean(key string) *bool {
	v := t.v.of[key]
	if v == nil {
		return nil
	}
	if v.kind != boolKind {
		t.r.wrongType(v, join(t.path, key), "true or false", "")
		return nil
	}
	b := v.text == "true"
	return &b
}

// duration reads a duration within bounds; 0 where there is none.
func (t table) duration(key string, low, high time.Duration) time.Duration {
	v := t.v.of[key]
	if v == nil {
		return 0
	}
	if v.kind != stringKind {
		hint := `a number and its unit, as in "30s"`
		if v.kind == integerKind {
			hint = fmt.Sprintf(`"%ss", if seconds are meant`, v.text)
		}
		t.r.wrongType(v, join(t.path, key), "a duration", hint)
		return 0
	}
	d, err := time.ParseDuration(v.text)
	switch {
	case err != nil:
		t.problem(key, `a number and its unit, as in "30s" or "500ms"`, "%s is not a duration", show(v.text))
	case d < low || d > high:
		t.problem(key, "", "%s is not between %s and %s", show(v.text), tell(low), tell(high))
	default:
		return d
	}
	return 0
}

// element is one string of a list, with its path.
type element struct {
	*value
	path string
}

// strings reads a list of strings; each that is none is named.
func (t table) strings(key, hint string) []element {
	v := t.v.of[key]
	if v == nil {
		return nil
	}
	path := join(t.path, key)
	if v.kind != arrayKind {
		if v.kind == stringKind && hint == "" && !isSecret(path, v.text) {
			hint = "[" + show(v.text) + "]"
		}
		t.r.wrongType(v, path, "a list of strings", hint)
		return nil
	}
	var list []element
	for i, e := range v.list {
		if e.kind != stringKind {
			t.r.wrongType(e, item(path, i), "a string", "")
			continue
		}
		list = append(list, element{e, item(path, i)})
	}
	return list
}

// tables reads a list of tables.
func (t table) tables(key string) []table {
	v := t.v.of[key]
	if v == nil {
		return nil
	}
	path := join(t.path, key)
	if v.kind != arrayKind {
		t.r.wrongType(v, path, "a list of tables", "[["+path+"]]")
		return nil
	}
	var list []table
	for i, e := range v.list {
		if e.kind != tableKind {
			t.r.wrongType(e, item(path, i), "a table", "")
			continue
		}
		list = append(list, table{r: t.r, v: e, path: item(path, i)})
	}
	return list
}

// any is a value as Go values: string, int64, float64, bool, []any,
// map[string]any.
func (v *value) any() any {
	switch v.kind {
	case tableKind:
		m := make(map[string]any, len(v.keys))
		for k, e := range v.of {
			m[k] = e.any()
		}
		return m
	case arrayKind:
		list := make([]any, len(v.list))
		for i, e := range v.list {
			list[i] = e.any()
		}
		return list
	case integerKind:
		n, _ := strconv.ParseInt(v.text, 0, 64) // go-toml has read it before
		return n
	case floatKind:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(v.text, "_", ""), 64)
		return f
	case boolKind:
		return v.text == "true"
	default:
		return v.text
	}
}
