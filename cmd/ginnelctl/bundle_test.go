package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// TestBundleForAStick: one gateway's config as a file, with its way back; the
// collector knows of it, so nothing is astray and no number is used twice.
func TestBundleForAStick(t *testing.T) {
	b := newBench(t)
	b.want(1, []string{"gull-1 is no gateway of this fleet"}, "bundle", "gull-1", "gull.bundle")
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	b.write("fleet.toml", b.read("fleet.toml")+newCheck)
	if out, code := b.do("no\n", "bundle", "avocet-1", "avocet.bundle", "--sign-with", b.key); code != 1 || b.read("avocet.bundle") != "" || len(b.pushed) > 1 ||
		!strings.Contains(out, "Sign this for avocet-1? [y/N] ") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	b.want(0, []string{"avocet-1, generation 2 over generation 1", "The collector knows of it as rollout 1. Commit generations.csv.",
		"Written: avocet.bundle. At avocet-1: sudo ginnel apply avocet.bundle", "Written: avocet.bundle.back, the way back."},
		"bundle", "--sign-with", b.key, "avocet-1", "avocet.bundle")
	b.isFor("avocet.bundle", "avocet-1", 2, 1)
	b.isFor("avocet.bundle.back", "avocet-1", 3, 0)
	last := b.pushed[len(b.pushed)-1]
	if p := last.Pushes; len(p) != 1 || p[0].Gateway != "avocet-1" || p[0].Window != "" || !slices.Equal(last.Rings, []string{"hubs", "by hand"}) ||
		string(p[0].Bundle) != b.read("avocet.bundle") || string(p[0].Back) != b.read("avocet.bundle.back") {
		t.Errorf("pushed %+v", last)
	}
	if !strings.Contains(b.read("generations.csv"), "avocet-1,3,") {
		t.Errorf("its numbers are not used up:\n%s", b.read("generations.csv"))
	}
	if out := b.want(2, nil, "plan"); strings.Contains(out, "drift") || !strings.Contains(out, "  1 change    2 stay") {
		t.Errorf("the centre does not know of it:\n%s", out)
	}
	b.want(1, []string{"avocet.bundle is there already"}, "bundle", "avocet-1", "avocet.bundle")
}

// TestBundleOfAPush: what was pushed, and did not arrive, is not signed again.
func TestBundleOfAPush(t *testing.T) {
	b := newBench(t)
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	former := b.said["avocet-1"].Running
	b.write("fleet.toml", b.read("fleet.toml")+newCheck)
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	b.said["avocet-1"].Running = former
	for _, p := range b.pushed[1].Pushes {
		back, err := bundle.Parse(p.Back)
		if err != nil {
			t.Fatal(err)
		}
		b.bundles[back.Hash()] = p.Back
	}
	b.want(0, []string{"avocet-1: no change\n", "Written: avocet.bundle.back"}, "bundle", "avocet-1", "avocet.bundle")
	b.isFor("avocet.bundle", "avocet-1", 2, 1)
	b.isFor("avocet.bundle.back", "avocet-1", 3, 0)
	b.bundles[b.said["bittern-1"].Desired.Hash] = b.pushed[0].Pushes[0].Bundle // another one
	b.want(1, []string{"what the collector has for bittern-1: it is another one"}, "bundle", "bittern-1", "bittern.bundle")
	if len(b.pushed) != 2 || b.read("bittern.bundle") != "" {
		t.Errorf("%d pushed", len(b.pushed))
	}
}

// TestBundleWithoutCollector is made of what the files have.
func TestBundleWithoutCollector(t *testing.T) {
	b := newBench(t)
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	b.write("fleet.toml", b.read("fleet.toml")+newCheck)
	b.want(0, []string{"The collector is not told: nothing listens at http://127.0.0.1:9. What", "Commit generations.csv."},
		"bundle", "--collector", "http://127.0.0.1:9", "--yes", "--sign-with", b.key, "avocet-1", "avocet.bundle")
	b.isFor("avocet.bundle", "avocet-1", 2, 1)
	if b.read("avocet.bundle.back") != "" || len(b.pushed) != 1 || !strings.Contains(b.read("generations.csv"), "avocet-1,2,") {
		t.Errorf("a way back to what nobody knows, or generations\n%s", b.read("generations.csv"))
	}
}

// TestBundleRefused: nothing is written where a push would be refused.
func TestBundleRefused(t *testing.T) {
	b := newBench(t)
	b.refuse, b.status = &centre.Problem{Error: "another rollout is on its way"}, 409
	b.rollouts = []centre.Rollout{{ID: "6", Name: "fleet 3f2a91c", By: "bob", State: centre.RolloutRunning}}
	b.want(1, []string{"error: bob was first: rollout 6"}, "bundle", "--yes", "--sign-with", b.key, "avocet-1", "avocet.bundle")
	strange, _ := operatorKey(t, "mallory")
	b.want(1, []string{" is not one of the fleet's signers"}, "bundle", "--yes", "--sign-with", strange, "avocet-1", "avocet.bundle")
	if b.read("avocet.bundle") != "" {
		t.Error("it was written")
	}
}

// isFor reads a file as its gateway would.
func (b *bench) isFor(file, gateway string, generation uint64, checks int) {
	b.t.Helper()
	signed, err := bundle.Parse([]byte(b.read(file)))
	if err != nil {
		b.t.Fatalf("%s: %v", file, err)
	}
	if _, err := signed.Verify(bundle.Config, bundle.Signers{b.pub}); err != nil {
		b.t.Errorf("%s: %v", file, err)
	}
	c, err := config.Parse(file, signed.Text)
	if err != nil || c.Gateway != gateway || c.Generation != generation || len(c.Checks) != checks {
		b.t.Errorf("%s is generation %d of %s with %d checks, %v", file, c.Generation, c.Gateway, len(c.Checks), err)
	}
}
