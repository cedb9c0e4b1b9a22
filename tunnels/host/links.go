package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// devices adds the addresses to what wireguard knows.
func (h *Host) devices(ctx context.Context) ([]tunnels.Device, error) {
	found, err := h.Devices.Observe(ctx)
	if err != nil || len(found) == 0 {
		return found, err
	}
	names, err := h.linkNames()
	if err != nil {
		return nil, err
	}
	addresses, err := h.addresses()
	if err != nil {
		return nil, err
	}
	for i, d := range found {
		for index, name := range names {
			if name == d.Name {
				found[i].Addresses = addresses[index]
			}
		}
	}
	return found, nil
}

// linkNames is all links by index. A device of ours that somebody renamed has
// the name that it should have.
func (h *Host) linkNames() (map[int]string, error) {
	links, err := again(h.net.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = wireguard.NameOf(l)
	}
	return names, nil
}

// addresses is all addresses by link index, but for those that IPv6 gives each
// link by itself.
func (h *Host) addresses() (map[int][]netip.Prefix, error) {
	list, err := again(func() ([]netlink.Addr, error) { return h.net.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	all := map[int][]netip.Prefix{}
	for _, a := range list {
		p, ok := prefixOf(a.IPNet)
		if !ok || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			continue
		}
		all[a.LinkIndex] = append(all[a.LinkIndex], p)
	}
	return all, nil
}

// applyDevice makes a link, sets it up, or removes it. Making one includes all
// that it needs before traffic may flow; the rest comes in steps of its own.
func (h *Host) applyDevice(ctx context.Context, s tunnels.Step) error {
	d := s.Device
	if s.Op == tunnels.Remove {
		if err := h.Delete(ctx, d.Name); err != nil {
			return err
		}
		return h.settings.forgetLink(d.Name)
	}
	if s.Op == tunnels.Add {
		if err := h.create(ctx, d); err != nil {
			return err
		}
	} else if err := h.NameBack(d.Name); err != nil {
		return err
	}
	if d.Up {
		return h.setUp(d)
	}
	return nil
}

func (h *Host) create(ctx context.Context, d *tunnels.Device) error {
	if what, err := h.Foreign(ctx, d.Name, d.PublicKey); err != nil {
		return err
	} else if what != "" {
		return wireguard.Taken(d.Name, what)
	}
	if err := h.Create(ctx, d.Name); err != nil {
		return err
	}
	if err := h.setMTU(d.Name, d.MTU); err != nil {
		return err
	}
	if !d.PrivateKey.IsZero() {
		if err := h.SetKey(ctx, d.Name, d.PrivateKey); err != nil {
			return err
		}
	}
	if d.ListenPort == 0 {
		return nil
	}
	return h.SetPort(ctx, d.Name, d.ListenPort)
}

func (h *Host) setUp(d *tunnels.Device) error {
	link, err := h.net.LinkByName(d.Name)
	if err != nil {
		return fmt.Errorf("set %s up: %w", d.Name, err)
	}
	if link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	err = h.net.LinkSetUp(link)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("set %s up: %w", d.Name, wireguard.PortTaken(d.ListenPort))
	case err != nil:
		return fmt.Errorf("set %s up: %w", d.Name, err)
	}
	return nil
}

// setMTU sets it in bytes; 0 changes nothing.
func (h *Host) setMTU(name string, mtu int) error {
	if mtu == 0 {
		return nil
	}
	link, err := h.net.LinkByName(name)
	if err == nil && link.Attrs().MTU != mtu {
		err = h.net.LinkSetMTU(link, mtu)
	}
	if err != nil {
		return fmt.Errorf("set the MTU of %s to %d bytes: %w", name, mtu, err)
	}
	return nil
}

func (h *Host) applyAddress(s tunnels.Step) error {
	p, err := netip.ParsePrefix(s.Address)
	if err != nil {
		return fmt.Errorf("address of %s: %w", s.Device.Name, err)
	}
	link, err := h.net.LinkByName(s.Device.Name)
	if s.Op == tunnels.Remove && noLink(err) {
		return nil
	}
	if err == nil {
		// Nobody else is on a tunnel to have the address: no need to ask around.
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if s.Op == tunnels.Remove {
			err = h.net.AddrDel(link, addr)
			if errors.Is(err, unix.EADDRNOTAVAIL) {
				err = nil
			}
		} else {
			err = h.net.AddrReplace(link, addr)
		}
	}
	if err != nil {
		return fmt.Errorf("address %v of %s: %w", p, s.Device.Name, err)
	}
	return nil
}

func (h *Host) applyPeer(ctx context.Context, s tunnels.Step) error {
	switch s.Op {
	case tunnels.Add:
		return h.AddPeer(ctx, s.Device.Name, *s.Peer)
	case tunnels.Change:
		return h.ChangePeer(ctx, s.Device.Name, *s.Peer, s.Fields)
	}
	if _, err := h.net.LinkByName(s.Device.Name); noLink(err) {
		return nil
	}
	return h.RemovePeer(ctx, s.Device.Name, s.Peer.PublicKey)
}

func noLink(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if bits == 32 {
		a = a.Unmap()
	}
	if !ok || bits != a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones), true
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
