package county

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// County is a county that stands: nodes, lines and services. Its programs run
// after Up.
type County struct {
	Plan      Plan
	Sites     []*Site
	Hubs      []*Hub
	Collector *Collector
	Internet  *netns.Node
	Signers   []string // lines of the operators' keys, in every site pack; none: nothing can be pushed

	provider *netns.Node // routes among all lines
	nodes    map[string]*netns.Node
	lines    map[string]*wan.Link
	logs     string // folder
	services serviceSet
}

// Site is a site: its gateway, and a host on each of its LANs.
type Site struct {
	SitePlan
	*Agent
	LAN, LAN2 *netns.Node // the second: nil unless the plan has it
	Line      *wan.Link   // nil while it is not plugged in
}

// Hub is a hub, with a host of each network behind it.
type Hub struct {
	HubPlan
	*Agent
	Line *wan.Link
}

// Build makes the nodes, cables, lines, routes and services of a plan. Logs of
// its programs go to the folder logs. It must be called inside a box.
func Build(ctx context.Context, p Plan, logs string) (*County, error) {
	c := &County{Plan: p, logs: logs, nodes: map[string]*netns.Node{}, lines: map[string]*wan.Link{}}
	c.services.places = p.places()
	var err error
	if c.services.certificate, err = newCertificate(); err != nil {
		return nil, err
	}
	if c.provider, err = c.node("provider"); err != nil {
		return nil, err
	}
	if err := c.forwards(c.provider); err != nil {
		return nil, err
	}
	steps := []func() error{c.buildInternet, c.buildCollector}
	for _, h := range p.Hubs {
		steps = append(steps, func() error { return c.buildHub(h) })
	}
	for _, s := range p.Sites {
		steps = append(steps, func() error { return c.buildSite(s) })
	}
	for _, step := range steps {
		if err := step(); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close ends programs, services and lines, in this order, so that no log ends
// with a line that vanished. Nodes and data planes end with the box.
func (c *County) Close() {
	for _, p := range c.programs() {
		_ = p.signal(context.Background(), syscall.SIGKILL, true) // most were not started, or ended
	}
	c.services.close()
	for _, l := range c.lines {
		l.Close()
	}
}

func (c *County) programs() []*program {
	var all []*program
	if c.Collector != nil {
		all = append(all, c.Collector.program)
	}
	for _, h := range c.Hubs {
		all = append(all, h.program)
	}
	for _, s := range c.Sites {
		all = append(all, s.program)
	}
	return all
}

func (c *County) node(name string) (*netns.Node, error) {
	n, err := netns.New(name, c.hosts(name), InternetAddress.String())
	if err != nil {
		return nil, err
	}
	if !c.Plan.IPv6 {
		// Without this the captures are full of neighbour discovery. Where the
		// kernel has no IPv6 at all there is nothing to do.
		_ = n.Sysctl("net.ipv6.conf.default.disable_ipv6", "1")
	}
	c.nodes[name] = n
	return n, nil
}

// forwards makes a node a router.
func (c *County) forwards(n *netns.Node) error {
	if err := n.Sysctl("net.ipv4.ip_forward", "1"); err != nil || !c.Plan.IPv6 {
		return err
	}
	return n.Sysctl("net.ipv6.conf.all.forwarding", "1")
}

// end is one end of a cable, with an address of each family that the plan has.
func (c *County) end(n *netns.Node, link string, a netip.Prefix) netns.End {
	e := netns.End{Node: n, Link: link, Addr: a}
	if c.Plan.IPv6 {
		e.Addr6 = SixPrefix(a)
	}
	return e
}

// route sends dst, or everything where dst is zero, via a neighbour, in each
// family that the plan has.
func (c *County) route(n *netns.Node, dst netip.Prefix, via netip.Addr) error {
	if err := n.Route(dst, via); err != nil || !c.Plan.IPv6 {
		return err
	}
	if dst.IsValid() {
		dst = SixPrefix(dst)
	}
	return n.Route(dst, Six(via))
}

// serve starts the lab's servers at a host.
func (c *County) serve(n *netns.Node, at netip.Addr) error {
	if err := c.services.start(n, at); err != nil || !c.Plan.IPv6 {
		return err
	}
	return c.services.start(n, Six(at))
}

// hosts is a node's /etc/hosts.
func (c *County) hosts(self string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "127.0.0.1\tlocalhost %s\n", self)
	places := c.Plan.places()
	for _, name := range sortedKeys(places) {
		fmt.Fprintf(&b, "%s\t%s\n", places[name], name)
	}
	return b.String()
}

// places are the addresses of names outside.
func (p Plan) places() map[string]netip.Addr {
	places := map[string]netip.Addr{"collector.example.net": CollectorAddress, "internet.example.net": InternetAddress}
	for _, h := range p.Hubs {
		places[h.Name+".example.net"] = h.Address
	}
	return places
}

// line joins a node to the provider by a line of its own, a /31 (RFC 3021),
// with the default route through it.
func (c *County) line(n *netns.Node, name string, at netip.Addr, what wan.Line) (*wan.Link, error) {
	near := c.end(n, "eth0", netip.PrefixFrom(at, 31))
	far := c.end(c.provider, "isp-"+name, netip.PrefixFrom(partner(at), 31))
	nearPort, err := near.Tap()
	if err != nil {
		return nil, err
	}
	farPort, err := far.Tap()
	if err != nil {
		return nil, err
	}
	l := wan.Join(name, nearPort, farPort)
	l.Set(what)
	c.lines[name] = l
	if err := near.Neighbour(far); err != nil {
		return nil, err
	}
	if err := far.Neighbour(near); err != nil {
		return nil, err
	}
	return l, c.route(n, netip.Prefix{}, far.Addr.Addr())
}

// partner is the other address of a /31.
func partner(a netip.Addr) netip.Addr {
	b := a.As4()
	b[3] ^= 1
	return netip.AddrFrom4(b)
}

func (c *County) buildInternet() (err error) {
	if c.Internet, err = c.node("internet"); err != nil {
		return err
	}
	if _, err = c.line(c.Internet, "internet", InternetAddress, wan.Line{}); err != nil {
		return err
	}
	return c.serve(c.Internet, InternetAddress)
}

func (c *County) buildCollector() error {
	n, err := c.node("collector")
	if err != nil {
		return err
	}
	l, err := c.line(n, "collector", CollectorAddress, wan.Line{})
	c.Collector = &Collector{Node: n, Line: l, program: c.program(n)}
	return err
}

func (c *County) buildHub(p HubPlan) error {
	n, err := c.node(p.Name)
	if err != nil {
		return err
	}
	h := &Hub{HubPlan: p, Agent: c.agent(p.Name, n)}
	if h.Line, err = c.line(n, p.Name, p.Address, wan.Line{Delay: p.Delay}); err != nil {
		return err
	}
	c.Hubs = append(c.Hubs, h)
	for i, network := range c.Plan.NetworksOf(p) {
		if err := c.buildService(h, network, i+1); err != nil {
			return err
		}
	}
	return nil
}

// buildService puts the host of one network behind a hub, on the hub's link
// eth<number>.
func (c *County) buildService(h *Hub, network NetworkPlan, number int) error {
	host, err := c.node(h.HubPlan.Name + "-" + network.Name)
	if err != nil {
		return err
	}
	bits := network.Services.Bits()
	router := network.Services.Addr().Next()
	err = netns.Cable(
		c.end(h.Node, fmt.Sprintf("eth%d", number), netip.PrefixFrom(router, bits)),
		c.end(host, "eth0", netip.PrefixFrom(network.Service, bits)))
	if err != nil {
		return err
	}
	if err := c.route(host, netip.Prefix{}, router); err != nil {
		return err
	}
	return c.serve(host, network.Service)
}

// buildSite puts the gateway in line: it is the LAN's router, and forwarded
// before Ginnel came.
func (c *County) buildSite(p SitePlan) error {
	gateway, err := c.node(p.Name)
	if err != nil {
		return err
	}
	if err := c.forwards(gateway); err != nil {
		return err
	}
	s := &Site{SitePlan: p, Agent: c.agent(p.Gateway(), gateway)}
	if s.LAN, err = c.node(p.Name + "-lan"); err != nil {
		return err
	}
	if p.LAN2.IsValid() {
		if s.LAN2, err = c.node(p.Name + "-lan2"); err != nil {
			return err
		}
	}
	c.Sites = append(c.Sites, s)
	if p.Unplugged {
		return nil
	}
	return c.Plug(s)
}

// Plug puts a site's cables in. The provider routes its LANs back, so no NAT is
// needed.
func (c *County) Plug(s *Site) (err error) {
	if s.Line, err = c.line(s.Node, s.Name(), s.WAN(), wan.Line{Delay: s.Delay}); err != nil {
		return err
	}
	if err := c.plugLAN(s, "eth1", s.LAN, s.SitePlan.LAN); err != nil || s.LAN2 == nil {
		return err
	}
	return c.plugLAN(s, "eth2", s.LAN2, s.SitePlan.LAN2)
}

func (c *County) plugLAN(s *Site, link string, host *netns.Node, lan netip.Prefix) error {
	if err := c.route(c.provider, lan, s.WAN()); err != nil {
		return err
	}
	err := netns.Cable(
		c.end(s.Node, link, netip.PrefixFrom(routerOf(lan), lan.Bits())),
		c.end(host, "eth0", netip.PrefixFrom(hostOf(lan), lan.Bits())))
	if err != nil {
		return err
	}
	return c.route(host, netip.Prefix{}, routerOf(lan))
}

// Node finds a node by its name; "avocet-1" is "avocet".
func (c *County) Node(name string) (*netns.Node, error) {
	if n, ok := c.nodes[strings.TrimSuffix(name, "-1")]; ok {
		return n, nil
	}
	return nil, fmt.Errorf("no node %q; there are %s", name, strings.Join(sortedKeys(c.nodes), " "))
}

// Nodes are all of them.
func (c *County) Nodes() []*netns.Node {
	var all []*netns.Node
	for _, name := range sortedKeys(c.nodes) {
		all = append(all, c.nodes[name])
	}
	return all
}

// Line finds a line by the name of its place.
func (c *County) Line(name string) (*wan.Link, error) {
	if l, ok := c.lines[strings.TrimSuffix(name, "-1")]; ok {
		return l, nil
	}
	return nil, fmt.Errorf("no line to %q; there are %s", name, strings.Join(sortedKeys(c.lines), " "))
}

// Site finds a site that must be there; scenarios know their plan.
func (c *County) Site(name string) *Site {
	for _, s := range c.Sites {
		if s.SitePlan.Name == name {
			return s
		}
	}
	panic("no site " + name + " in this county")
}

// Hub is Site for hubs.
func (c *County) Hub(name string) *Hub {
	for _, h := range c.Hubs {
		if h.HubPlan.Name == name {
			return h
		}
	}
	panic("no hub " + name + " in this county")
}

// Cut cuts the line of a place; Heal gives it back what the plan says.
func (c *County) Cut(name string) error {
	return c.change(name, func(l *wan.Line) { l.Cut = true })
}

// Heal undoes Cut, and any loss and added delay.
func (c *County) Heal(name string) error {
	var delay wan.Line
	for _, s := range c.Plan.Sites {
		if s.Name == name {
			delay.Delay = s.Delay
		}
	}
	for _, h := range c.Plan.Hubs {
		if h.Name == name {
			delay.Delay = h.Delay
		}
	}
	return c.change(name, func(l *wan.Line) { *l = delay })
}

// Impair changes what a line does.
func (c *County) Impair(name string, f func(*wan.Line)) error { return c.change(name, f) }

func (c *County) change(name string, f func(*wan.Line)) error {
	l, err := c.Line(name)
	if err != nil {
		return err
	}
	line := l.Line()
	f(&line)
	l.Set(line)
	return nil
}

func (c *County) logFile(name string) string { return filepath.Join(c.logs, name+".log") }
