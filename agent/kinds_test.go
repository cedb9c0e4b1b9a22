package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

// TestReloadReadsOffers has a reload find another program, and something wrong
// beside it.
func TestReloadReadsOffers(t *testing.T) {
	r := start(t, t.TempDir(), site+`
[[check]]
name     = "greeting"
kind     = "banner"
target   = "198.51.100.20:25"
interval = "1s"
`)
	c := local.Client{Path: r.paths.Socket()}
	of := func(name string) (s string) {
		snapshot, err := c.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range snapshot.Checks {
			if one.Name == name {
				s = string(one.State)
			}
		}
		return s
	}
	r.until("all but what has no kind is up", func(local.Client) bool { return of("records") == "up" && of("greeting") == "unknown" })
	closed := false
	before := r.agent.Kinds()
	r.offers = func(context.Context) (checks.Registry, error) {
		k := answering(func() checks.Verdict { return checks.OK })("banner")
		k.Source, k.Close = new(int), func() error { closed = true; return nil }
		now, err := before.With(k)
		if err == nil {
			err = &local.LeftOut{Text: "/etc/ginnel/checks.d/x.toml:2:1: paht: unknown key\n    hint: path"}
		}
		return now, err
	}
	err := c.Reload(t.Context())
	if left, ok := errors.AsType[*local.LeftOut](err); !ok || !strings.HasSuffix(left.Text, "hint: path") {
		t.Errorf("reload: %v", err)
	}
	r.until("the new kind's check is up, the others still", func(local.Client) bool { return of("greeting") == "up" && of("records") == "up" })

	r.write("gateway = 4\n") // a config that is refused keeps no offer from going
	r.offers = func(context.Context) (checks.Registry, error) { return before, &local.LeftOut{Text: "x"} }
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "gateway") {
		t.Errorf("reload of a bad config: %v", err)
	}
	r.until("the kind is gone", func(local.Client) bool { return of("greeting") == "unknown" && of("records") == "up" })
	if !closed {
		t.Error("the program goes on")
	}

	r.write(site)
	r.offers = func(context.Context) (checks.Registry, error) {
		return checks.Registry{}, fmt.Errorf("two kinds of one name: %w", os.ErrExist)
	}
	if err := c.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "two kinds") || of("records") != "up" {
		t.Errorf("reload of kinds that cannot be: %v, records %s", err, of("records"))
	}
}
