package tunnels_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// What would go to a dead hub is refused, but a hub that only fails to answer,
// as one behind a firewall that drops ICMP, keeps its traffic.
func TestDeadUnlessItSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := tunnels.Spec{Networks: site().Networks[1:]}
		device := spec.Networks[0].Devices[0].Device
		r := start(t, &tunnelstest.Host{}, spec)
		defer r.stop()
		sends := func(bytes int64) {
			r.host.Change(func(s *tunnels.State) { s.Devices[0].Peers[0].Seen.Received += bytes })
			pass(time.Minute)
		}
		through := func(when string, want bool) {
			t.Helper()
			if got := slices.ContainsFunc(r.host.State().Routes, func(r tunnels.Route) bool { return r.Device == device }); got != want {
				t.Errorf("%s: the route into the tunnel is there: %v", when, got)
			}
		}
		sends(5000)
		through("alive", true)
		r.Dead(device, true)
		pass(time.Minute)
		through("dead", false)
		sends(32)
		through("said to be dead, and sending", true)
		pass(10 * time.Minute)
		through("silent again", false)
		r.Dead(device, false)
		pass(time.Minute)
		through("alive again", true)

		r.Dead(device, true)
		pass(time.Minute)
		r.Set(tunnels.Spec{})
		pass(time.Minute)
		r.Set(spec)
		pass(time.Minute)
		through("made anew", true)
	})
}
