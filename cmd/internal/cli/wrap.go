package cli

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Width is how wide our terminal output may be, in columns.
const Width = 80

// Printable is text without what a terminal would obey, and without what turns
// the direction of letters: names and reasons come from gateways and
// spreadsheets. A line feed stays.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, text)
}

// Wrap breaks text between words so that a line has at most width columns of it.
// Lines after the first begin with indent, which does not count. A longer word
// has a line of its own.
func Wrap(text string, width int, indent string) string {
	var out strings.Builder
	used := 0 // of the line; the first stands wherever the caller puts it
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case used+1+n > width:
			out.WriteString("\n" + indent)
			used = 0
		default:
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += n
	}
	return out.String()
}

// forTerminal wraps text where people read it; a file or a pipe gets a line.
func forTerminal(w io.Writer, text string) string {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return Wrap(text, Width-5, "    ")
	}
	return text
}
