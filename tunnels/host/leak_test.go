package host

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// Promise 3: traffic whose tunnel is down is refused, never sent around it:
// between the end of a device, whichever way it comes, and its repair, nothing
// of the network arrives at the other end of the WAN in the clear.
func TestNothingLeaksWithoutADevice(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	converge(t, h, siteSpec)
	within(t, "hub", func() {
		hub, err := New(Options{Remember: "/run/hub.json", Uplinks: []string{"wan"}, Backend: backend(),
			Launcher: wireguard.Setsid{Program: program(t)}})
		must(t, err)
		defer hub.Close()
		converge(t, hub, hubSpec)
	})
	within(t, "hub", func() {
		sh(t, `nft 'add table inet watch; add chain inet watch c { type filter hook prerouting priority raw; }
			add rule inet watch c iifname "wan" ip daddr 198.51.100.0/24 counter; add rule inet watch c iifname "wan" udp dport 51820 counter'`)
	})
	clear := func() bool {
		return !strings.Contains(sh(t, "ip netns exec hub nft list table inet watch | grep 198.51.100.0"), "packets 0 ")
	}
	// All the while the LAN host asks the service a hundred times a second.
	sh(t, "ip netns exec pc ping -i 0.01 198.51.100.20 > /run/asked 2>&1 & echo $! > /run/asker")
	answers := func() int {
		text, err := os.ReadFile("/run/asked")
		must(t, err)
		return strings.Count(string(text), "bytes from 198.51.100.20")
	}
	reaches := func(when string) {
		t.Helper()
		before := answers()
		eventually(t, when+" the LAN host reaches the service", func() bool { return answers() > before })
	}
	refused := func() bool { // the kernel tells the LAN host only now and then
		return strings.Contains(sh(t, "ip route get 198.51.100.20 from 192.168.10.20 iif lan 2>&1 || true"), "No route to host")
	}
	reaches("at first")

	ends := []string{"ip link del gn-site", "ip link set gn-site down"}
	if backend() == wireguard.Userspace {
		p, ok := wireguard.Running("gn-site")
		if !ok {
			t.Fatal("gn-site has no data plane")
		}
		ends = append([]string{fmt.Sprintf("kill -9 %d", p.PID)}, ends...)
	}
	for _, end := range ends {
		sh(t, end)
		eventually(t, "after "+end+" the LAN host is refused", refused)
		converge(t, h, siteSpec)
		reaches("after " + end + " and a repair")
		if clear() {
			t.Fatalf("after %s packets crossed the WAN in the clear", end)
		}
	}
	if p, ok := wireguard.Running("gn-site"); ok { // one that hangs holds them back
		must(t, syscall.Kill(p.PID, syscall.SIGSTOP))
		if pings(t, "pc", "198.51.100.20") || clear() {
			t.Error("traffic goes on without its data plane")
		}
		must(t, syscall.Kill(p.PID, syscall.SIGCONT))
	}
	// The capture is not blind: without us the same packets cross the WAN.
	converge(t, h, tunnels.Spec{})
	sh(t, "echo 1 > /proc/sys/net/ipv4/ip_forward")
	eventually(t, "the capture sees packets in the clear", clear)
	must(t, exec.Command("sh", "-c", "kill $(cat /run/asker)").Run())
}
