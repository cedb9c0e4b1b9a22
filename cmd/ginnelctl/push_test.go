package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/fleet/fleettest"
	"github.com/ginnel/ginnel/tunnels/key"
)

const newCheck = `
[[check]]
name    = "records-tls"
network = "kestrel"
kind    = "tcp"
target  = "198.51.100.20:443"
`

// TestFirstPush takes a fleet from its first keys to a push, and to the next.
func TestFirstPush(t *testing.T) {
	b := newBench(t)
	out := b.want(2, []string{"compared with what 3 gateways at 2 sites run now", "  3 change    0 stay\n",
		"  + kestrel, lan 192.168.10.0/24 ", "  + kestrel, hub of 2 sites ", "hub-north\n",
		"\n  new key    avocet-1 kestrel  ", "must equal", "Nothing was signed, nothing was sent.",
		"3 gateways in addresses.csv", "6 new rows in keys.csv", "  ginnelctl plan --gateway avocet-1      its steps, one by one\n"}, "plan")
	if n := strings.Count(b.read("keys.csv"), "\n"); n != 7 || strings.Contains(b.read("generations.csv"), "avocet") {
		t.Errorf("keys.csv has %d lines after\n%s", n, out)
	}
	if again := b.want(2, nil, "plan"); strings.Contains(again, "new key") || strings.Contains(again, "Written") {
		t.Errorf("keys are new twice:\n%s", again)
	}
	b.want(2, []string{"avocet-1, generation 1 over nothing", "  + device  ", "Nothing was signed, nothing was sent."}, "plan", "--gateway", "avocet-1")
	b.want(1, []string{"gull-1 is no gateway of this fleet"}, "plan", "--gateway", "gull-1")
	if out, code := b.do("no\n", "push", "--sign-with", b.key); code != 1 || !strings.Contains(out, "[y/N] ") ||
		!strings.Contains(out, "error: nothing was signed, nothing was sent") || len(b.pushed) > 0 || b.read("generations.csv") != "" {
		t.Errorf("exit %d, %d pushed:\n%s", code, len(b.pushed), out)
	}
	b.want(0, []string{"Push to 3 gateways (hubs, canary, rest)?", "rollout 1 began. Commit generations.csv.", "rollout 1 is done"}, "push", "--sign-with", b.key)
	first := b.pushed[0]
	at := slices.IndexFunc(first.Pushes, func(p centre.Push) bool { return p.Gateway == "avocet-1" })
	if !slices.Equal(first.Rings, []string{"hubs", "canary", "rest"}) || !slices.Equal(first.Pushes[at].Needs, []string{"hub-north"}) ||
		first.Pushes[at].Back != nil || first.Organisations["kestrel"] != "kestrel" {
		t.Errorf("pushed %+v", first)
	}
	b.want(0, []string{"  0 change    3 stay\n"}, "plan")
	b.want(0, []string{"Nothing to push."}, "push")

	b.write("fleet.toml", b.read("fleet.toml")+newCheck)
	b.want(2, []string{"  + check records-tls on kestrel                           2  canary 1, rest 1\n"}, "plan")
	b.want(0, nil, "push", "--yes", "--no-rings", "--no-wait", "--sign-with", b.key)
	second := b.pushed[1]
	back, err := bundle.Parse(second.Pushes[0].Back)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("back", back.Text)
	if err != nil || c.Generation != 3 || len(c.Checks) != 0 || !slices.Equal(second.Rings, []string{"hubs", "all"}) {
		t.Errorf("the way back is generation %d with %d checks, rings %v, %v", c.Generation, len(c.Checks), second.Rings, err)
	}
	if !strings.Contains(b.read("generations.csv"), "avocet-1,3,") {
		t.Errorf("the way back's number is not used up:\n%s", b.read("generations.csv"))
	}
}

// TestSiteLeavesItsLastNetwork: the tunnel of a site that is in no network any more
// is taken down at the site, too.
func TestSiteLeavesItsLastNetwork(t *testing.T) {
	b := newBench(t)
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	b.write("attachments.csv", strings.Replace(b.read("attachments.csv"), "avocet,kestrel,192.168.10.0/24,\n", "", 1))
	b.want(2, []string{"  2 change    1 stay\n", "  - kestrel ", "avocet-1\n", "  ~ peers: - avocet-1 "}, "plan")
}

// TestPlanFile: what was reviewed is what is pushed, or nothing.
func TestPlanFile(t *testing.T) {
	b := newBench(t)
	b.want(2, []string{"  ginnelctl push monday.plan             shows this again, and asks\n"}, "plan", "--out", "monday.plan")
	b.want(1, []string{"monday.plan is there already"}, "plan", "--out", "monday.plan")
	b.write("fleet.toml", b.read("fleet.toml")+newCheck) // after the review
	b.want(0, nil, "push", "--yes", "--sign-with", b.key, "monday.plan")
	if strings.Contains(string(b.pushed[0].Pushes[1].Bundle), "records-tls") {
		t.Error("more was pushed than was reviewed")
	}
	b.want(1, []string{"monday.plan was made before this:\n", "  avocet-1: generation 1 was pushed since\n", "ginnelctl plan makes it anew"}, "push", "--yes", "monday.plan")
	b.want(2, []string{"--without is for plan"}, "push", "--without", "avocet-1", "monday.plan")
	raw := b.want(2, nil, "plan", "--json")
	if !json.Valid([]byte(raw)) || !strings.Contains(raw, `"ginnel_plan": 1`) {
		t.Errorf("not JSON:\n%s", raw)
	}
}

// TestSubstitutedKeys: a collector that shows a key of its own, of a site or a
// hub, gets nothing signed.
func TestSubstitutedKeys(t *testing.T) {
	for _, who := range []string{"avocet-1", "hub-north"} {
		b := newBench(t)
		thief, err := identity.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := thief.Prepare(); err != nil {
			t.Fatal(err)
		}
		p, err := thief.Prove(who, map[string]key.Public{"kestrel": key.NewPrivate().Public()}, identity.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		honest := b.proofs[who]
		b.proofs[who] = []identity.Proof{p}
		b.want(1, []string{"bad proof  " + who + " kestrel "}, "plan")
		b.want(1, []string{"refused: the collector shows keys that no gateway of this fleet proved"}, "push", "--yes", "--sign-with", b.key)
		if strings.Contains(b.read("keys.csv"), who) || len(b.pushed) > 0 {
			t.Errorf("%s: %d pushed, keys.csv\n%s", who, len(b.pushed), b.read("keys.csv"))
		}
		b.proofs[who] = honest
		b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	}
}

// TestPlanWithAnotherKey: a plan file that names a key which is not the verified
// one is not signed, whoever put it there.
func TestPlanWithAnotherKey(t *testing.T) {
	b := newBench(t)
	b.want(2, nil, "plan", "--out", "monday.plan")
	stated := b.ids["avocet-1"].Stated()["kestrel"].String()
	text := b.read("monday.plan")
	if !strings.Contains(text, stated) {
		t.Fatal("the plan has no key of avocet-1")
	}
	b.write("tuesday.plan", strings.ReplaceAll(text, stated, key.NewPrivate().Public().String()))
	b.want(1, []string{"refused: public keys that are not the verified ones:", "hub-north: the public key of avocet-1 in kestrel is ", "and the verified one is " + stated},
		"push", "--yes", "--sign-with", b.key, "tuesday.plan")
	if len(b.pushed) > 0 {
		t.Error("it was pushed")
	}
}

// TestPlanWithAnotherWayBack: nor is a way back signed that is not what ran.
func TestPlanWithAnotherWayBack(t *testing.T) {
	b := newBench(t)
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	b.write("fleet.toml", b.read("fleet.toml")+newCheck)
	b.want(2, nil, "plan", "--out", "monday.plan")
	head, back, found := strings.Cut(b.read("monday.plan"), `"back": [`)
	if !found {
		t.Fatal("the plan has no way back")
	}
	b.write("tuesday.plan", head+`"back": [`+strings.ReplaceAll(back, "192.0.2.10:51820", "192.0.2.99:51820"))
	b.want(1, []string{"refused: in tuesday.plan the way back is not what these run:\n  avocet-1\n"}, "push", "--yes", "--sign-with", b.key, "tuesday.plan")
	if len(b.pushed) > 1 {
		t.Error("it was pushed")
	}
	b.want(0, nil, "push", "--yes", "--sign-with", b.key, "monday.plan")
}

// TestPlanWithOtherSigners: a plan file gives no gateway into other hands than the
// fleet's, also where nothing runs that it could be compared with.
func TestPlanWithOtherSigners(t *testing.T) {
	b := newBench(t)
	b.want(2, nil, "plan", "--out", "monday.plan")
	text := b.read("monday.plan")
	f, err := fleet.Load(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Fields(f.Signers[1])[1]
	if !strings.Contains(text, line) {
		t.Fatal("the plan has no signers")
	}
	b.write("tuesday.plan", strings.ReplaceAll(text, line, strings.Fields(fleettest.Signers[0])[1]))
	b.want(1, []string{"refused: tuesday.plan names other signers, or another collector, than fleet.toml for:\n"}, "push", "--yes", "--sign-with", b.key, "tuesday.plan")
	if len(b.pushed) > 0 {
		t.Error("it was pushed")
	}
}

// TestTwoOperators: the second is told who was first, and its numbers are not
// used again.
func TestTwoOperators(t *testing.T) {
	b := newBench(t)
	b.refuse, b.status = &centre.Problem{Error: "another rollout is on its way"}, http.StatusConflict
	b.rollouts = []centre.Rollout{{ID: "6", Name: "fleet 3f2a91c", By: "bob", State: centre.RolloutRunning, Waits: "window Mon 19:00"}}
	b.want(1, []string{"error: bob was first: rollout 6, fleet 3f2a91c, is running; waits: window Mon 19:00", "agree with bob to end it"},
		"push", "--yes", "--sign-with", b.key)
	b.rollouts[0].State = centre.RolloutDone
	b.refuse.Error = "avocet-1: generation 1 is wanted since"
	b.want(1, []string{"error: something else is wanted since the plan was made: avocet-1: generation 1 is wanted since", "rollout 6 by bob"}, "push", "--yes", "--sign-with", b.key)
	b.refuse.Error, b.status = "no room on the disk", 500
	b.want(1, []string{"collector said 500: no room on the disk", "Its generations are used up"}, "push", "--yes", "--sign-with", b.key)
	b.refuse = nil
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	if got := b.said["avocet-1"].Running.Generation; got != 4 {
		t.Errorf("generation %d after three that failed", got)
	}
}

// TestReplacedGateway: another device's keys wait for a person.
func TestReplacedGateway(t *testing.T) {
	b := newBench(t)
	b.want(0, nil, "push", "--yes", "--sign-with", b.key)
	old := b.read("keys.csv")
	b.enrolAgain("avocet-1")
	b.want(0, []string{"changed    avocet-1 kestrel  ", "; not used", "hint: ginnelctl keys approve avocet-1"}, "plan")
	if b.read("keys.csv") != old {
		t.Error("keys.csv was changed by plan")
	}
	if out, code := b.do("n\n", "keys", "approve", "avocet-1"); code != 1 || b.read("keys.csv") != old {
		t.Errorf("exit %d:\n%s", code, out)
	}
	b.want(0, []string{"  ~ avocet-1 kestrel  ", ", was ", "Approved: 2 rows in keys.csv. Commit it, then ginnelctl push."}, "keys", "approve", "avocet-1")
	b.want(0, []string{"Nothing to approve"}, "keys", "approve", "avocet-1")
	b.want(2, []string{"  ~ peers: ~ avocet-1 ", "1  hub-north", "  old key    hub-north: going back would let avocet-1 into kestrel by ", "avocet-1 --former\n"}, "plan")
	b.want(2, nil, "plan", "--out", "monday.plan")
	b.want(0, []string{"  old key    hub-north: going back would let avocet-1"}, "push", "--yes", "--sign-with", b.key, "monday.plan")
	b.want(0, []string{"avocet-1   device   ", "avocet-1   kestrel  ", "hub-north  kestrel  "}, "keys", "list")
	b.want(1, []string{"gull-1 is no gateway of this fleet"}, "keys", "list", "gull-1")
}

// enrolAgain puts another device in a gateway's place.
func (b *bench) enrolAgain(gateway string) {
	b.t.Helper()
	proofs, said := b.proofs[gateway], b.said[gateway]
	b.enrol(gateway)
	b.proofs[gateway] = append(proofs, b.proofs[gateway][len(b.proofs[gateway])-1])
	b.said[gateway] = said
}

// TestMistakesOfTheFiles are all shown, and nothing is asked of anybody.
func TestMistakesOfTheFiles(t *testing.T) {
	b := newBench(t)
	b.write("attachments.csv", "site,network,lan,as\navocet,kestrel,192.168.10.0/24,\ngull,kestrel,192.168.20.0/24,\nbittern,heron,192.168.20.0/24,\n")
	b.want(1, []string{"attachments.csv:3", "attachments.csv:4"}, "plan")
	one := newBench(t)
	text := one.read("fleet.toml")
	one.write("fleet.toml", strings.Replace(text, one.pub.String(), "", 1))
	one.want(1, nil, "push", "--yes")
}

// TestStrangersSignature: a key that no gateway would believe signs nothing.
func TestStrangersSignature(t *testing.T) {
	b := newBench(t)
	strange, _ := operatorKey(t, "mallory")
	b.want(1, []string{" is not one of the fleet's signers"}, "push", "--yes", "--sign-with", strange)
	if _, err := os.Stat(filepath.Join(b.dir, "generations.csv")); err == nil || len(b.pushed) > 0 {
		t.Error("numbers were used, or something was pushed")
	}
}

// TestSiteAddAsksTheFiles: what they say need not be said again, and the pack
// has the signers.
func TestSiteAddAsksTheFiles(t *testing.T) {
	b := newBench(t)
	b.write("sites.csv", "site,name,kind,postcode,gateways\navocet,Avocet Surgery,gp,ZZ1 1AA,2\nbittern,Bittern Practice,gp,,1\n")
	for args, want := range map[string][]string{
		"avocet":                     {"avocet.toml", "avocet-1", "Avocet Surgery", "ZZ1 1AA"},
		"avocet --gateway avocet-2":  {"avocet.toml", "avocet-2", "Avocet Surgery", "ZZ1 1AA"},
		"hub-north --name Hub":       {"hub-north.toml", "hub-north", "Hub", ""},
		"hub-north --network heron ": {"hub-north.toml", "hub-north", "hub-north", ""},
	} {
		b.want(0, nil, append([]string{"site", "add"}, strings.Fields(args)...)...)
		pack, err := identity.ReadPack(filepath.Join(b.dir, want[0]))
		if err != nil {
			t.Fatal(err)
		}
		networks := []string{"kestrel"}
		if strings.Contains(args, "heron") {
			networks[0] = "heron"
		}
		if s := pack.Site; s.Gateway != want[1] || s.Name != want[2] || s.Postcode != want[3] || !slices.Equal(s.Networks, networks) || len(pack.Signers) != 2 {
			t.Errorf("%s: %+v, %d signers", args, s, len(pack.Signers))
		}
		if err := os.Remove(filepath.Join(b.dir, want[0])); err != nil {
			t.Fatal(err)
		}
	}
	b.want(1, []string{"gull-1 is no gateway of gull in the fleet's files"}, "site", "add", "gull")
	b.want(1, []string{"bittern-2 is no gateway of bittern"}, "site", "add", "bittern", "--gateway", "bittern-2")
}
