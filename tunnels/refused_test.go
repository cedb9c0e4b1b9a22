package tunnels_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// What was refused is counted on, whoever replaces the table: Status never shows
// less than before, and nothing from before the start.
func TestRefusedIsCountedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		refuse := func(packets uint64) { // as the counters of kestrel's table then stand
			r.host.Change(func(s *tunnels.State) {
				for i := range s.Filters {
					if s.Filters[i].Table == "ginnel_kestrel" {
						s.Filters[i].Refused = []tunnels.Refusal{{Rule: tunnels.RefusedIntoLAN, Packets: packets / 2, Bytes: 50 * packets},
							{Rule: tunnels.RefusedIntoLAN, Packets: packets - packets/2, Bytes: 50 * packets}, {Rule: tunnels.RefusedPort}}
					}
				}
			})
			pass(10 * time.Second)
		}
		shows := func(when string, packets uint64) {
			t.Helper()
			want := fmt.Sprint([]tunnels.Refusal{{Rule: tunnels.RefusedIntoLAN, Packets: packets, Bytes: 100 * packets}})
			for _, s := range r.Status() {
				got, want := fmt.Sprint(s.Refused), map[bool]string{true: want, false: "[]"}[s.Network == "kestrel" && packets > 0]
				if got != want {
					t.Errorf("%s: %s shows %s, want %s", when, s.Device, got, want)
				}
			}
		}
		pass(time.Minute)
		shows("at first", 0)
		refuse(10)
		shows("after ten", 10)
		refuse(10)
		shows("after no more", 10)
		spec := site()
		spec.Networks[0].Devices[0].ListenPort = 51899 // makes another table
		r.Set(spec)
		pass(10 * time.Second)
		shows("with a new table", 10)
		refuse(25)
		shows("after 25 more, though the new table's count is beyond the old", 35)
		refuse(5)
		shows("after somebody replaced the table, and five", 40)
		r.host.Change(func(s *tunnels.State) { s.Filters = nil })
		pass(10 * time.Second)
		refuse(7)
		shows("after somebody removed it, and seven", 47)
		r.stop()

		again := start(t, r.host, spec)
		defer again.stop()
		r = again
		pass(10 * time.Second)
		shows("after a restart", 0)
		refuse(9)
		shows("after a restart, and two", 2)
	})
}
