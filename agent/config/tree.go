package config

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// place is where something stands in a file, from 1, in bytes. The zero place
// is none.
type place struct{ line, column int }

type kind string

const (
	tableKind   kind = "a table"
	arrayKind   kind = "a list"
	stringKind  kind = "a string"
	integerKind kind = "an integer"
	floatKind   kind = "a number with a fraction"
	boolKind    kind = "true or false"
	timeKind    kind = "a date or time"
)

// value is a TOML value that knows where it stands.
type value struct {
	kind kind
	key  place // of the key; of the value itself in a list
	at   place // of the value; of the key or header of a table or list
	text string
	list []*value
	keys []string // of a table, in the order of the file
	of   map[string]*value
}

// sizeMax bounds a config file; a hub of ten thousand sites needs a fifth of it.
const sizeMax = 16 << 20

// parseTree reads TOML into values with places. Whatever go-toml refuses is one
// problem with its place, because nothing behind it can be trusted.
func parseTree(file string, text []byte) (*value, error) {
	if len(text) > sizeMax {
		return nil, Problems{{File: file, Message: "is larger than " + strconv.Itoa(sizeMax>>20) + " MiB"}}
	}
	if err := toml.Unmarshal(text, new(map[string]any)); err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	b := builder{lines: lineStarts(text), text: text, root: newTable(place{1, 1})}
	b.current = b.root
	b.parser.Reset(text)
	for b.parser.NextExpression() {
		if err := b.expression(b.parser.Expression()); err != nil {
			return nil, Problems{{File: file, Message: err.Error()}}
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	return b.root, nil
}

func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Message: strings.TrimPrefix(err.Error(), "toml: ")}
	if e, ok := errors.AsType[*toml.DecodeError](err); ok {
		p.Line, p.Column = e.Position()
		p.Path = pathOf(e.Key())
	}
	return p
}

func pathOf(keys []string) string {
	path := ""
	for _, k := range keys {
		path = join(path, k)
	}
	return path
}

// builder turns the parser's expressions into one tree.
type builder struct {
	parser  unstable.Parser
	text    []byte
	lines   []int
	root    *value
	current *value
}

// errShape cannot happen after go-toml has accepted the text.
var errShape = errors.New("cannot be read: a key is used as two kinds of thing")

func (b *builder) expression(n *unstable.Node) error {
	switch n.Kind {
	case unstable.KeyValue:
		return b.assign(b.current, n)
	case unstable.Table, unstable.ArrayTable:
		return b.header(n, n.Kind == unstable.ArrayTable)
	default:
		return nil
	}
}

// header makes the table of [a.b] or [[a.b]] the current one.
func (b *builder) header(n *unstable.Node, appends bool) error {
	keys := keysOf(n)
	at := b.headerPlace(keys[0])
	into, err := b.walk(b.root, keys[:len(keys)-1], at)
	if err != nil {
		return err
	}
	last := string(keys[len(keys)-1].Data)
	have := into.of[last]
	switch {
	case appends:
		if have == nil {
			have = into.put(last, &value{kind: arrayKind, key: at, at: at})
		}
		if have.kind != arrayKind {
			return errShape
		}
		b.current = newTable(at)
		have.list = append(have.list, b.current)
	case have == nil:
		b.current = into.put(last, newTable(at))
	default:
		if have.kind != tableKind {
			return errShape
		}
		have.at, b.current = at, have
	}
	return nil
}

// assign puts a key and its value into a table.
func (b *builder) assign(into *value, n *unstable.Node) error {
	keys := keysOf(n)
	at := b.place(keys[0].Raw)
	into, err := b.walk(into, keys[:len(keys)-1], at)
	if err != nil {
		return err
	}
	v, err := b.value(n.Value(), at)
	if err != nil {
		return err
	}
	v.key = at
	into.put(string(keys[len(keys)-1].Data), v)
	return nil
}

// walk follows keys from a table, into the last table of a list of them, and
// makes what is not there.
func (b *builder) walk(from *value, keys []*unstable.Node, at place) (*value, error) {
	for _, k := range keys {
		next := from.of[string(k.Data)]
		if next == nil {
			next = from.put(string(k.Data), newTable(at))
		}
		if next.kind == arrayKind && len(next.list) > 0 {
			next = next.list[len(next.list)-1]
		}
		if next.kind != tableKind {
			return nil, errShape
		}
		from = next
	}
	return from, nil
}

func (b *builder) value(n *unstable.Node, key place) (*value, error) {
	v := &value{key: key, at: key, text: string(n.Data)}
	if n.Kind != unstable.Array {
		v.at = b.place(n.Raw)
	}
	switch n.Kind {
	case unstable.String:
		v.kind = stringKind
	case unstable.Integer:
		v.kind = integerKind
	case unstable.Float:
		v.kind = floatKind
	case unstable.Bool:
		v.kind = boolKind
	case unstable.Array:
		v.kind = arrayKind
		for it := n.Children(); it.Next(); {
			e, err := b.value(it.Node(), key)
			if err != nil {
				return nil, err
			}
			e.key = e.at
			v.list = append(v.list, e)
		}
	case unstable.InlineTable:
		*v = *newTable(v.at)
		for it := n.Children(); it.Next(); {
			if err := b.assign(v, it.Node()); err != nil {
				return nil, err
			}
		}
	default:
		v.kind = timeKind
	}
	return v, nil
}

func newTable(at place) *value {
	return &value{kind: tableKind, key: at, at: at, of: map[string]*value{}}
}

func (v *value) put(key string, e *value) *value {
	if _, ok := v.of[key]; !ok {
		v.keys = append(v.keys, key)
	}
	v.of[key] = e
	return e
}

func keysOf(n *unstable.Node) []*unstable.Node {
	var keys []*unstable.Node
	for it := n.Key(); it.Next(); {
		keys = append(keys, it.Node())
	}
	return keys
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

func (b *builder) place(r unstable.Range) place { return b.placeAt(int(r.Offset)) }

func (b *builder) placeAt(offset int) place {
	line, found := slices.BinarySearch(b.lines, offset)
	if !found {
		line--
	}
	return place{line + 1, offset - b.lines[line] + 1}
}

// headerPlace is that of the bracket before a header's first key.
func (b *builder) headerPlace(first *unstable.Node) place {
	offset := int(first.Raw.Offset)
	before := bytes.TrimRight(b.text[:offset], "[ \t")
	return b.placeAt(offset - len(bytes.TrimLeft(b.text[len(before):offset], " \t")))
}
