package host

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

// Who takes something of ours away is named, by its script; we ourselves are not.
func TestCulprit(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	woken := make(chan struct{}, 100)
	go func() { ended <- h.Watch(ctx, func() { woken <- struct{}{} }) }()
	<-woken
	converge(t, h, siteSpec)
	facts, err := h.Facts(ctx, siteSpec)
	must(t, err)
	want, _ := tunnels.Want(siteSpec, facts, literal)
	var rule, route, filter, device tunnels.Step
	for _, s := range tunnels.Plan(want, tunnels.State{}) {
		switch s.Kind {
		case tunnels.RuleKind:
			if s.Rule.Family == 4 {
				rule = s
			}
		case tunnels.RouteKind:
			if s.Route.Device != "" && s.Route.Prefix.Addr().Is4() {
				route = s
			}
		case tunnels.FilterKind:
			filter = s
		case tunnels.DeviceKind:
			device = s
		}
	}
	remove := func(s tunnels.Step) { // and put it back ourselves
		s.Op = tunnels.Remove
		must(t, h.Apply(ctx, s))
		s.Op = tunnels.Add
		must(t, h.Apply(ctx, s))
	}
	remove(rule)
	remove(route)
	remove(filter)
	time.Sleep(200 * time.Millisecond)
	for _, s := range []tunnels.Step{rule, route, filter, device} {
		if who := h.Culprit(s); who != "" {
			t.Errorf("%s: we name %q for what we did", s.Kind, who)
		}
	}

	must(t, os.WriteFile("/run/fight.sh", []byte("eval \"$1\"\n"), 0o755))
	for _, c := range []struct {
		step     tunnels.Step
		do, want string
	}{
		{rule, "ip rule del priority " + strconv.Itoa(rule.Rule.Priority), "ip (pid "},
		{route, "ip route del " + route.Route.Prefix.String() + " table 7001", "ip (pid "},
		{filter, "nft delete table inet ginnel_kestrel", "nft"},
	} {
		// ip(8) ends so soon that it is not always seen: a fight has many rounds.
		who := ""
		for round := 0; round < 20 && !strings.Contains(who, "started by fight.sh"); round++ {
			sh(t, "sh /run/fight.sh '"+c.do+"'")
			eventually(t, "it wakes", func() bool { <-woken; return true })
			time.Sleep(50 * time.Millisecond)
			who = h.Culprit(c.step)
			c.step.Op = tunnels.Add
			must(t, h.Apply(ctx, c.step))
		}
		if !strings.HasPrefix(who, c.want) || c.step.Kind != tunnels.FilterKind && !strings.Contains(who, "started by fight.sh") {
			t.Errorf("%s: %q is named", c.do, who)
		}
		t.Logf("%s: %s", c.do, who)
	}
	cancel()
	must(t, <-ended)
}

// What runs here is a suspect where nobody was seen, unless it is told to leave
// what is others'.
func TestLikelyCulprit(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	sh(t, "mount -t tmpfs none /etc/systemd; mkdir /etc/systemd/networkd.conf.d")
	rule := tunnels.Step{Kind: tunnels.RuleKind, Rule: &tunnels.Rule{Family: 4, Priority: 5000}}
	if who := h.Culprit(rule); who != "" {
		t.Errorf("nobody else is here, and %q is named", who)
	}
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	pretend := func(name string) {
		path := filepath.Join("/run", name)
		sh(t, "cp "+sleep+" "+path)
		cmd := exec.CommandContext(t.Context(), path, "60")
		must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	pretend("tailscaled")
	if who := h.Culprit(rule); who != "probably tailscaled: another WireGuard agent: part the two, or stop it" {
		t.Errorf("%q is named", who)
	}
	pretend("systemd-networkd")
	const setting = "ManageForeignRoutingPolicyRules=no"
	if who := h.Culprit(rule); !strings.HasPrefix(who, "probably systemd-networkd: "+setting) {
		t.Errorf("%q is named", who)
	}
	must(t, os.WriteFile("/etc/systemd/networkd.conf.d/50-leave.conf", []byte("[Network]\n"+setting+"\n"), 0o644))
	if who := h.Culprit(rule); strings.Contains(who, "networkd") {
		t.Errorf("%q is named, which leaves the rules of others", who)
	}
	if who := h.Culprit(tunnels.Step{Kind: tunnels.FilterKind, Filter: &tunnels.Filter{Table: "ginnel_x"}}); who != "" {
		t.Errorf("for an nftables table %q is named", who)
	}
}
