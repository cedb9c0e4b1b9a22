package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/plugin"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// An exec offer of a built-in kind's name has nothing to close: it is left out,
// and the agent runs.
func TestAnOfferOfATakenNameIsLeftOut(t *testing.T) {
	kind := func(name string) checks.Kind {
		return checks.Kind{Name: name, Doc: "is there", New: func(checks.Target) (checks.Check, error) {
			return checks.Func(func(context.Context) checks.Result { return checks.Result{} }), nil
		}}
	}
	before, err := checks.NewRegistry(kind("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	plugged := kind("tcp")
	plugged.Close = func() error { closed = true; return nil }
	r, left := withOffered(before, []checks.Kind{kind("tcp"), plugged, kind("disk")})
	if len(r.Kinds()) != 2 || len(left) != 2 || !closed {
		t.Errorf("%d kinds, left out %v, closed %v", len(r.Kinds()), left, closed)
	}
	var text bytes.Buffer
	left = append(left, apart(errors.Join(errors.Join(&plugin.FileError{Path: "/etc/ginnel/checks.d/a.toml", Err: errors.New("knd: unknown key"), Hint: "kind"}),
		fmt.Errorf("late: %w", &plugin.FileError{Path: "/usr/bin/late"})))...)
	tellLeft(cli.IO{Err: &text}, left[1:])
	want := `left out: error: an offer in checks.d: kind "tcp": there is one of that name already
left out: hint: give the kind another name
left out: error: /etc/ginnel/checks.d/a.toml: knd: unknown key
left out: hint: kind
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", strings.TrimSpace(text.String()), want)
	}
}
