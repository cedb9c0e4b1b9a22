package cli_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

func TestProgram(t *testing.T) {
	prog := cli.Program{Name: "prog", Short: "does things", Commands: []cli.Command{
		{Name: "config", Short: "one word", Run: func(context.Context, cli.IO, []string) error { return nil }},
		{Name: "config check", Args: "FILE", Short: "two words",
			Run: func(_ context.Context, io cli.IO, args []string) error {
				fs := cli.Flags()
				deep := fs.Bool("deep", false, "")
				words, err := cli.Parse(fs, args, 1, 1)
				if err != nil {
					return err
				}
				_, err = io.Out.Write([]byte(words[0] + " " + map[bool]string{true: "deep", false: "flat"}[*deep]))
				return err
			}},
		{Name: "fail", Run: func(context.Context, cli.IO, []string) error {
			return cli.WithHint(errors.New("no luck"), "try again")
		}},
		{Name: "pair left", Short: "of two"},
		{Name: "pair right", Short: "of two"},
		{Name: "three", Run: func(context.Context, cli.IO, []string) error { return &cli.Exit{Code: 3} }},
	}}
	tests := []struct {
		args     string
		code     int
		out, err string // what each begins with
	}{
		{"config check a.toml --deep", 0, "a.toml deep", ""},
		{"config check --deep a.toml", 0, "a.toml deep", ""},
		{"config check -- --deep", 0, "--deep flat", ""},
		{"config check", 2, "", "prog config check: error: takes 1 argument(s), got 0\nusage: prog config check FILE"},
		{"config check a --wide", 2, "", "prog config check: error: flag provided but not defined: -wide"},
		{"config check -h", 0, "usage: prog config check FILE", ""},
		{"fail", 1, "", "prog: error: no luck\nprog: hint: try again\n"},
		{"three", 3, "", ""},
		{"pair", 2, "", "prog pair: error: takes one more word\n  pair left "},
		{"pair rihgt", 2, "", "prog pair: error: unknown command \"rihgt\"\n  pair left "},
		{"pair --help", 0, "  pair left ", ""},
		{"nonsense", 2, "", "prog: error: unknown command \"nonsense\""},
		{"help", 0, "prog: does things", ""},
		{"help config check", 0, "usage: prog config check FILE", ""},
		{"", 2, "prog: does things", ""},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var out, err bytes.Buffer
			code := prog.Run(t.Context(), cli.IO{Out: &out, Err: &err}, strings.Fields(tt.args))
			if code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			if !strings.HasPrefix(out.String(), tt.out) || (tt.out == "" && out.Len() > 0) {
				t.Errorf("out:\n%s\nwant it to begin with:\n%s", out.String(), tt.out)
			}
			if !strings.HasPrefix(err.String(), tt.err) || (tt.err == "" && err.Len() > 0) {
				t.Errorf("err:\n%s\nwant it to begin with:\n%s", err.String(), tt.err)
			}
		})
	}
}

// What help lists fits a terminal, however long a command's arguments are.
func TestHelpFitsATerminal(t *testing.T) {
	prog := cli.Program{Name: "prog", Short: "does things", Commands: []cli.Command{
		{Name: "short", Short: "a word"},
		{Name: "scenario", Args: "[--short] NAME…|all", Short: "not below, for … is one column"},
		{Name: "config init", Args: "[--role site|hub] GATEWAY NETWORK", Short: strings.Repeat("many words ", 9)},
	}}
	var out bytes.Buffer
	prog.Run(t.Context(), cli.IO{Out: &out}, []string{"help"})
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > cli.Width {
			t.Errorf("wider than %d columns: %q", cli.Width, line)
		}
	}
	if want := "  short                          a word\n  scenario [--short] NAME…|all   not below, for … is one column\n  config init [--role site|hub] GATEWAY NETWORK\n                                 many words many"; !strings.Contains(out.String(), want) {
		t.Errorf("got:\n%s\nwant in it:\n%s", out.String(), want)
	}
}

func TestHelpOfAGroup(t *testing.T) {
	prog := cli.Program{Name: "prog", Commands: []cli.Command{{Name: "plan"}, {Name: "config init", Short: "begins"}, {Name: "config show"}}}
	var out bytes.Buffer
	if code := prog.Run(t.Context(), cli.IO{Out: &out}, []string{"help", "config"}); code != 0 || strings.Contains(out.String(), "plan") ||
		!strings.Contains(out.String(), "begins") || !strings.Contains(out.String(), "config show") {
		t.Errorf("%d:\n%s", code, out.String())
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"one":                "one",
		"one two three four": "one two\n  three\n  four",
		"a b one two a b":    "a b one\n  two a b",
		"immeasurable word":  "immeasurable\n  word",
	} {
		if got := cli.Wrap(text, 8, "  "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := cli.Printable("a\x1b[31m\r\u009b b\n…\u202e\u2066"); got != "a?[31m?? b\n…??" {
		t.Errorf("%q", got)
	}
}

// What a collector or a gateway says of itself is no order to a terminal.
func TestErrorsArePrintable(t *testing.T) {
	for _, text := range []string{"a\x1b[2Jb", "a\x1b[2J\nb"} {
		var out bytes.Buffer
		cli.PrintError(&out, "prog", cli.WithHint(errors.New(text), "c\x1b[2Jd"))
		if got := out.String(); strings.Contains(got, "\x1b") || !strings.Contains(got, "a?[2J") || !strings.Contains(got, "c?[2Jd") {
			t.Errorf("%q", got)
		}
	}
}
