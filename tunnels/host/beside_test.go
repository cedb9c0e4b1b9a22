package host

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// A network whose prefix swallows an address takes this host's own connections
// to it; a marked socket gets there all the same, and leaves no rule behind.
func TestMarkedSocketPassesOurTablesBy(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	sh(t, "ip link set lo up")
	sh(t, "ip link add wan0 type veth peer name far0")
	sh(t, "ip addr add 192.0.2.129/24 dev wan0")
	sh(t, "ip link set wan0 up")
	sh(t, "ip link set far0 up")
	to := netip.MustParseAddr("192.0.2.40")
	if way := h.OwnWay(to); way != "wan0, table 254" {
		t.Errorf("before: %q", way)
	}
	// as a network does, on one arm: what has our address goes into its table
	sh(t, "ip rule add from 192.0.2.0/24 lookup 7101 priority 5000 protocol 103")
	sh(t, "ip route add unreachable 192.0.2.40/32 table 7101 proto 103")
	if way := h.OwnWay(to); way != "refused" {
		t.Errorf("swallowed: %q", way)
	}
	sent := func(control func(string, string, syscall.RawConn) error) error {
		d := net.Dialer{Control: control, Timeout: time.Second}
		c, err := d.DialContext(t.Context(), "udp", "192.0.2.40:9") // a route is looked up, nothing is sent
		if err == nil {
			c.Close()
		}
		return err
	}
	if sent(nil) == nil {
		t.Fatal("the rule does not swallow")
	}
	before, err := h.rules()
	must(t, err)
	must(t, h.Beside(t.Context(), func(_ context.Context, mark func(string, string, syscall.RawConn) error) error {
		if err := sent(mark); err != nil {
			t.Errorf("a marked socket: %v", err)
		}
		if sent(nil) == nil {
			t.Error("another socket passes too")
		}
		if during, err := h.rules(); err != nil || len(during) != len(before) {
			t.Errorf("while it is open the rules are %v, %v: it would be swept", during, err)
		}
		return nil
	}))
	after, err := h.rules()
	must(t, err)
	if len(after) != len(before) {
		t.Errorf("left behind: %v", after)
	}
	// as after a crash: it is seen as ours, and not wanted
	sh(t, "ip rule add fwmark 0x676e lookup main priority 4999 protocol 103")
	if left, err := h.rules(); err != nil || len(left) != len(before)+1 {
		t.Errorf("what a crash left is not seen: %v, %v", left, err)
	}
}
