package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/trial"
)

// A held config takes nothing that has become the host's own by the next boot.
func TestHeldConfigIsCheckedAtABoot(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, site)
	r.untilUp()
	if _, err := r.apply(d.bundle(1, site)); err != nil {
		t.Fatal(err)
	}
	r.stop()
	raw := d.bundle(2, strings.Replace(site, `"198.51.100.0/24"`, `"192.168.77.0/24"`, 1)) // eth1's LAN
	b, err := bundle.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	held := trial.Record{Phase: trial.Held, Generation: 2, Hash: b.Hash(), Bundle: raw, Boot: "another", Nonce: "n",
		Began: time.Now().Add(-time.Minute), Until: time.Now().Add(-time.Second), Limit: 10 * time.Second}
	if err := r.paths.Journal().Write(held); err != nil {
		t.Fatal(err)
	}
	r = start(t, root, "")
	c := r.config(block.ConfigFailed, 1)
	if c.Trial == nil || !strings.Contains(strings.Join(c.Trial.Evidence, " "), "192.168.77.0/24") {
		t.Errorf("config %+v", c)
	}
	for _, route := range r.host.State().Routes {
		if route.Prefix.String() == "192.168.77.0/24" {
			t.Error("the host's own LAN is in a tunnel")
		}
	}
}
