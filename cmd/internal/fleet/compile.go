package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/tunnels"
)

// Desired is the config that a gateway should run.
type Desired struct {
	Gateway string
	Waiting []Waiting // what is left out until a key is there
	Reasons []Reason  // which rows it came from

	pushed string // what only a pushed one has besides its generation
	body   string
}

// Waiting is a tunnel that is left out of both its ends until a key is there.
type Waiting struct {
	Network string
	Peer    string // the other end; empty: all of them, for the gateway's own key
	For     string // the gateway whose key is not there
}

// Reason is where a part of a config comes from.
type Reason struct {
	Part  string   // "kestrel", "kestrel, avocet-1", "check records"
	Where []string // "attachments.csv:2"
}

// Text is the config as TOML, with a generation; 0: as by hand, without one. The
// same files make the same text.
func (d Desired) Text(generation uint64) []byte {
	head := "gateway = " + config.Literal(d.Gateway) + "\n"
	if generation > 0 {
		head += fmt.Sprintf("generation = %d\n", generation)
	}
	return []byte(head + d.pushed + d.body)
}

// Compile makes a gateway's config. Its error is config.Problems.
func (f *Fleet) Compile(gateway string) (Desired, error) {
	g, ok := f.Gateway(gateway)
	if !ok {
		return Desired{}, config.Problems{{File: sitesFile, Message: fmt.Sprintf("there is no gateway %s in this fleet", config.Show(gateway))}}
	}
	c := compiling{f: f, g: g, d: Desired{Gateway: gateway, pushed: f.pushedPart()}, tables: map[int]bool{}, devices: map[string]bool{}}
	c.where(gateway, c.home())
	if g.Hub {
		c.hub(&f.Hubs[g.place])
	} else {
		c.site(&f.Sites[g.place])
	}
	c.d.body = c.out.String() + f.manners
	// The gateway's own rules have the last word: what it would refuse is
	// never pushed.
	if _, err := config.Parse(gateway, c.d.Text(0)); err != nil {
		return Desired{}, c.refused(err)
	}
	return c.d, nil
}

// CompileAll makes the configs of all gateways, in their order. Its error is
// config.Problems, of all of them; what several have is told once.
func (f *Fleet) CompileAll() ([]Desired, error) {
	all, errs := make([]Desired, len(f.gateways)), make([]error, len(f.gateways))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(all); i = next.Add(1) - 1 {
				all[i], errs[i] = f.Compile(f.gateways[i].Name)
			}
		})
	}
	wg.Wait()
	var found config.Problems
	told := map[config.Problem]bool{}
	for _, err := range errs {
		ps, _ := errors.AsType[config.Problems](err)
		for _, p := range ps {
			if !told[p] {
				told[p], found = true, append(found, p)
			}
		}
	}
	if len(found) > 0 {
		return nil, found
	}
	return all, nil
}

// pushedPart is what all pushed configs of a fleet share.
func (f *Fleet) pushedPart() string {
	var b strings.Builder
	if len(f.Signers) > 0 {
		b.WriteString("signers = [\n")
		for _, s := range f.Signers {
			b.WriteString("  " + config.Literal(s) + ",\n")
		}
		b.WriteString("]\n")
	}
	if len(f.Collector) > 0 {
		b.WriteString("collector = " + config.Literal(f.Collector) + "\n")
	}
	if f.Trial != 0 {
		b.WriteString("trial = " + config.Literal(config.Tell(f.Trial)) + "\n")
	}
	return b.String()
}

// compiling is one gateway's config that is being written.
type compiling struct {
	f       *Fleet
	g       Gateway
	d       Desired
	out     strings.Builder
	tables  map[int]bool    // that are used up
	devices map[string]bool // that are used up
	through []string        // networks that are in it
	chosen  []Check         // that are in it
}

func (c *compiling) put(key string, v any) {
	c.out.WriteString(key + " = " + config.Literal(v) + "\n")
}

func (c *compiling) head(name string) { c.out.WriteString("\n[[" + name + "]]\n") }

func (c *compiling) where(part string, places ...string) {
	c.d.Reasons = append(c.d.Reasons, Reason{part, places})
}

// home is where the gateway itself is from.
func (c *compiling) home() string {
	if c.g.Hub {
		return at(tomlFile, c.f.Hubs[c.g.place].table.Line(""))
	}
	return at(sitesFile, c.f.Sites[c.g.place].line)
}

// network begins a [[network]].
func (c *compiling) network(n *Network, role tunnels.Role, lan []netip.Prefix) {
	c.through = append(c.through, n.Name)
	c.head("network")
	c.put("name", n.Name)
	if role == tunnels.Hub {
		c.put("role", string(role))
	}
	c.put("address", []netip.Prefix{c.f.address[end{c.g.Name, n.Name}]})
	if len(lan) > 0 {
		c.put("lan", lan)
	}
	if n.MTU != 0 {
		c.put("mtu", n.MTU)
	}
	if n.Probe != 0 {
		c.put("probe_interval", config.Tell(n.Probe))
	}
	if derived := tunnels.TableNumber(n.Name); c.tables[derived] {
		for c.tables[derived] {
			derived++
		}
		c.put("table", derived)
		c.tables[derived] = true
	} else {
		c.tables[derived] = true
	}
	if may := c.mayCover(n); len(may) > 0 {
		c.put("may_cover", may)
	}
}

// mayCover is the network's own, and that of the site's rows.
func (c *compiling) mayCover(n *Network) []string {
	may := slices.Clone(n.MayCover)
	if m := c.f.memberAt[end{c.g.Name, n.Name}]; m != nil {
		for _, l := range m.lans {
			may = append(may, l.MayCover...)
		}
	}
	slices.Sort(may)
	return slices.Compact(may)
}

// device writes the name of a link where the derived one is used up.
func (c *compiling) device(network, hub string) {
	name := tunnels.DeviceName(network, hub)
	for i := 1; c.devices[name]; i++ {
		if name = tunnels.DeviceName(network, fmt.Sprintf("%s-%d", cmp.Or(hub, "hub"), i)); !c.devices[name] {
			c.put("device", name)
		}
	}
	c.devices[name] = true
}

// allow writes those that concern the gateway.
func (c *compiling) allow(n *Network, concerns func(side string) bool) {
	for _, a := range n.Allow {
		if !concerns(a.From) && !concerns(a.To) {
			continue
		}
		c.head("network.allow")
		c.put("from", a.From)
		c.put("to", a.To)
		if len(a.Ports) > 0 {
			c.put("ports", a.Ports)
		}
	}
}

// checks writes those that choose the gateway; one whose network waits for a key
// waits with it.
func (c *compiling) checks(chosen func(Check) bool) {
	for _, k := range c.f.Checks {
		if !chosen(k) || k.Network != "" && !slices.Contains(c.through, k.Network) {
			continue
		}
		c.head("check")
		c.chosen = append(c.chosen, k)
		c.out.WriteString(k.text)
		c.where("check "+k.Name, at(tomlFile, k.table.Line("")))
	}
}

func (c *compiling) wait(network, peer, who string) {
	c.d.Waiting = append(c.d.Waiting, Waiting{network, peer, who})
}

// refused tells what the gateway would refuse, at the row that it comes from.
func (c *compiling) refused(err error) error {
	file, line := sitesFile, 0
	if c.g.Hub {
		file, line = tomlFile, c.f.Hubs[c.g.place].table.Line("")
	} else {
		line = c.f.Sites[c.g.place].line
	}
	var all config.Problems
	list, ok := errors.AsType[config.Problems](err)
	if !ok {
		return err
	}
	for _, p := range list {
		if at, ok := c.ofCheck(p); ok {
			all = append(all, at)
			continue
		}
		all = append(all, config.Problem{File: file, Line: line, Path: c.g.Name, Hint: p.Hint,
			Message: "its config would be refused: " + strings.TrimPrefix(p.OneLine(), c.g.Name+":")})
	}
	return all
}

// ofCheck places a problem of the checks together at the one where it was found;
// false: it is of none.
func (c *compiling) ofCheck(p config.Problem) (config.Problem, bool) {
	var i int
	var key string
	if n, _ := fmt.Sscanf(p.Path, "check[%d].%s", &i, &key); n < 2 || i >= len(c.chosen) {
		return p, false
	}
	at := c.chosen[i].table.At(key, -1)
	at.Message, at.Hint = p.Message, p.Hint
	return at, true
}
