package fleet

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Defaults of [rollout], and its bounds.
const (
	defaultPauseGateways = 1
	defaultPauseShare    = 0.02
	defaultPauseWithin   = 10 * time.Minute

	hubsRing  = "hubs"
	ringsMax  = 16
	withinMin = 5 * time.Second
	withinMax = 24 * time.Hour
)

var defaultRings = []string{"canary", "5%", "25%", "rest"}

// toml reads fleet.toml.
func (r *reading) toml(raw []byte) {
	t, err := config.OpenTable(tomlFile, raw)
	if err != nil {
		if ps, ok := errors.AsType[config.Problems](err); ok {
			r.found = append(r.found, ps...)
		}
		return
	}
	r.hasTOML, r.root = true, t
	t = t.Only("rollout", "organisation", "network", "hub", "check", "signers", "collector", "trial", "protected", "manners", "off")
	r.Signers, r.Collector, r.Trial = t.Signers(), t.Collectors(), t.Trial()
	r.Protected = t.Prefixes("protected")
	r.Manners, r.manners = t.Manners()
	r.readRollout(t)
	r.readOrganisations(t)
	if nets, ok := t.Table("network"); ok {
		for _, name := range nets.Keys() {
			nets.CheckKey(name)
			if n, ok := nets.Table(name); ok {
				r.Networks = append(r.Networks, readNetwork(name, n, r.Organisations))
			}
		}
	}
	if hubs, ok := t.Table("hub"); ok {
		for _, name := range hubs.Keys() {
			hubs.CheckKey(name)
			if h, ok := hubs.Table(name); ok {
				r.Hubs = append(r.Hubs, r.readHub(name, h))
			}
		}
	}
	for _, c := range t.Tables("check") {
		r.Checks = append(r.Checks, r.readCheck(c))
	}
}

func (r *reading) readRollout(root config.Table) {
	r.Rollout = Rollout{Rings: defaultRings, Pause: centre.Pause{Gateways: defaultPauseGateways, Share: defaultPauseShare, Within: defaultPauseWithin.Seconds()}}
	t, ok := root.Table("rollout")
	if !ok {
		return
	}
	t = t.Only("rings", "window", "pause")
	if t.Has("rings") {
		r.Rollout.Rings = readRings(t)
	}
	if w := t.Text("window", wordsMax); w != "" {
		if _, err := centre.ParseWindow(w); err != nil {
			t.Problem("window", `as in "Mon-Thu 19:00-23:00", or "always"`, "%s is not a window", config.Show(w))
		} else {
			r.Rollout.Window = w
		}
	}
	p, ok := t.Table("pause")
	if !ok {
		return
	}
	p = p.Only("gateways", "share", "within")
	if p.Has("gateways") {
		r.Rollout.Pause.Gateways = int(p.Integer("gateways", 0, 1_000_000))
	}
	if s := p.Text("share", wordsMax); s != "" {
		n, ok := percent(s)
		if !ok {
			p.Problem("share", `of a ring, as in "2%"`, "%s is not a share", config.Show(s))
		}
		r.Rollout.Pause.Share = n / 100
	}
	if d := p.Duration("within", withinMin, withinMax); d != 0 {
		r.Rollout.Pause.Within = d.Seconds()
	}
}

// percent reads "5%" or "0.5%".
func percent(s string) (float64, bool) {
	number, ok := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	return n, ok && err == nil && n >= 0 && n <= 100 && strings.Trim(number, "0123456789. ") == ""
}

// readRings reads the rings: names that sites choose, shares of the rest, and
// the last, which takes all that are left.
func readRings(t config.Table) []string {
	rings := t.Strings("rings", `as in ["canary", "5%", "25%", "rest"]`)
	sum := 0.0
	for i, ring := range rings {
		share, isShare := percent(ring)
		switch {
		case slices.Index(rings, ring) < i:
			t.ProblemAt("rings", i, "", "%s is there twice", config.Show(ring))
		case ring == hubsRing:
			t.ProblemAt("rings", i, "leave it out: the hubs are always first", "%s is the ring of the hubs", config.Show(ring))
		case isShare && i == len(rings)-1:
			t.ProblemAt("rings", i, `"rest", behind it`, "%s is the last ring, and takes all that are left", config.Show(ring))
		case isShare && share == 0:
			t.ProblemAt("rings", i, "", "%s has nobody in it", config.Show(ring))
		case isShare:
			sum += share
		case config.CheckName(ring) != nil:
			t.ProblemAt("rings", i, `a name, or a share as in "5%"`, "%s is not a ring", config.Show(ring))
		}
	}
	switch {
	case len(rings) == 0 || len(rings) > ringsMax:
		t.Problem("rings", "", "has %d rings; 1 to %d are possible", len(rings), ringsMax)
		return defaultRings
	case sum >= 100:
		t.Problem("rings", "each share is of all sites", "have %g%% together, and nobody is left for the last", sum)
	}
	return rings
}

func (r *reading) readOrganisations(root config.Table) {
	t, ok := root.Table("organisation")
	if !ok {
		return
	}
	for _, name := range t.Keys() {
		t.CheckKey(name)
		r.Organisations[name] = t.Text(name, wordsMax)
	}
}

// readNetwork reads [network.NAME].
func readNetwork(name string, t config.Table, organisations map[string]string) Network {
	t = t.Only("organisation", "overlay", "hubs", "mtu", "probe_interval", "may_cover", "allow")
	n := Network{
		Name:         name,
		Organisation: t.Text("organisation", nameMax),
		Overlay:      t.Prefix("overlay", `tunnel addresses, and "as" prefixes, as in "100.64.0.0/18"`),
		Hubs:         t.Strings("hubs", ""),
		MTU:          int(t.Integer("mtu", 1280, 9000)),
		Probe:        t.Duration("probe_interval", 500*time.Millisecond, 5*time.Minute),
		MayCover:     t.Strings("may_cover", ""),
		table:        t,
	}
	if _, there := organisations[n.Organisation]; !there {
		hint := config.Among(n.Organisation, names(organisations))
		if t.Has("organisation") {
			t.Problem("organisation", hint, "there is no organisation %s", config.Show(n.Organisation))
		} else {
			t.Missing("organisation", hint)
		}
	}
	if !t.Has("hubs") || len(n.Hubs) == 0 {
		t.Missing("hubs", `the first is preferred, as in ["hub-north", "hub-south"]`)
	}
	for i, h := range n.Hubs {
		if slices.Index(n.Hubs, h) < i {
			t.ProblemAt("hubs", i, "", "%s is there twice", config.Show(h))
		}
	}
	for _, a := range t.Tables("allow") {
		a := a.Only("from", "to", "ports")
		n.Allow = append(n.Allow, a.Allow())
		n.allows = append(n.allows, a)
	}
	return n
}

// readHub reads [hub.NAME].
func (r *reading) readHub(name string, t config.Table) Hub {
	t = t.Only("endpoints", "lan", "listen_port")
	h := Hub{Name: name, table: t}
	each := func(key string, read func(config.Table, string)) {
		if of, ok := t.Table(key); ok {
			for _, network := range of.Keys() {
				if !slices.ContainsFunc(r.Networks, func(n Network) bool { return n.Name == network }) {
					of.Problem(network, config.Among(network, networkNames(r.Networks)), "there is no network %s", config.Show(network))
				}
				read(of, network)
			}
		}
	}
	each("endpoints", func(of config.Table, network string) {
		list := of.Endpoints(network)
		if len(list) == 0 && len(of.Strings(network, "")) == 0 {
			of.Problem(network, fmt.Sprintf(`as in ["%s.example.net:51820"]`, name), "is empty")
		}
		h.Endpoints = put(h.Endpoints, network, list)
		if len(list) > 0 {
			_, port, _ := net.SplitHostPort(list[0])
			p, _ := strconv.Atoi(port)
			h.Port = put(h.Port, network, p)
		}
	})
	each("lan", func(of config.Table, network string) { h.LAN = put(h.LAN, network, of.Prefixes(network)) })
	each("listen_port", func(of config.Table, network string) {
		if p := of.Integer(network, 1, 65535); p != 0 {
			h.Port = put(h.Port, network, int(p))
		}
	})
	return h
}

func put[V any](m map[string]V, k string, v V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[k] = v
	return m
}

// readCheck reads [[check]].
func (r *reading) readCheck(t config.Table) Check {
	k, text := t.Check("where", "on")
	t.Mannered(r.Manners, k)
	c := Check{Check: k, text: text, table: t, OnHub: t.Word("on", "sites", "hubs") == "hubs"}
	if k.Network != "" && !slices.ContainsFunc(r.Networks, func(n Network) bool { return n.Name == k.Network }) {
		t.Problem("network", config.Among(k.Network, networkNames(r.Networks)), "there is no network %s", config.Show(k.Network))
	}
	where, ok := t.Table("where")
	if !ok {
		return c
	}
	if c.OnHub {
		t.Problem("where", "it chooses among sites", `does not go with on = "hubs"`)
	}
	for _, key := range where.Keys() {
		column := normal(key)
		for _, word := range where.Words(key) {
			c.Where = put(c.Where, column, append(c.Where[column], strings.ToLower(word)))
		}
		if !slices.Contains(r.chosenBy, column) {
			r.chosenBy = append(r.chosenBy, column)
		}
	}
	return c
}
