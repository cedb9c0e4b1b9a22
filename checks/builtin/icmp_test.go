package builtin

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

// TestICMP goes through both sorts of sockets. The raw ones come first: a new
// namespace begins without groups that may open the others, and an ordinary
// user's has too few groups to be set back to that.
func TestICMP(t *testing.T) {
	for _, mode := range []struct{ name, groups, good string }{
		{"raw", nobodys, "127.0.0.1"},
		{"datagram", "0 0", "::1"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			allowGroups(t, mode.groups)
			checktest.Run(t, checktest.Subject{
				Kind: ICMP(), Timed: true,
				Good:     checks.Target{Address: mode.good},
				Refusing: &checks.Target{Address: noWay}, RefusingReason: checks.Unreachable,
				Silent: &checks.Target{Address: silentHost},
			})
			t.Run("replies", repliesOfICMP)
			t.Run("no reply", noReplyOfICMP)
			t.Run("nobody at home", nobodyAtHome)
		})
	}
}

// nobodys is the range that holds no group.
const nobodys = "1 0"

// allowGroups sets which groups of the tests' namespace may open datagram
// sockets for ICMP.
func allowGroups(t *testing.T, groups string) {
	t.Helper()
	const file = "/proc/sys/net/ipv4/ping_group_range"
	now, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	switch strings.Join(strings.Fields(string(now)), " ") {
	case groups:
		return
	case "65534 65534": // how an ordinary user's namespace shows groups that it has not
		if groups == nobodys {
			return
		}
	}
	if err := os.WriteFile(file, []byte(groups), 0); err != nil {
		t.Fatal(err)
	}
}

func repliesOfICMP(t *testing.T) {
	for _, to := range []string{"127.0.0.1", "::1", "[::1]", "localhost"} {
		r := check(t, ICMP(), checks.Target{Address: to, Options: map[string]any{"count": int64(5), "gap": "10ms", "size": int64(1000)}})
		expect(t, r, checks.OK, "", "")
		if r.Sent != 5 || r.Received != 5 || len(r.RTT) != 5 || r.Stamps != checks.KernelStamps {
			t.Errorf("%s: %+v", to, r)
		}
	}
}

func noReplyOfICMP(t *testing.T) {
	expect(t, check(t, ICMP(), checks.Target{Address: noWay}), checks.Failed, checks.Unreachable, checks.PhaseRoute)
	expect(t, check(t, ICMP(), checks.Target{Address: "avocet.invalid", Timeout: short}), checks.Failed, checks.NotResolved, checks.PhaseResolve)
	r := check(t, ICMP(), checks.Target{Address: silentHost, Timeout: short})
	expect(t, r, checks.Failed, checks.Timeout, checks.PhaseResponse)
	if r.Sent != 3 || r.Received != 0 {
		t.Errorf("got %+v", r)
	}
	r = check(t, ICMP(), checks.Target{Address: "127.0.0.1", Source: []netip.Addr{netip.MustParseAddr("203.0.113.9")}})
	expect(t, r, checks.Unknown, checks.SelfFault, checks.PhaseRoute)
}

// nobodyAtHome: nobody has that address on the link, so this host says that it
// is unreachable, a second later.
func nobodyAtHome(t *testing.T) {
	r := check(t, ICMP(), checks.Target{Address: "192.0.2.77", Options: map[string]any{"count": int64(2)}})
	expect(t, r, checks.Failed, checks.Unreachable, checks.PhaseRoute)
	if want := "192.0.2.1 says: no route to host"; r.Detail != want {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
}

func TestICMPRefusesTooLongABurst(t *testing.T) {
	_, err := ICMP().Make(checks.Target{Address: "192.0.2.1", Timeout: time.Second, Options: map[string]any{"count": int64(20), "gap": "100ms"}})
	if e, ok := errors.AsType[*checks.OptionError](err); !ok || e.Option != "count" {
		t.Errorf("got %v", err)
	}
}

// The link is told at once to somebody who asks for a run, and on a clock from the
// run after it was found out.
func TestICMPTellsItsLink(t *testing.T) {
	allowGroups(t, "0 0")
	for _, host := range []string{"127.0.0.1", "::1"} {
		once := check(t, ICMP(), checks.Target{Address: host, OneShot: true})
		if once.Path != "lo" || len(once.Steps) != 2 || once.Steps[1].Detail != "3 replies" {
			t.Errorf("%s, once: %+v", host, once)
		}
		c, err := ICMP().Make(checks.Target{Address: host, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); c.Run(t.Context()).Path != "lo"; {
			if time.Now().After(end) {
				t.Fatalf("%s: no link is told", host)
			}
		}
	}
}
