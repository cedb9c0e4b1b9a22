package main

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

// TestSigningOneselfAway: who leaves the signers cannot sign that push, as its way
// back would be refused by whoever kept it; who can is said before anything is asked.
func TestSigningOneselfAway(t *testing.T) {
	b := newBench(t)
	b.want(0, nil, "push", "--yes", "--no-rings", "--sign-with", b.key) // by alice
	doraKey, dora := operatorKey(t, "dora")
	_, erin := operatorKey(t, "erin")
	name := func(first, second bundle.Signer) {
		_, rest, _ := strings.Cut(b.read("fleet.toml"), "]\n")
		b.write("fleet.toml", "signers = [\n  \""+first.String()+"\",\n  \""+second.String()+"\",\n]\n"+rest)
	}
	name(dora, erin)
	all := b.want(1, []string{"error: refused: it takes alice and bob out of the signers", "hint: change one signer, push, then the other"}, "push", "--yes", "--sign-with", b.key)
	if strings.Contains(all, "[y/N]") {
		t.Errorf("it was asked whether to do what cannot be done:\n%s", all)
	}
	name(b.pub, dora)
	b.want(0, []string{"No signer any more: bob. alice must sign this push"}, "push", "--yes", "--no-rings", "--sign-with", b.key)
	name(dora, erin)
	said := b.want(1, []string{"No signer any more: alice. dora must sign this push", "alice SHA256:", "cannot sign its way back", "hint: dora can push it"},
		"push", "--yes", "--sign-with", b.key)
	if len(b.pushed) != 2 {
		t.Errorf("%d were pushed:\n%s", len(b.pushed), said)
	}
	b.pub = dora // whose signature the bench takes
	b.want(0, []string{"rollout 1 is done"}, "push", "--yes", "--no-rings", "--sign-with", doraKey)
}
