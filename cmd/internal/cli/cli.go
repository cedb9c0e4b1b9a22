// Package cli is what our commands have in common: a table of subcommands,
// exit codes, and errors printed with their hint on a line of its own.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// IO is where a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Command is one subcommand.
type Command struct {
	Name  string // may be up to three words: "config check"
	Args  string // "NETWORK", "[FILE]"
	Short string // one line
	Long  string // what help prints after it; empty: nothing more
	// Run does it. Usage errors are made by Usagef.
	Run func(ctx context.Context, io IO, args []string) error
}

// Program is a command with its subcommands.
type Program struct {
	Name     string
	Short    string // one line
	Commands []Command
	Footer   string // printed last by help
}

// Run finds the subcommand that args name, runs it, and gives the exit code:
// 0, what an *Exit says, 2 for wrong usage, or 1.
func (p Program) Run(ctx context.Context, io IO, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return p.help(io, args)
	}
	cmd, rest, ok := p.find(args)
	if !ok {
		return p.unfound(io, args)
	}
	err := cmd.Run(ctx, io, rest)
	return p.report(io, cmd, err)
}

// unfound lists the commands that begin as args do: as help where that is asked
// for, else beside the error.
func (p Program) unfound(io IO, args []string) int {
	word, next := args[0], ""
	if len(args) > 1 {
		next = args[1]
	}
	if next == "-h" || next == "--help" || next == "help" {
		if p.group(io.Out, word) {
			return 0
		}
	}
	var list strings.Builder
	switch {
	case !p.group(&list, word):
		fmt.Fprintf(io.Err, "%s: error: unknown command %q\n%s: hint: %s help lists them\n", p.Name, word, p.Name, p.Name)
	case next == "":
		fmt.Fprintf(io.Err, "%s %s: error: takes one more word\n%s", p.Name, word, &list)
	default:
		fmt.Fprintf(io.Err, "%s %s: error: unknown command %q\n%s", p.Name, word, next, &list)
	}
	return 2
}

// find matches three words before two before one.
func (p Program) find(args []string) (Command, []string, bool) {
	for n := min(3, len(args)); n > 0; n-- {
		name := strings.Join(args[:n], " ")
		for _, c := range p.Commands {
			if c.Name == name {
				return c, args[n:], true
			}
		}
	}
	return Command{}, nil, false
}

// report prints err and gives its exit code.
func (p Program) report(io IO, cmd Command, err error) int {
	var exit *Exit
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		p.usage(io.Out, cmd)
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(io.Err, "%s %s: error: %v\n", p.Name, cmd.Name, err)
		p.usage(io.Err, cmd)
		return 2
	case errors.As(err, &exit):
		if exit.Err == nil {
			return exit.Code
		}
		PrintError(io.Err, p.Name, exit.Err)
		return exit.Code
	}
	PrintError(io.Err, p.Name, err)
	return 1
}

func (p Program) usage(w io.Writer, c Command) {
	fmt.Fprintf(w, "usage: %s\n  %s\n", strings.TrimSpace(p.Name+" "+c.Name+" "+c.Args), c.Short)
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.Trim(c.Long, "\n"))
	}
}

// help prints the list, or one command.
func (p Program) help(io IO, args []string) int {
	if len(args) > 1 {
		if cmd, _, ok := p.find(args[1:]); ok {
			p.usage(io.Out, cmd)
			return 0
		}
		if p.group(io.Out, args[1]) {
			return 0
		}
	}
	fmt.Fprintf(io.Out, "%s: %s\n\n", p.Name, p.Short)
	for _, c := range p.Commands {
		fmt.Fprintln(io.Out, listed(strings.TrimSpace(c.Name+" "+c.Args), c.Short))
	}
	if p.Footer != "" {
		fmt.Fprintf(io.Out, "\n%s\n", strings.TrimSpace(p.Footer))
	}
	if len(args) == 0 {
		return 2
	}
	return 0
}

// group lists the commands that begin with word, if there are any.
func (p Program) group(w io.Writer, word string) (found bool) {
	for _, c := range p.Commands {
		if strings.HasPrefix(c.Name, word+" ") {
			fmt.Fprintln(w, listed(strings.TrimSpace(c.Name+" "+c.Args), c.Short))
			found = true
		}
	}
	return found
}

// listed is a command in help's list: what to type, and beside it, or below
// where that is too long, what it does.
func listed(command, short string) string {
	const column = 33
	margin := strings.Repeat(" ", column)
	left := fmt.Sprintf("  %-*s", column-2, command)
	if utf8.RuneCountInString(command) >= column-2 {
		left = "  " + command + "\n" + margin
	}
	return left + Wrap(short, Width-column, margin)
}

// PrintError prints err as "name: error: …" with its hint, if one is known, on
// the next line. An error that spans lines is printed as it is.
func PrintError(w io.Writer, name string, err error) {
	text := Printable(err.Error())
	if strings.Contains(text, "\n") {
		fmt.Fprintln(w, strings.TrimRight(text, "\n"))
	} else {
		fmt.Fprintln(w, forTerminal(w, name+": error: "+text))
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		fmt.Fprintln(w, forTerminal(w, name+": hint: "+Printable(h.Hint())))
	}
}

// Exit ends a command with a code; Err is printed where it is not nil.
type Exit struct {
	Code int
	Err  error
}

func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Exit) Unwrap() error { return e.Err }

type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Usagef says that a command was called in a wrong way.
func Usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// hinted is an error with a hint.
type hinted struct {
	error
	hint string
}

func (e hinted) Hint() string  { return e.hint }
func (e hinted) Unwrap() error { return e.error }

// WithHint adds what to do next to err.
func WithHint(err error, hint string) error { return hinted{err, hint} }

// Flags is a flag set whose mistakes are usage errors of ours.
func Flags() *flag.FlagSet {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

// Parse parses args, flags before, between or after the other words, and gives
// those words; between low and high of them are accepted.
func Parse(fs *flag.FlagSet, args []string, low, high int) ([]string, error) {
	var words []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, Usagef("%v", err)
		}
		rest := fs.Args()
		if len(rest) == 0 {
			break
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			words = append(words, rest...)
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	if len(words) < low || len(words) > high {
		return nil, Usagef("%s", countText(low, high, len(words)))
	}
	return words, nil
}

func countText(low, high, got int) string {
	switch {
	case high == 0:
		return "takes no arguments"
	case low == high:
		return fmt.Sprintf("takes %d argument(s), got %d", low, got)
	}
	return fmt.Sprintf("takes %d to %d arguments, got %d", low, high, got)
}
