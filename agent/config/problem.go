package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a file, for the person who wrote it.
type Problem struct {
	File         string
	Line, Column int    // from 1, in bytes; no line: of the file as a whole; no column: see Path
	Path         string // "network[0].hub[0].allowed_ips[1]", or the column of a sheet; empty: none
	Message      string // what is wrong, with the value and the bounds
	Hint         string // what to do; empty: nothing to add
	Err          error  // what a kind of check said, where it is from one
}

// columns is the width that messages are wrapped at.
const columns = 79

// Error is the problem as it is printed: place, key path and message, wrapped
// and indented by four spaces, then the hint on a line of its own.
func (p Problem) Error() string {
	text := wrap(p.OneLine(), "")
	if p.Hint != "" {
		text += "\n" + wrap("hint: "+p.Hint, "    ")
	}
	return text
}

// OneLine is place, key path and message, unwrapped and without the hint.
func (p Problem) OneLine() string {
	head := p.File
	switch {
	case p.Line > 0 && p.Column > 0:
		head = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	case p.Line > 0:
		head = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Path != "" {
		head += ": " + p.Path
	}
	return head + ": " + p.Message
}

// Unwrap gives Err.
func (p Problem) Unwrap() error { return p.Err }

// Problems is every mistake of a file, in the order of the file.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems one by one.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Split parts the problems that are target, as errors.Is has it, from the rest.
func (ps Problems) Split(target error) (those, rest Problems) {
	for _, p := range ps {
		if errors.Is(p, target) {
			those = append(those, p)
		} else {
			rest = append(rest, p)
		}
	}
	return those, rest
}

// Sorted is them in the order of the file.
func (ps Problems) Sorted() Problems {
	ps.sort()
	return ps
}

func (ps Problems) sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// asError keeps an empty list from becoming an error that is not nil.
func (ps Problems) asError() error {
	if len(ps) == 0 {
		return nil
	}
	ps.sort()
	return ps
}

// wrap breaks text between words; lines after the first start with four spaces
// more than the first. A word longer than a line has a line of its own.
func wrap(text, indent string) string {
	var out strings.Builder
	out.WriteString(indent)
	used := len(indent)
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case used+1+len(word) > columns:
			out.WriteString("\n" + indent + "    ")
			used = len(indent) + 4
		default:
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += len(word)
	}
	return out.String()
}
