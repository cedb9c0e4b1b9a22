package tunnels_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// A device that never tells preshared keys gets ours once more after a restart of
// the agent, which cannot know them, and never again: a write that leaves the
// session as it is. One that tells them gets nothing.
func TestPresharedKeyAcrossRestarts(t *testing.T) {
	for silent, want := range map[bool]string{true: "kestrel: ~ peer hub-north preshared key\n", false: ""} {
		synctest.Test(t, func(t *testing.T) {
			spec := site()
			spec.Networks[0].Devices[0].Peers[0].PresharedKey = worldSecrets[1]
			h := &tunnelstest.Host{Silent: silent}
			r := start(t, h, spec)
			pass(time.Minute)
			r.stop()
			for range 3 {
				h.Take()
				r = start(t, h, spec)
				pass(time.Hour)
				steps := h.Take()
				if got := lines(steps); got != want {
					t.Errorf("silent %v: a restart makes\n%s", silent, got)
				}
				for _, s := range steps {
					if s.Fields != (tunnels.PeerFields{Preshared: true}) || !s.Peer.PresharedKey.Equal(worldSecrets[1]) {
						t.Errorf("silent %v: more than the key is written: %+v", silent, s.Fields)
					}
				}
				if n := r.log.count("put back"); n != 0 {
					t.Errorf("silent %v: it is taken for a repair:\n%s", silent, r.log)
				}
				r.stop()
			}
		})
	}
}
