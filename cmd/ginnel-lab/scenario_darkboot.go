package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// playDarkBoot boots a gateway with six tunnels in the dark: the collector and
// the resolver cannot be reached, and the name of one hub was never answered.
// The other five are up from the addresses that they had last, as soon as they
// are when all is well; the sixth says that it is its name, and is up when the
// resolver is back.
func playDarkBoot(ctx context.Context, s *stage) error {
	p := county.Apart().Only("avocet").ByHand()
	p.IPv6 = false
	for i := range p.Hubs {
		p.Hubs[i].Over6 = false // so that each is called by its name
	}
	for i := range p.Networks {
		p.Networks[i].Allow = nil // a LAN may ping the hubs themselves
	}
	c, err := buildCounty(ctx, p, "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	d := &darkness{stage: s, county: c, avocet: c.Site("avocet")}
	// Names are the resolver's to know, not a file's.
	if err := d.avocet.Node.WriteFile("/etc/hosts", "127.0.0.1\tlocalhost\n", 0o644); err != nil {
		return err
	}
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	if d.bright, err = d.avocet.Node.ReadFile(desired); err != nil {
		return err
	}
	if err := d.alternate(ctx); err != nil {
		return err
	}
	return d.lastGood(ctx)
}

// darkness is avocet, which boots.
type darkness struct {
	*stage
	county *county.County
	avocet *county.Site
	bright string  // its config
	silent []error // of the five, those that did not come up
}

// sixth is the hub whose name is broken, and the name that nobody ever asked for.
const sixth, newName = "hub-outer", "new.hub-outer.example.net"

// others are the overlay addresses of the other five, by who can ping them.
func (d *darkness) others() map[netip.Addr]*netns.Node {
	all := map[netip.Addr]*netns.Node{}
	for _, j := range d.avocet.Joins {
		for _, hub := range j.Hubs {
			if hub == sixth {
				continue
			}
			from := d.avocet.LAN
			if j.Ingress == "eth2" {
				from = d.avocet.LAN2
			}
			all[d.county.Hub(hub).Overlay[j.Network]] = from
		}
	}
	return all
}

// alternate boots in the dark and in the light, in turn.
func (d *darkness) alternate(ctx context.Context) error {
	var dark, bright []float64
	for i := range pick(d.stage, 20, 5) {
		one, other, err := inTurn(i,
			func() (float64, error) { return d.boot(ctx, true) },
			func() (float64, error) { return d.boot(ctx, false) })
		if err != nil {
			return err
		}
		dark, bright = append(dark, one), append(bright, other)
	}
	d.zero("of the other five tunnels not up", len(d.silent), "tunnels",
		strings.TrimSpace(fmt.Sprintf("in %d boots, half of them in the dark; the hub's own address answers the LAN\n%s", 2*len(dark), said(errors.Join(d.silent...)))))
	d.row(beside("from the agent's start until all five answer", "s", "a boot with everything well", atMost(1.1), dark, bright))
	return nil
}

// boot starts the agent on a host as after a reboot, and returns how many seconds
// later the last of the five answers. In the dark the names are not to be had.
func (d *darkness) boot(ctx context.Context, dark bool) (float64, error) {
	text := d.bright
	change := d.county.Heal
	if dark {
		text = d.darkConfig()
		change = d.county.Cut
	}
	if err := d.avocet.Node.WriteFile(desired, text, 0o644); err != nil {
		return 0, err
	}
	for _, line := range []string{"collector", "internet"} { // the resolver is on the internet
		if err := change(line); err != nil {
			return 0, err
		}
	}
	// The agent has taken the config before the boot, so it is the last good one.
	if _, err := d.avocet.Node.Run(ctx, "ginnel", "reload"); err != nil {
		return 0, err
	}
	if err := d.powerCut(ctx); err != nil {
		return 0, err
	}
	return d.start(ctx)
}

// darkConfig is the config with another name for the sixth hub.
func (d *darkness) darkConfig() string {
	return strings.Replace(d.bright, `"`+sixth+".example.net:", `"`+newName+":", 1)
}

// powerCut leaves the host as a boot finds it: nothing of ours but what the guard
// has put up from the last good config.
func (d *darkness) powerCut(ctx context.Context) error {
	if err := d.avocet.Kill9Agent(ctx); err != nil {
		return err
	}
	for _, words := range [][]string{{"cleanup"}, {"guard"}} {
		if _, err := d.avocet.Node.Run(ctx, append([]string{"ginnel"}, words...)...); err != nil {
			return err
		}
	}
	return nil
}

// start starts the agent and waits for the five.
func (d *darkness) start(ctx context.Context) (float64, error) {
	answers := make(chan error)
	others := d.others()
	waiting := within(ctx, time.Minute)
	began := time.Now()
	if err := d.avocet.StartAgent(); err != nil {
		return 0, err
	}
	for at, from := range others {
		go func() {
			_, err := firstEcho(waiting, from, "0.0.0.0", at)
			answers <- err
		}()
	}
	for range others {
		if err := <-answers; err != nil {
			d.silent = append(d.silent, err)
		}
	}
	return time.Since(began).Seconds(), context.Cause(ctx)
}

// lastGood boots in the dark without a config that can be read, looks what is
// said of the sixth tunnel, and gives the resolver back.
func (d *darkness) lastGood(ctx context.Context) error {
	if _, err := d.boot(ctx, true); err != nil { // which makes the dark config the last good one
		return err
	}
	if err := d.powerCut(ctx); err != nil {
		return err
	}
	if err := d.avocet.Node.WriteFile(desired, "gateway = \"avocet-1\n", 0o644); err != nil {
		return err
	}
	d.silent = nil
	took, err := d.start(ctx)
	if err != nil {
		return err
	}
	d.zero("of the other five not up from the last good config", len(d.silent), "tunnels",
		fmt.Sprintf("after %.2f s; desired.toml cannot be read", took))
	// A tunnel is down after three failures (1 s apart here).
	st, err := d.await(ctx, func(t block.TunnelSnapshot) bool { return t.State == checks.Down })
	if err != nil {
		return err
	}
	t, up := d.tunnel(st)
	// The name is to blame, or the resolver that does not answer it.
	d.holds("the sixth tells that it is its name", strings.Contains(t.Reason, newName) && (strings.HasPrefix(t.Code, "GN-NAME-") || t.WaitsFor == "resolver"),
		fmt.Sprintf("%s %s, waits for: %s", t.Reason, t.Code, cmp.Or(t.WaitsFor, "nothing")))
	d.row(result{Name: "tunnels up beside it, as status says", Value: float64(up), Unit: "tunnels", Aim: "5", Met: up == 5,
		Detail: strings.TrimSpace(st.Headline + " " + st.Code)})
	began := time.Now()
	if err := d.county.Heal("internet"); err != nil {
		return err
	}
	if _, err := d.await(ctx, func(t block.TunnelSnapshot) bool { return t.State == checks.Up }); err != nil {
		return err
	}
	back := time.Since(began).Seconds()
	d.row(result{Name: "sixth tunnel up after the resolver was back", Value: back, Unit: "s", Aim: "<= 75", Met: back <= 75,
		Detail: "a name that is not answered is asked for again after a minute at most"})
	return nil
}

// await polls the status until the sixth tunnel is as wanted. Agent.Await would
// not do: the agent refuses its desired.toml.
func (d *darkness) await(ctx context.Context, want func(block.TunnelSnapshot) bool) (block.Snapshot, error) {
	return awaitStatus(within(ctx, 2*time.Minute), d.avocet.Node, func(s block.Snapshot) bool {
		t, _ := d.tunnel(s)
		return want(t)
	})
}

// tunnel is the sixth in a status, and how many others are up there.
func (d *darkness) tunnel(s block.Snapshot) (t block.TunnelSnapshot, up int) {
	for _, x := range s.Tunnels {
		switch {
		case x.Hub == sixth:
			t = x
		case x.State == checks.Up:
			up++
		}
	}
	return t, up
}

// said is an error as text; nothing where there is none.
func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
