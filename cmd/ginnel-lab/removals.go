package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/tunnels"
)

// removal is one way in which somebody else takes what is ours, or changes it.
type removal struct {
	what string
	part string        // of what the eye sees: where it shows at once
	aim  time.Duration // it is back within
	take func(v victim, turn int) error
	echo bool // it is not back before an echo has passed the tunnel
}

// Aims: what the kernel tells of is back within byEvent, WireGuard's own state,
// which has to be polled, within byPoll.
const byEvent, byPoll = 2 * time.Second, 5 * time.Second

// victim is the network at a gateway from which is taken. Its methods act on the
// calling thread's node.
type victim struct {
	*eye
	site    *county.Site
	network string
	device  string
	table   int
}

func newVictim(e *eye, s *county.Site, network string) victim {
	hub := ""
	for _, j := range s.Joins {
		if j.Network == network {
			hub = j.Hubs[0]
		}
	}
	return victim{eye: e, site: s, network: network, device: tunnels.DeviceName(network, hub), table: tunnels.TableNumber(network)}
}

// removals in an order that never takes one object twice in a row.
var removals = []removal{
	{"link deleted", "links", byEvent, func(v victim, _ int) error { return v.link(netlink.LinkDel) }, false},
	{"nft table", "nftables", byEvent, func(v victim, _ int) error { return v.filter(dropTable) }, false},
	{"address", "addresses", byEvent, func(v victim, _ int) error { return v.link(dropAddress) }, false},
	{"peer removed", "wireguard", byPoll, func(v victim, _ int) error { return v.peer(wgtypes.PeerConfig{Remove: true}) }, false},
	{"link renamed", "links", byEvent, func(v victim, _ int) error { return v.link(rename) }, false},
	{"nft chain flushed", "nftables", byEvent, func(v victim, _ int) error { return v.filter(flushChain) }, false},
	{"route", "routes", byEvent, func(v victim, turn int) error { return v.dropRoute(turn, unix.RTN_UNICAST) }, false},
	{"rule", "rules", byEvent, victim.dropRule, false},
	{"link's alias", "links", byEvent, func(v victim, _ int) error { return v.link(dropAlias) }, false},
	{"nft rule removed", "nftables", byEvent, func(v victim, _ int) error { return v.filter(dropNftRule) }, false},
	{"unreachable route", "routes", byEvent, func(v victim, turn int) error { return v.dropRoute(turn, unix.RTN_UNREACHABLE) }, false},
	{"peer's allowed IPs", "wireguard", byPoll, func(v victim, _ int) error { return v.peer(wgtypes.PeerConfig{ReplaceAllowedIPs: true}) }, false},
	{"link downed", "links", byEvent, func(v victim, _ int) error { return v.link(netlink.LinkSetDown) }, false},
	{"nft rule added", "nftables", byEvent, func(v victim, _ int) error { return v.filter(addNftRule) }, false},
	{deviceForwarding, "sysctls", byEvent, func(v victim, _ int) error { return v.sysctl(v.device, "forwarding", "0") }, false},
	{deviceStrict, "sysctls", byEvent, func(v victim, _ int) error { return v.sysctl(v.device, "rp_filter", "1") }, false},
	{dataPlane, "links", byEvent, victim.killDataPlane, true},
	{setElement, "nftables", byEvent, victim.dropElement, false},
	{"private key", "wireguard", byPoll, func(v victim, _ int) error { return v.changeKey() }, false},
}

// shared is what all networks at the gateway need: it cannot be taken from one.
var shared = []removal{
	{"the LAN link's forwarding", "sysctls", byEvent, func(v victim, _ int) error { return v.sysctl("eth1", "forwarding", "0") }, false},
}

// Removals of what not every gateway has.
const (
	setElement       = "nft set element"
	deviceForwarding = "the device's forwarding"
	deviceStrict     = "the device's rp_filter"
	dataPlane        = "data plane killed"
)

// missing says why a removal cannot be played at this gateway; empty: it can.
func (r removal) missing(v victim) (string, error) {
	switch r.what {
	case deviceForwarding, deviceStrict:
		// The file is gone when we wrote no sysctl.
		written, err := v.node.ReadFile(remembered)
		name := map[string]string{deviceForwarding: "forwarding", deviceStrict: "rp_filter"}[r.what]
		if err != nil || !strings.Contains(written, v.device+"/"+name) {
			return "it was as wanted before us, so it is not ours", nil
		}
	case setElement:
		set, _, err := v.elements()
		if set == nil {
			return "no table of ours has a set whose elements can be taken", err
		}
	case dataPlane:
		planes, err := dataPlanes(v.node)
		if planes[v.device] == 0 {
			return "the tunnel is in the kernel, there is no process", err
		}
	}
	return "", nil
}

func (v victim) link(act func(netlink.Link) error) error {
	l, err := netlink.LinkByName(v.device)
	if err != nil {
		return err
	}
	return act(l)
}

// rename gives a link another name. Older kernels do so only while it is down.
func rename(l netlink.Link) error {
	const other = "somebodys"
	err := netlink.LinkSetName(l, other)
	if errors.Is(err, unix.EBUSY) {
		err = errors.Join(netlink.LinkSetDown(l), netlink.LinkSetName(l, other), netlink.LinkSetUp(l))
	}
	return err
}

func dropAlias(l netlink.Link) error { return netlink.LinkSetAlias(l, "") }

func dropAddress(l netlink.Link) error {
	list, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%s has no address", l.Attrs().Name)
	}
	return netlink.AddrDel(l, &list[0])
}

func (v victim) dropRoute(turn, kind int) error {
	list, err := ourRoutes()
	list = slices.DeleteFunc(list, func(r netlink.Route) bool { return r.Type != kind || r.Table != v.table })
	if err != nil || len(list) == 0 {
		return errors.Join(err, fmt.Errorf("%d routes in table %d", len(list), v.table))
	}
	return netlink.RouteDel(&list[turn%len(list)])
}

func (v victim) dropRule(turn int) error {
	list, err := ourRules(netlink.FAMILY_V4)
	list = slices.DeleteFunc(list, func(r netlink.Rule) bool { return r.Table != v.table })
	if err != nil || len(list) == 0 {
		return errors.Join(err, fmt.Errorf("%d rules into table %d", len(list), v.table))
	}
	r := list[turn%len(list)]
	r.Family = netlink.FAMILY_V4
	return netlink.RuleDel(&r)
}

// filter changes the network's table in one transaction.
func (v victim) filter(act func(*nftables.Conn, *nftables.Chain, *nftables.Rule)) error {
	table := &nftables.Table{Name: tunnels.FilterTable(v.network), Family: nftables.TableFamilyINet}
	chain := &nftables.Chain{Name: "forward", Table: table}
	rules, err := v.nft.GetRules(table, chain)
	if err != nil || len(rules) == 0 {
		return errors.Join(err, fmt.Errorf("%d rules in %s forward", len(rules), table.Name))
	}
	act(v.nft, chain, rules[0])
	return v.nft.Flush()
}

func dropTable(c *nftables.Conn, at *nftables.Chain, _ *nftables.Rule)  { c.DelTable(at.Table) }
func flushChain(c *nftables.Conn, at *nftables.Chain, _ *nftables.Rule) { c.FlushChain(at) }
func dropNftRule(c *nftables.Conn, _ *nftables.Chain, r *nftables.Rule) { _ = c.DelRule(r) }

// addNftRule opens the chain to everything that passes it.
func addNftRule(c *nftables.Conn, at *nftables.Chain, _ *nftables.Rule) {
	c.InsertRule(&nftables.Rule{Table: at.Table, Chain: at, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
}

// elements are those of the first set of the network's table that can be changed;
// nil: there is none, as the sets within rules cannot be.
func (v victim) elements() (*nftables.Set, []nftables.SetElement, error) {
	sets, err := v.nft.GetSets(&nftables.Table{Name: tunnels.FilterTable(v.network), Family: nftables.TableFamilyINet})
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sets {
		if s.Anonymous || s.Constant {
			continue
		}
		elements, err := v.nft.GetSetElements(s)
		if err != nil || len(elements) > 0 {
			return s, elements, err
		}
	}
	return nil, nil, nil
}

func (v victim) dropElement(int) error {
	set, elements, err := v.elements()
	if err != nil || set == nil {
		return errors.Join(err, errors.New("no set has elements"))
	}
	if err := v.nft.SetDeleteElements(set, elements); err != nil {
		return err
	}
	return v.nft.Flush()
}

func (v victim) sysctl(link, name, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf", link, name), []byte(value), 0)
}

// peer does to the device's first peer what change says.
func (v victim) peer(change wgtypes.PeerConfig) error {
	d, err := v.wg.Device(v.device)
	if err != nil || len(d.Peers) == 0 {
		return errors.Join(err, fmt.Errorf("%s has no peer", v.device))
	}
	change.PublicKey = d.Peers[0].PublicKey
	change.UpdateOnly = true
	if change.ReplaceAllowedIPs {
		change.AllowedIPs = []net.IPNet{{IP: net.IPv4(192, 0, 2, 0).To4(), Mask: net.CIDRMask(24, 32)}}
	}
	return v.wg.ConfigureDevice(v.device, wgtypes.Config{Peers: []wgtypes.PeerConfig{change}})
}

func (v victim) changeKey() error {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	return v.wg.ConfigureDevice(v.device, wgtypes.Config{PrivateKey: &key})
}

// killDataPlane ends the process of the device as nothing should. The link goes
// with it, a moment later.
func (v victim) killDataPlane(int) error {
	planes, err := dataPlanes(v.node)
	pid := planes[v.device]
	if err != nil || pid == 0 {
		return errors.Join(err, fmt.Errorf("%s has no data plane", v.device))
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill -9 of the data plane, process %d: %w", pid, err)
	}
	for err == nil {
		_, err = netlink.LinkByName(v.device)
	}
	return nil
}
