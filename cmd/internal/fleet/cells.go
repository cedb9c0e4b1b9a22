package fleet

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/agent/config"
)

// cells is a row that is being read.
type cells struct {
	r *reading
	s *sheet
	*row
}

func (c cells) problem(column, hint, format string, args ...any) {
	c.r.problem(c.s.name, c.line, column, hint, format, args...)
}

// Bounds of what a cell may say.
const (
	wordsMax    = 80 // characters of a name that people see
	gatewaysMax = 9  // of one site
)

// text is a cell that is good text: no formula, no error of a spreadsheet's, no
// control character. False: it was told, or it is empty.
func (c cells) text(column string) (string, bool) {
	t := c.s.get(c.row, column)
	switch {
	case t == "":
		return "", false
	case strings.ContainsFunc(t, func(r rune) bool { return r < ' ' || r == 0x7f }):
		c.problem(column, "", "%s has a line break or a control character in it", config.Show(t))
	case isFormula(t):
		c.problem(column, "paste it as a value", "%s looks like a formula", config.Show(t))
	case isSheetError(t):
		c.problem(column, "mend the formula that it comes from, and paste values", "%s is an error of a spreadsheet", config.Show(t))
	case len([]rune(t)) > wordsMax:
		c.problem(column, "", "has %d characters; %d is the most", len([]rune(t)), wordsMax)
	default:
		return t, true
	}
	return "", false
}

// isFormula is true of what a spreadsheet would compute.
func isFormula(t string) bool {
	switch t[0] {
	case '=', '@':
		return true
	case '+', '-':
		return len(t) > 1
	}
	return false
}

func isSheetError(t string) bool {
	switch strings.TrimRight(t, "!?") {
	case "#REF", "#N/A", "#NAME", "#VALUE", "#DIV/0", "#NUM", "#NULL", "#SPILL", "#CALC", "Err:502", "Err:508":
		return true
	}
	return strings.Trim(t, "#") == "" && len(t) > 2 // too narrow a column
}

// name is a cell that is a name; it must be there.
func (c cells) name(column, hint string) string {
	t, ok := c.text(column)
	if !ok {
		if c.s.get(c.row, column) == "" {
			c.problem(column, hint, "is missing")
		}
		return c.s.get(c.row, column)
	}
	if p := config.CheckName(t); p != nil {
		hint := p.Hint
		if meant := meantName(t); meant != t {
			hint = meant
		}
		c.problem(column, hint, "%s", p.Message)
	}
	return t
}

// meantName is the name that something like one was meant to be; itself where
// that cannot be told.
func meantName(t string) string {
	meant := strings.ToLower(strings.ReplaceAll(t, " ", "-"))
	if config.CheckName(meant) != nil {
		return t
	}
	return meant
}

var (
	odsCode   = regexp.MustCompile(`^[A-Z0-9]{3,9}$`)
	asNumber  = regexp.MustCompile(`^[0-9]+([.,][0-9]+)?(E[+-]?[0-9]+)?$`)
	asDate    = regexp.MustCompile(`(?i)^(([0-9]{1,4}[-/. ])?([0-9]{1,2}|[a-z]{3,9})[-/. ][0-9]{1,4}( .*)?|[0-9]{1,2}[-/. ][a-z]{3,9})$`)
	postcodes = regexp.MustCompile(`^[A-Z]{1,2}[0-9][A-Z0-9]?[0-9][A-Z]{2}$`)
)

// ods is a code of the Organisation Data Service. Spreadsheets turn some into
// numbers (97E02) and some into dates (MAR01).
func (c cells) ods() string {
	t, ok := c.text("ods")
	if !ok {
		return ""
	}
	const again = "format the column as text and type it again"
	up := strings.ToUpper(t)
	letters := strings.ContainsFunc(up, func(r rune) bool { return r >= 'A' && r <= 'Z' })
	switch {
	case asNumber.MatchString(up) && (strings.ContainsAny(up, ".,+-") || !letters):
		c.problem("ods", again, "%s looks like a code that a spreadsheet turned into a number", config.Show(t))
	case asDate.MatchString(t):
		c.problem("ods", again, "%s looks like a code that a spreadsheet turned into a date", config.Show(t))
	case !odsCode.MatchString(up):
		c.problem("ods", "three to nine letters and digits, as in T99999", "%s is not a code of the ODS", config.Show(t))
	default:
		return up
	}
	return ""
}

func (c cells) postcode() string {
	t, ok := c.text("postcode")
	if !ok {
		return ""
	}
	code, good := tidyPostcode(t)
	if !good {
		c.problem("postcode", "as in ZZ1 1AA", "%s is not a postcode", config.Show(t))
		return ""
	}
	return code
}

// tidyPostcode writes a postcode with its one space.
func tidyPostcode(t string) (string, bool) {
	t = strings.ToUpper(strings.Join(strings.Fields(t), ""))
	if !postcodes.MatchString(t) {
		return "", false
	}
	return t[:len(t)-3] + " " + t[len(t)-3:], true
}

// integer is a whole number within bounds; otherwise where the cell is empty.
func (c cells) integer(column string, low, high, otherwise int) int {
	t, ok := c.text(column)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSuffix(t, ".0"))
	if err != nil || n < low || n > high {
		c.problem(column, "", "%s is not a number between %d and %d", config.Show(t), low, high)
		return otherwise
	}
	return n
}

// prefix is a prefix that a network may carry; not valid where there is none.
func (c cells) prefix(column string) netip.Prefix {
	t, ok := c.text(column)
	if !ok {
		return netip.Prefix{}
	}
	p, wrong := config.ParsePrefix(t)
	if wrong != nil {
		c.problem(column, wrong.Hint, "%s", wrong.Message)
	}
	return p
}

// at says where a row stands: "sites.csv:2".
func at(file string, line int) string { return fmt.Sprintf("%s:%d", file, line) }
