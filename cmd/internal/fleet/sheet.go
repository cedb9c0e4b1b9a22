package fleet

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ginnel/ginnel/agent/config"
)

// sheet is a CSV file as spreadsheets write it: with a comma, a semicolon or a
// tab between cells, in UTF-8 or Windows-1252, with any of the three ends of a
// line. What nobody changes is written back byte for byte.
type sheet struct {
	name   string
	header []string       // as written
	column map[string]int // normal name -> index; the first of two wins
	rows   []*row

	comma      byte
	eol        string
	bom, latin bool
	sep        string // a first line "sep=;"
	head       string // the header as it stood; empty: is written anew
	changed    bool
}

// row is a line of a sheet, or several where a cell has line breaks.
type row struct {
	line  int
	cells []string
	raw   string // as it stood, with its end of line; empty: made or changed
}

// sheetMax bounds a sheet in bytes; ten thousand sites need a twentieth of it.
const sheetMax = 32 << 20

// parseSheet reads a sheet. A sheet without anything in it has no columns.
func parseSheet(name string, raw []byte) (*sheet, config.Problems) {
	s := &sheet{name: name, column: map[string]int{}, comma: ',', eol: "\n"}
	text, refused := s.decode(raw)
	if refused != nil {
		return s, config.Problems{*refused}
	}
	p := sheetParser{sheet: s, text: text, line: 1}
	p.choose()
	if s.sep = text[:p.at]; p.at == len(text) {
		return s, nil
	}
	header := p.record()
	s.header, s.head = header.cells, header.raw
	for i, h := range s.header {
		h = normal(h)
		if first, twice := s.column[h]; twice && h != "" {
			p.problem(header.line, h, "rename one of the two", "is a column twice, %d and %d", first+1, i+1)
		} else if h != "" {
			s.column[h] = i
		}
	}
	for p.at < len(text) {
		r := p.record()
		for i := len(s.header); i < len(r.cells); i++ {
			if strings.TrimSpace(r.cells[i]) != "" {
				p.problem(r.line, "", "a comma inside a cell wants quotes around the cell",
					"has %d cells; the first line has %d columns", len(r.cells), len(s.header))
				break
			}
		}
		s.rows = append(s.rows, r)
	}
	return s, p.problems
}

// decode gives the text of a sheet in UTF-8, or says what the file is instead.
func (s *sheet) decode(raw []byte) (string, *config.Problem) {
	refuse := func(hint, format string, args ...any) (string, *config.Problem) {
		return "", &config.Problem{File: s.name, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	const save = "in the spreadsheet: save as CSV (UTF-8)"
	switch {
	case len(raw) > sheetMax:
		return refuse("", "is larger than %d MiB", sheetMax>>20)
	case bytes.HasPrefix(raw, []byte("PK\x03\x04")), bytes.HasPrefix(raw, []byte("\xd0\xcf\x11\xe0")):
		return refuse(save, "is a workbook, not CSV")
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return refuse(save, "is in UTF-16, not UTF-8")
	case bytes.IndexByte(raw, 0) >= 0:
		return refuse(save, "is not text")
	}
	if rest, ok := bytes.CutPrefix(raw, []byte("\xef\xbb\xbf")); ok {
		s.bom, raw = true, rest
	}
	if !utf8.Valid(raw) {
		s.latin = true
		return fromLatin(raw), nil
	}
	return string(raw), nil
}

// normal is how columns are compared: "Care Level" is care_level.
func normal(column string) string {
	column = strings.ToLower(trim(column))
	return strings.Map(func(c rune) rune {
		if c == ' ' || c == '-' || c == '\u00a0' {
			return '_'
		}
		return c
	}, column)
}

// trim takes spaces off, also those that cannot be seen.
func trim(s string) string { return strings.Trim(s, " \t\r\n\v\f\u00a0\u200b\u2060\ufeff") }

// sheetParser takes a sheet's text apart.
type sheetParser struct {
	*sheet
	text     string
	at       int // offset
	line     int
	problems config.Problems
}

func (p *sheetParser) problem(line int, path, hint, format string, args ...any) {
	p.problems = append(p.problems, config.Problem{File: p.name, Line: line, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// choose finds what stands between cells and at the end of lines. A first line
// "sep=;" is a spreadsheet's own word for it.
func (p *sheetParser) choose() {
	first := p.text
	if i := strings.IndexAny(first, "\r\n"); i >= 0 {
		p.eol = first[i : i+endOfLine(first[i:])]
		first = first[:i]
	}
	if len(first) == 5 && strings.HasPrefix(first, "sep=") && strings.IndexByte(",;\t|", first[4]) >= 0 {
		p.comma = first[4]
		p.at += len(first) + endOfLine(p.text[len(first):])
		p.line++
		return
	}
	most := strings.Count(first, ",")
	for _, c := range []byte(";\t") {
		if n := strings.Count(first, string(rune(c))); n > most {
			p.comma, most = c, n
		}
	}
}

// endOfLine is the length of the end of line that text begins with.
func endOfLine(text string) int {
	switch {
	case strings.HasPrefix(text, "\r\n"):
		return 2
	case strings.HasPrefix(text, "\n"), strings.HasPrefix(text, "\r"):
		return 1
	}
	return 0
}

// record reads one row with the end of its line.
func (p *sheetParser) record() *row {
	r := &row{line: p.line}
	from := p.at
	for {
		r.cells = append(r.cells, p.cell())
		if p.at < len(p.text) && p.text[p.at] == p.comma {
			p.at++
			continue
		}
		if n := endOfLine(p.text[p.at:]); n > 0 {
			p.at += n
			p.line++
		}
		r.raw = p.text[from:p.at]
		return r
	}
}

// cell reads up to a comma or the end of the line.
func (p *sheetParser) cell() string {
	quoted := ""
	if p.at < len(p.text) && p.text[p.at] == '"' {
		quoted = p.quoted()
	}
	n := strings.IndexAny(p.text[p.at:], string(rune(p.comma))+"\r\n")
	if n < 0 {
		n = len(p.text) - p.at
	}
	rest := p.text[p.at : p.at+n]
	p.at += n
	if quoted != "" && trim(rest) != "" {
		p.problem(p.line, "", `inside quotes a quote is written twice: "The ""Old"" Surgery"`, "has something behind a closing quote: %s", config.Show(rest))
	}
	return quoted + rest
}

// quoted reads a cell in quotes.
func (p *sheetParser) quoted() string {
	var b strings.Builder
	opened := p.line
	p.at++
	for {
		n := strings.IndexAny(p.text[p.at:], "\"\r\n")
		if n < 0 {
			p.problem(opened, "", "", "opens a quote that is never closed")
			b.WriteString(p.text[p.at:])
			p.at = len(p.text)
			return b.String()
		}
		b.WriteString(p.text[p.at : p.at+n])
		p.at += n
		if e := endOfLine(p.text[p.at:]); e > 0 {
			b.WriteString(p.text[p.at : p.at+e])
			p.at += e
			p.line++
			continue
		}
		p.at++
		if p.at < len(p.text) && p.text[p.at] == '"' {
			b.WriteByte('"')
			p.at++
			continue
		}
		return b.String()
	}
}

// blank is true of a row with nothing in it, as spreadsheets leave them behind.
func (r *row) blank() bool {
	for _, c := range r.cells {
		if trim(c) != "" {
			return false
		}
	}
	return true
}

// get is the cell of a row in a column, as normal writes it; empty where there
// is none.
func (s *sheet) get(r *row, column string) string {
	i, ok := s.column[column]
	if !ok || i >= len(r.cells) {
		return ""
	}
	return trim(r.cells[i])
}
