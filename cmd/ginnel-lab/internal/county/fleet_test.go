package county

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
)

// The files of the demo's county are a fleet without a mistake, and the desk
// would compile the addresses and hubs of the plan from them.
func TestCountyIsAFleet(t *testing.T) {
	p := Whole()
	if !p.Pushed() || p.ByHand().Pushed() || Apart().Pushed() {
		t.Fatal("the whole county is pushed, one by hand and one with IPv6 are not")
	}
	var lines []string
	for _, name := range signers {
		line := bundletest.New(name).Line()
		lines = append(lines, line)
	}
	files, err := p.fleetFiles(lines)
	if err != nil {
		t.Fatal(err)
	}
	keys := "gateway,network,public_key,fingerprint,first_seen\n"
	for i, end := range []string{"hub-north,kestrel", "hub-south,kestrel", "hub-north,heron", "hub-south,heron", "fulmar-1,kestrel", "fulmar-1,heron", "egret-1,heron"} {
		keys += end + "," + strings.Repeat(string(rune('A'+i)), 42) + "A=,,2026-11-22\n"
	}
	files["keys.csv"] = keys
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fleet.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Notes()) > 0 {
		t.Errorf("notes: %v", f.Notes())
	}
	for _, s := range p.Sites {
		if s.Name != "fulmar" && s.Name != "egret" {
			continue
		}
		d, err := f.Compile(s.Gateway())
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse("compiled", d.Text(1))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Networks) != len(s.Joins) || len(c.Checks) != len(p.checksOf(s)) {
			t.Errorf("%s: %d networks and %d checks, the plan has %d and %d", s.Name, len(c.Networks), len(c.Checks), len(s.Joins), len(p.checksOf(s)))
		}
		for i, n := range c.Networks {
			if got := n.Address[0].Addr(); got != s.Overlay(n.Name) || n.Hubs[0].Name != s.Joins[i].Hubs[0] || len(n.Hubs) != 1 {
				t.Errorf("%s on %s: %v to %s of %d, want %v to %s", s.Name, n.Name, got, n.Hubs[0].Name, len(n.Hubs), s.Overlay(n.Name), s.Joins[i].Hubs[0])
			}
		}
	}
}
