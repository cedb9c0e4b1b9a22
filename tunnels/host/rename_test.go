package host

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
)

// A device that somebody renamed is named back by one step, with all that it
// carries; the same step with nothing to do has no effect.
func TestRenamedDevice(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h, ctx := open(t), t.Context()
	converge(t, h, siteSpec)
	before := picture(t)
	sh(t, "ip link set gn-site down; ip link set gn-site name other; ip link set other up")
	have, err := h.Observe(ctx)
	must(t, err)
	if len(have.Devices) != 1 || have.Devices[0].Name != "gn-site" || have.Devices[0].Found != "other" ||
		len(have.Devices[0].Peers) != 1 {
		t.Fatalf("found %+v", have.Devices)
	}
	facts, err := h.Facts(ctx, siteSpec)
	must(t, err)
	for _, l := range facts.Links {
		if l.Name == "other" {
			t.Error("it is taken for a link of somebody else")
		}
	}
	if steps := converge(t, h, siteSpec); len(steps) == 0 || steps[0] != "~ device gn-site is called other here; named back" {
		t.Errorf("steps: %q", steps)
	}
	step := tunnels.Step{Op: tunnels.Change, Kind: tunnels.DeviceKind, Device: &have.Devices[0]}
	must(t, h.Apply(ctx, step)) // nothing left to do
	if after := picture(t); after != before {
		t.Errorf("not as before:\n%s\nbefore:\n%s", after, before)
	}

	sh(t, "ip link set gn-site down; ip link set gn-site name other")
	converge(t, h, tunnels.Spec{})
	if links := sh(t, "ip -o link"); strings.Contains(links, "other") {
		t.Errorf("it is still there: %s", links)
	}
}
