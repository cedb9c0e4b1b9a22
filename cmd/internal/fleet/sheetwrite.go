package fleet

import (
	"strings"
	"unicode/utf8"
)

// newSheet is an empty sheet with these columns.
func newSheet(name string, columns ...string) *sheet {
	s := &sheet{name: name, column: map[string]int{}, comma: ',', eol: "\n"}
	s.columns(columns...)
	return s
}

// columns adds those that are not there, on the right.
func (s *sheet) columns(names ...string) {
	for _, name := range names {
		if _, ok := s.column[name]; ok {
			continue
		}
		s.column[name] = len(s.header)
		s.header = append(s.header, name)
		s.head = "" // is written anew
	}
}

// set writes a cell; what has not changed stays byte for byte.
func (s *sheet) set(r *row, column, value string) {
	i := s.column[column]
	for len(r.cells) <= i {
		r.cells = append(r.cells, "")
	}
	if trim(r.cells[i]) == value {
		return
	}
	r.cells[i], r.raw, s.changed = value, "", true
}

// add appends a row: column, value, column, value.
func (s *sheet) add(pairs ...string) *row {
	r := &row{cells: make([]string, len(s.header))}
	s.rows = append(s.rows, r)
	for i := 0; i+1 < len(pairs); i += 2 {
		s.set(r, pairs[i], pairs[i+1])
	}
	s.changed = true
	return r
}

// bytes is the sheet as a file, in the encoding and with the signs that it had.
func (s *sheet) bytes() []byte {
	var b strings.Builder
	head := s.head
	if head == "" && len(s.header) > 0 {
		head = s.line(s.header)
	}
	b.WriteString(s.sep + head)
	for _, r := range s.rows {
		if t := b.String(); t != "" && !strings.HasSuffix(t, "\n") && !strings.HasSuffix(t, "\r") {
			b.WriteString(s.eol)
		}
		if r.raw != "" {
			b.WriteString(r.raw)
		} else {
			b.WriteString(s.line(r.cells))
		}
	}
	text, bom := []byte(b.String()), s.bom
	if s.latin {
		if raw, ok := toLatin(b.String()); ok {
			text = raw
		} else {
			bom = true // it tells a spreadsheet that this is UTF-8 now
		}
	}
	if bom {
		return append([]byte("\ufeff"), text...)
	}
	return text
}

// line is a row with quotes where they are needed.
func (s *sheet) line(cells []string) string {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = c
		if strings.ContainsAny(c, "\"\r\n"+string(rune(s.comma))) || c != strings.TrimSpace(c) {
			out[i] = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
	}
	return strings.Join(out, string(rune(s.comma))) + s.eol
}

// latin1252 are the bytes 0x80 to 0x9f of Windows-1252; the five that it leaves
// out are what ISO 8859-1 has there.
var latin1252 = []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")

func fromLatin(raw []byte) string {
	var b strings.Builder
	b.Grow(len(raw) + len(raw)/8)
	for _, c := range raw {
		if c >= 0x80 && c < 0xa0 {
			b.WriteRune(latin1252[c-0x80])
		} else {
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

// toLatin is false of a text that Windows-1252 has not all letters of.
func toLatin(text string) ([]byte, bool) {
	raw := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case c < 0x80, c >= 0xa0 && c <= 0xff:
			raw = append(raw, byte(c))
		default:
			i := strings.IndexRune(string(latin1252), c)
			if i < 0 {
				return nil, false
			}
			raw = append(raw, 0x80+byte(utf8.RuneCountInString(string(latin1252)[:i])))
		}
	}
	return raw, true
}
