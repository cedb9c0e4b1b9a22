package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/local"
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
	const all = "/etc/ginnel/checks.d/a.toml: knd: unknown key\n    hint: kind\nlate: /usr/bin/late: is gone"
	if got := leftOut(left); got != all {
		t.Errorf("got\n%s\nwant\n%s", got, all)
	}
}

// leaving is an agent that leaves something out when it reads its config again.
type leaving struct{ local.Agent }

func (leaving) Reload(context.Context) error { return &local.LeftOut{Text: "a.toml: knd: unknown key"} }

// A reload that leaves out a program says so, and ends with 1.
func TestReloadSaysWhatItLeavesOut(t *testing.T) {
	t.Setenv("GINNEL_ROOT", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- (&local.Server{Path: place().Socket(), Agent: leaving{}}).Run(ctx, func() { close(up) })
	}()
	<-up
	var out, errs bytes.Buffer
	code := ginnel(ctx, []string{"reload"}, cli.IO{Out: &out, Err: &errs})
	want := "but what is wrong with a program leaves that program out:\na.toml: knd: unknown key\n"
	if code != 1 || out.String() != "applied\n" || !strings.HasSuffix(errs.String(), want) {
		t.Errorf("%d: %s%s", code, &out, &errs)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
