package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/ginnel/ginnel/checks/plugin"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// What is wrong with an offer is said with what to do; what is wrong with a program
// is said beside its kind.
func TestWhatIsLeftOutIsSaid(t *testing.T) {
	var text bytes.Buffer
	left := apart(errors.Join(errors.Join(&plugin.FileError{Path: "/etc/ginnel/checks.d/a.toml", Err: errors.New("knd: unknown key"), Hint: "kind"}),
		fmt.Errorf("late: %w", &plugin.FileError{Path: "/usr/bin/late", Err: errors.New("is gone")})))
	tellLeft(cli.IO{Err: &text}, left)
	want := `left out: error: /etc/ginnel/checks.d/a.toml: knd: unknown key
left out: hint: kind
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}
