package agent_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// desk is where configs are signed.
type desk struct {
	t          *testing.T
	alice, bob bundletest.Operator
}

func newDesk(t *testing.T) desk { return desk{t, bundletest.New("alice"), bundletest.New("bob")} }

// trusted has a gateway believe the desk, as its site pack would.
func (d desk) trusted(root string) {
	d.t.Helper()
	text, err := json.Marshal(map[string]any{"signers": []string{d.alice.Line(), d.bob.Line()}})
	if err != nil {
		d.t.Fatal(err)
	}
	dir := agent.DefaultPaths(root).Trust()
	if err := errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, "trust.json"), text, 0o640)); err != nil {
		d.t.Fatal(err)
	}
}

// bundle is a config of that generation, signed, with a time to prove itself
// that a test can wait for.
func (d desk) bundle(generation int, text string) []byte {
	d.t.Helper()
	text = fmt.Sprintf("generation = %d\ntrial = \"10s\"\nsigners = [%q, %q]\n%s", generation, d.alice.Line(), d.bob.Line(), text)
	return d.alice.Bundle(text, bundle.Config).Bytes()
}

func (r *rig) apply(raw []byte) ([]local.Progress, error) {
	var steps []local.Progress
	err := local.Client{Path: r.paths.Socket()}.Apply(r.t.Context(), raw, func(p local.Progress) { steps = append(steps, p) })
	return steps, err
}

// config waits for a state of the newest config.
func (r *rig) config(state block.ConfigState, generation uint64) block.ConfigSnapshot {
	r.t.Helper()
	r.until(fmt.Sprintf("generation %d, %s", generation, state), func(local.Client) bool {
		c := r.agent.Snapshot().Config
		return c.State == state && c.Generation == generation
	})
	return r.agent.Snapshot().Config
}

func TestGatewayByHandIsTakenOverByItsFirstPush(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, site)
	r.untilUp()
	steps, err := r.apply(d.bundle(1, site))
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[len(steps)-1].Step != "kept" {
		t.Errorf("steps: %+v", steps)
	}
	if c := r.config(block.ConfigApplied, 1); c.Mark != 1 || c.Trial != nil || c.Error != "" || !c.Stick || !strings.Contains(c.Ignored, "desired.toml") {
		t.Errorf("config: %+v", c)
	}
	if n := len(r.host.Take()); n == 0 {
		t.Error("the host was never written to, at all")
	}
	err = r.agent.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "desired.toml") {
		t.Errorf("reload of a config written by hand: %v", err)
	}
	r.stop()
	r.write(strings.Replace(site, "198.51.100.0/24", "198.51.100.0/25", 1))
	again := start(t, root, "")
	again.untilUp()
	if c := again.agent.Snapshot().Config; c.Generation != 1 || c.State != block.ConfigApplied || !c.Stick {
		t.Errorf("after a restart: %+v", c)
	}
}

func TestPushThatStrandsGoesBack(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := startAt(t, root, site, "192.0.2.10:51820")
	r.untilUp()
	if _, err := r.apply(d.bundle(1, site)); err != nil {
		t.Fatal(err)
	}
	r.until("its states are known", func(local.Client) bool { return r.agent.Snapshot().State == checks.Up })
	wrong := strings.Replace(site, "192.0.2.10:51820", "192.0.2.99:51820", 1)
	began := time.Now()
	_, err := r.apply(d.bundle(2, wrong))
	if err == nil || !strings.Contains(err.Error(), "kestrel/hub-north was good and is dead") {
		t.Fatalf("apply = %v", err)
	}
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("it took %v", took)
	}
	c := r.config(block.ConfigFailed, 1)
	if c.Mark != 2 || c.Trial == nil || c.Trial.Generation != 2 || len(c.Trial.Evidence) == 0 || c.Code != string(why.ConfigFailed) {
		t.Errorf("config: %+v, trial %+v", c, c.Trial)
	}
	if report, err := r.agent.Why(t.Context(), ""); err != nil || report.Code != why.ConfigFailed || !strings.Contains(report.Headline, "generation 2 did not stay: kestrel/hub-north was good") {
		t.Errorf("why: %+v, %v", report, err)
	}
	if got := r.endpoint(); got != "192.0.2.10:51820" {
		t.Errorf("the hub is at %s", got)
	}
	for name, raw := range map[string][]byte{"the same again": d.bundle(2, wrong), "an older one": d.bundle(1, site)} {
		if _, err := r.apply(raw); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	r.stop()
	again := start(t, root, "")
	again.untilUp()
	if c := again.agent.Snapshot().Config; c.Generation != 1 || c.State != block.ConfigFailed || c.Mark != 2 {
		t.Errorf("after a restart: %+v", c)
	}
}

// endpoint is where the hub is, on the host.
func (r *rig) endpoint() string {
	for _, d := range r.host.State().Devices {
		for _, p := range d.Peers {
			return p.Endpoint.String()
		}
	}
	return ""
}

func TestRollbackLastsUntilANewerGeneration(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, site)
	r.untilUp()
	other := strings.Replace(site, "198.51.100.0/24", "198.51.100.0/25", 1)
	client := local.Client{Path: r.paths.Socket()}
	if err := client.Rollback(t.Context()); err == nil {
		t.Error("rollback without a config before was taken")
	}
	if _, err := r.apply(d.bundle(1, other)); err != nil {
		t.Fatal(err)
	}
	if err := client.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := r.config(block.ConfigOverridden, 0); c.Mark != 1 { // the one by hand runs
		t.Errorf("config: %+v", c)
	}
	if err := client.Rollback(t.Context()); err == nil {
		t.Error("a second rollback was taken")
	}
	if _, err := r.apply(d.bundle(1, other)); err == nil {
		t.Error("what was overridden came again")
	}
	r.stop()
	r = start(t, root, "")
	r.untilUp()
	r.config(block.ConfigOverridden, 0)
	if _, err := r.apply(d.bundle(2, other)); err != nil {
		t.Fatal(err)
	}
	r.config(block.ConfigApplied, 2)
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, site)
	r.untilUp()
	mallory := d
	mallory.alice = bundletest.New("mallory")
	good := d.bundle(1, site)
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"unsigned":         {[]byte("generation = 1\n" + site), "not signed"},
		"wrongly signed":   {mallory.bundle(1, site), "not accepted here"},
		"truncated":        {good[:len(good)-40], "config refused"},
		"another gateway":  {d.bundle(1, strings.Replace(site, "avocet-1", "bittern-1", 1)), "bittern-1"},
		"without a number": {d.bundle(0, site), "generation"},
		"covers the LAN":   {d.bundle(1, strings.Replace(site, "198.51.100.0/24", "192.168.76.0/22", 1)), "192.168.77.0/24"},
	} {
		if _, err := r.apply(c.raw); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.want)
		}
	}
	if c := r.agent.Snapshot().Config; c.Mark != 0 || c.Generation != 0 || c.State != "" {
		t.Errorf("config: %+v", c)
	}
}

// Every offer has an answer: one without a body, one that the disk does not take.
func TestOfferThatComesToNothingIsTold(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, site)
	r.untilUp()
	steering := r.agent.Steering()
	failed := func(hash, why string) {
		t.Helper()
		r.until(hash+" has failed: "+why, func(local.Client) bool {
			s := steering.Status()
			return s.State == uplink.Failed && string(s.Hash) == hash && strings.Contains(s.Message, why)
		})
	}
	steering.Offer(t.Context(), []byte("empty"), nil)
	failed("empty", "not signed")
	for generation, folder := range []string{1: r.paths.Trust(), 2: r.paths.Journal().Dir} {
		if folder == "" {
			continue
		}
		if err := errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		raw := d.bundle(generation, site)
		b, err := bundle.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := hex.DecodeString(b.Hash())
		if err != nil {
			t.Fatal(err)
		}
		steering.Offer(t.Context(), hash, raw)
		failed(string(hash), "not a directory")
		if err := os.Remove(folder); err != nil {
			t.Fatal(err)
		}
	}
}

// What failed and was perhaps not at fault is tried once more, and a technician
// is told how that goes, not how it went.
func TestAppliedAgain(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	raw := d.bundle(1, site)
	b, err := bundle.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := trial.Record{Phase: trial.Failed, Generation: 1, Hash: b.Hash(), Began: time.Now(), Tries: 2, Reason: trial.Inconclusive + "x"}
	if err := agent.DefaultPaths(root).Journal().Write(r); err != nil {
		t.Fatal(err)
	}
	rig := start(t, root, site)
	rig.untilUp()
	if steps, err := rig.apply(raw); err != nil || len(steps) == 0 || steps[len(steps)-1].Step != "kept" {
		t.Errorf("steps: %+v, %v", steps, err)
	}
	if r, err := rig.paths.Journal().Read(); err != nil || r.Tries != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A check of a kind that this gateway does not have says so, and nothing else is
// kept from running; what names a program is no kind, and no config.
func TestPushWithAKindThatIsNotHere(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, site)
	r.untilUp()
	extra := "\n[[check]]\nname = \"scans\"\nkind = %q\nnetwork = \"kestrel\"\ntarget = \"198.51.100.40:104\"\ninterval = \"1s\"\n"
	if _, err := r.apply(d.bundle(1, site+fmt.Sprintf(extra, "/usr/bin/nmap"))); err == nil || !strings.Contains(err.Error(), "check[") || !strings.Contains(err.Error(), ".kind") {
		t.Errorf("a kind that is a program: %v", err)
	}
	if c := r.agent.Snapshot().Config; c.Generation != 0 {
		t.Errorf("it was taken: %+v", c)
	}
	if _, err := r.apply(d.bundle(2, site+fmt.Sprintf(extra, "dicom"))); err != nil {
		t.Fatal(err)
	}
	r.config(block.ConfigApplied, 2)
	r.until("scans is not run, and the others are up", func(local.Client) bool {
		others, told := 0, false
		for _, c := range r.agent.Snapshot().Checks {
			switch {
			case c.Name == "scans":
				told = c.State == checks.UnknownState && c.Reason == string(checks.NotRun) && strings.Contains(c.Detail, `kind "dicom": no such kind here`)
			case c.State == checks.Up:
				others++
			}
		}
		return told && others == len(r.agent.Snapshot().Checks)-1 && others > 0
	})
}
