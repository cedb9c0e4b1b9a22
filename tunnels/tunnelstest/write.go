package tunnelstest

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

var (
	none key.Preshared

	errNoLink = errors.New("no such link")
	errNoPeer = errors.New("no such peer")
	errNoKind = errors.New("a step that no plan has")
)

// write takes one step on the values, as Linux would.
func (h *Host) write(s tunnels.Step) error {
	switch s.Kind {
	case tunnels.FilterKind:
		f := *s.Filter
		f.Network = ""
		put(&h.state.Filters, s.Op, f, func(x tunnels.Filter) bool { return x.Table == f.Table })
	case tunnels.RuleKind:
		r := *s.Rule
		r.Network = ""
		put(&h.state.Rules, s.Op, r, func(x tunnels.Rule) bool { return x == r })
	case tunnels.RouteKind:
		return h.route(s)
	case tunnels.SettingKind:
		return h.setting(s)
	case tunnels.DeviceKind:
		return h.device(s)
	default:
		return h.ofDevice(s)
	}
	return nil
}

// put replaces or adds x, or removes it.
func put[T any](list *[]T, op tunnels.Op, x T, same func(T) bool) {
	i := slices.IndexFunc(*list, same)
	switch {
	case op == tunnels.Remove && i >= 0:
		*list = slices.Delete(*list, i, i+1)
	case op == tunnels.Remove:
	case i >= 0:
		(*list)[i] = x
	default:
		*list = append(*list, x)
	}
}

func (h *Host) find(device string) *tunnels.Device {
	for i := range h.state.Devices {
		if h.state.Devices[i].Name == device {
			return &h.state.Devices[i]
		}
	}
	return nil
}

func (h *Host) route(s tunnels.Step) error {
	r := *s.Route
	r.Network = ""
	if s.Op != tunnels.Remove && !r.Unreachable && h.find(r.Device) == nil {
		return errNoLink
	}
	same := func(x tunnels.Route) bool {
		return x.Table == r.Table && x.Prefix == r.Prefix && x.Metric == r.Metric
	}
	if s.Op == tunnels.Remove {
		same = func(x tunnels.Route) bool { return x == r }
	}
	if s.Op == tunnels.Add && slices.ContainsFunc(h.state.Routes, func(x tunnels.Route) bool { return same(x) && x != r }) {
		return syscall.EEXIST
	}
	put(&h.state.Routes, s.Op, r, same)
	return nil
}

func (h *Host) setting(s tunnels.Step) error {
	x := *s.Setting
	x.Network = ""
	if link := linkOf(x.Path); strings.HasPrefix(link, tunnels.DevicePrefix) && h.find(link) == nil {
		return syscall.ENOENT
	}
	put(&h.state.Settings, s.Op, x, func(y tunnels.Setting) bool { return y.Path == x.Path })
	return nil
}

func linkOf(path string) string {
	part := strings.Split(path, "/")
	if len(part) != 5 {
		return ""
	}
	return part[3]
}

func (h *Host) device(s tunnels.Step) error {
	name := s.Device.Name
	d := h.find(name)
	switch {
	case s.Op == tunnels.Remove:
		h.state.Devices = slices.DeleteFunc(h.state.Devices, func(x tunnels.Device) bool { return x.Name == name })
		h.state.Routes = slices.DeleteFunc(h.state.Routes, func(x tunnels.Route) bool { return x.Device == name })
		h.state.Settings = slices.DeleteFunc(h.state.Settings, func(x tunnels.Setting) bool { return linkOf(x.Path) == name })
	case s.Op == tunnels.Change && d == nil:
		return errNoLink
	case s.Op == tunnels.Change:
		d.Up = true
	case d == nil:
		port, err := h.port(s.Device.ListenPort)
		if err != nil {
			return err
		}
		h.state.Devices = append(h.state.Devices, tunnels.Device{Name: name, Backend: "kernel", Up: true,
			MTU: s.Device.MTU, PublicKey: s.Device.PrivateKey.Public(), ListenPort: port})
	}
	return nil
}

// port opens a UDP port; 0: a free one.
func (h *Host) port(n int) (int, error) {
	taken := func(n int) bool {
		return slices.ContainsFunc(h.state.Devices, func(d tunnels.Device) bool { return d.ListenPort == n })
	}
	if n != 0 && taken(n) {
		return 0, syscall.EADDRINUSE
	}
	for n == 0 || taken(n) {
		h.ports++
		n = 32768 + h.ports%28000
	}
	return n, nil
}

// ofDevice writes what needs the link.
func (h *Host) ofDevice(s tunnels.Step) error {
	d := h.find(s.Device.Name)
	if d == nil {
		return errNoLink
	}
	switch s.Kind {
	case tunnels.KeyKind:
		d.PublicKey = s.Device.PrivateKey.Public()
	case tunnels.PortKind:
		port, err := h.port(s.Device.ListenPort)
		if err != nil {
			return err
		}
		d.ListenPort = port
	case tunnels.MTUKind:
		d.MTU = s.Device.MTU
	case tunnels.AddressKind:
		p, err := netip.ParsePrefix(s.Address)
		if err != nil {
			return err
		}
		put(&d.Addresses, s.Op, p, func(x netip.Prefix) bool { return x == p })
	case tunnels.PeerKind:
		return peer(d, s)
	default:
		return errNoKind
	}
	return nil
}

func peer(d *tunnels.Device, s tunnels.Step) error {
	w := *s.Peer
	i := slices.IndexFunc(d.Peers, func(p tunnels.Peer) bool { return p.PublicKey == w.PublicKey })
	switch {
	case s.Op == tunnels.Remove:
		d.Peers = slices.DeleteFunc(d.Peers, func(p tunnels.Peer) bool { return p.PublicKey == w.PublicKey })
		return nil
	case s.Op == tunnels.Change && i < 0 && !s.Fields.Make:
		return errNoPeer
	case i < 0:
		d.Peers = append(d.Peers, tunnels.Peer{PublicKey: w.PublicKey})
		i = len(d.Peers) - 1
	}
	f := s.Fields
	if s.Op == tunnels.Add {
		f = tunnels.PeerFields{Endpoint: true, Keepalive: true, Preshared: true, ReplaceIPs: true}
	}
	fields(&d.Peers[i], w, f)
	if f.AddIPs || f.ReplaceIPs {
		takeIPs(d, i, w.AllowedIPs, f.ReplaceIPs)
	}
	return nil
}

func fields(p *tunnels.Peer, w tunnels.Peer, f tunnels.PeerFields) {
	if f.Endpoint {
		p.Endpoint = w.Endpoint
	}
	if f.Keepalive {
		p.Keepalive = w.Keepalive
	}
	if f.Preshared {
		p.PresharedKey = w.PresharedKey
	}
}

// takeIPs gives prefixes to one peer of a device, away from the others.
func takeIPs(d *tunnels.Device, i int, ips []netip.Prefix, replace bool) {
	if replace {
		d.Peers[i].AllowedIPs = nil
	}
	for j := range d.Peers {
		d.Peers[j].AllowedIPs = slices.DeleteFunc(d.Peers[j].AllowedIPs,
			func(a netip.Prefix) bool { return slices.Contains(ips, a) })
	}
	d.Peers[i].AllowedIPs = append(d.Peers[i].AllowedIPs, ips...)
}
