package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/host"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// benchChange gives one site of a hub a prefix more, or takes it away again, and
// takes the time from the plan to the last write; in alternation wg syncconf does
// so on the same device.
func benchChange(ctx context.Context, s *stage) error {
	for _, sites := range pick(s, []crowd{1000, 10000}, []crowd{200}) {
		p, err := newHub(ctx, s, sites)
		if err != nil {
			return err
		}
		// What writes to a host does it to its own namespaces: a process of its own.
		out, err := p.hub.Run(ctx, "/proc/self/exe", boxChange, fmt.Sprint(int(sites)), fmt.Sprint(pick(s, 20, 3)))
		if err != nil {
			return err
		}
		var c changes
		if err := json.Unmarshal([]byte(out), &c); err != nil {
			return fmt.Errorf("what %s printed: %w", boxChange, err)
		}
		r := beside(fmt.Sprintf("one site of %d changed, from the plan to the device", sites), "ms", "wg syncconf", atMost(0.2), c.Ours, c.Theirs)
		r.Detail += fmt.Sprintf("; of ours the plan is %.3g ms", spreadOf(c.Plan).Median)
		s.row(r)
	}
	return nil
}

// changes are what the process prints: milliseconds. Plan is a part of Ours.
type changes struct{ Ours, Theirs, Plan []float64 }

// runChange is that process: NUMBER of sites, PAIRS.
func runChange(args []string) int {
	err := func() error {
		sites, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		pairs, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		c, err := newChanger(crowd(sites))
		if err != nil {
			return err
		}
		var found changes
		for i := range pairs {
			// Each adds the prefix in one turn and takes it away in the next.
			us, them, err := inTurn(i, func() (float64, error) { return c.ours() }, func() (float64, error) { return c.plain() })
			if err != nil {
				return err
			}
			found.Ours, found.Theirs, found.Plan = append(found.Ours, us), append(found.Theirs, them), append(found.Plan, c.plan)
		}
		return json.NewEncoder(os.Stdout).Encode(found)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// changer has a hub's device with all its sites.
type changer struct {
	sites   crowd
	spec    tunnels.Spec
	private key.Private
	host    *host.Host
	more    bool    // the changed site has one prefix more
	plan    float64 // ms that the last plan took
}

// changed is the site that is changed.
const changed = 42

func newChanger(sites crowd) (*changer, error) {
	c := &changer{sites: sites, private: key.NewPrivate()}
	parsed, err := config.Parse("desired.toml", []byte(sites.config()))
	if err != nil {
		return nil, err
	}
	if c.spec, err = parsed.Spec(func(string) (key.Private, error) { return c.private, nil }); err != nil {
		return nil, err
	}
	c.host, err = host.New(host.Options{Remember: "/run/remember.json", Backend: wireguard.Userspace,
		Launcher: wireguard.Setsid{Program: netns.Bin + "/ginnel-dataplane"}})
	if err != nil {
		return nil, err
	}
	m := &tunnels.Manager{Host: c.host}
	m.Set(c.spec)
	return c, m.Withdraw(context.Background(), tunnels.All)
}

// states are what is to be with or without the prefix, and what is there.
func (c *changer) states(ctx context.Context, more bool) (want, have tunnels.State, err error) {
	// A look that a busy data plane is late for shows what it said before.
	var looked error
	err = eventually(ctx, 20*time.Second, func() bool {
		have, looked = c.host.Observe(ctx)
		return looked != nil || c.hasMore(have) == c.more
	})
	if err = errors.Join(looked, err); err != nil {
		return want, have, err
	}
	facts, err := c.host.Facts(ctx, c.spec)
	if err != nil {
		return want, have, err
	}
	facts.Ports = map[string]int{crowdDevice: crowdPort}
	peer := &c.spec.Networks[0].Devices[0].Peers[changed]
	prefixes := c.sites.prefixes(changed)
	peer.AllowedIPs = prefixes[:]
	if more {
		peer.AllowedIPs = append(peer.AllowedIPs, one)
	}
	want, _ = tunnels.Want(c.spec, facts, func(string) []netip.AddrPort { return nil })
	return want, have, nil
}

// hasMore tells whether the changed site has the prefix.
func (c *changer) hasMore(have tunnels.State) bool {
	site := c.spec.Networks[0].Devices[0].Peers[changed].PublicKey
	for _, d := range have.Devices {
		for _, p := range d.Peers {
			if p.PublicKey == site {
				return slices.Contains(p.AllowedIPs, one)
			}
		}
	}
	return false
}

// ours is what the agent does from the plan on.
func (c *changer) ours() (ms float64, err error) {
	ctx := context.Background()
	want, have, err := c.states(ctx, !c.more)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	steps := tunnels.Plan(want, have)
	c.plan = float64(time.Since(began).Microseconds()) / 1e3
	for _, s := range steps {
		for _, w := range s.Writes() {
			if err := c.host.Apply(ctx, w); err != nil {
				return 0, err
			}
		}
	}
	took := time.Since(began)
	c.more = !c.more
	if len(steps) != 1 {
		return 0, fmt.Errorf("%d steps, not one: %s", len(steps), tunnels.FormatPlan(nil, steps))
	}
	return float64(took.Microseconds()) / 1e3, nil
}

// plain is wg syncconf of the whole file. It knows nothing of routes: those
// follow after the time was taken.
func (c *changer) plain() (ms float64, err error) {
	more := -1
	if !c.more {
		more = changed
	}
	bytes := c.private.Bytes()
	private := base64.StdEncoding.EncodeToString(bytes[:])
	if err := os.WriteFile("/run/sync.conf", []byte(c.sites.wgConfig(private, crowdPort, more)), 0o600); err != nil {
		return 0, err
	}
	began := time.Now()
	if out, err := exec.Command("wg", "syncconf", crowdDevice, "/run/sync.conf").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("wg syncconf: %w: %s", err, out)
	}
	took := time.Since(began)
	c.more = !c.more
	want, have, err := c.states(context.Background(), c.more)
	if err != nil {
		return 0, err
	}
	for _, s := range tunnels.Plan(want, have) {
		if s.Kind == tunnels.PeerKind && len(s.Writes()) == 1 {
			return 0, fmt.Errorf("wg syncconf left %s to do", s.Text)
		}
		for _, w := range s.Writes() {
			if err := c.host.Apply(context.Background(), w); err != nil {
				return 0, err
			}
		}
	}
	return float64(took.Microseconds()) / 1e3, nil
}
