package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Observe returns the devices that are there, without addresses. One that has
// lost its data plane is not there. Of one that does not answer only the link
// is told: the rest is looked at regardless.
func (d *Devices) Observe(ctx context.Context) ([]tunnels.Device, error) {
	links, err := d.linkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var found []tunnels.Device
	for _, link := range links {
		name, backend := link.Attrs().Name, backendOf(link)
		if !Ours(name) || backend == "" {
			continue
		}
		dev := tunnels.Device{Name: name, Backend: string(backend), MTU: link.Attrs().MTU,
			Up: link.Attrs().Flags&net.FlagUp != 0}
		read, err := d.device(ctx, name, backend)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case errors.Is(err, ErrNoCapability), ctx.Err() != nil:
			return nil, err
		case err == nil:
			fill(&dev, read)
		}
		d.tell(name, err)
		found = append(found, dev)
	}
	return found, nil
}

// tell logs when a device ceases to answer, and when it does again.
func (d *Devices) tell(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch was := d.mute[name]; {
	case err != nil && !was:
		d.log.Warn("could not read a device; it is tried again", "device", name, "err", err)
		d.mute[name] = true
	case err == nil && was:
		d.log.Info("device can be read again", "device", name)
		delete(d.mute, name)
	}
}

// linkList asks again when links changed while the kernel told of them.
func (d *Devices) linkList() (links []netlink.Link, err error) {
	for range 5 {
		links, err = d.links.LinkList()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return links, err
}

// device reads one device. It is os.ErrNotExist for one whose data plane is
// dead.
func (d *Devices) device(ctx context.Context, name string, backend Backend) (*wgtypes.Device, error) {
	if backend == Userspace {
		if state, err := lookAt(name); err != nil || state != aliveSocket {
			return nil, errors.Join(err, os.ErrNotExist)
		}
	}
	var read *wgtypes.Device
	err := d.with(ctx, name, backend, func(c *wgctrl.Client) (err error) {
		read, err = c.Device(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return read, nil
}

func fill(dev *tunnels.Device, read *wgtypes.Device) {
	if read.PrivateKey != (wgtypes.Key{}) { // wgctrl makes up a public key for the zero one
		dev.PublicKey = key.Public(read.PublicKey)
	}
	dev.ListenPort = read.ListenPort
	for _, p := range read.Peers {
		peer := tunnels.Peer{PublicKey: key.Public(p.PublicKey), Keepalive: p.PersistentKeepaliveInterval,
			PresharedKey: key.PresharedFromBytes(p.PresharedKey),
			Seen: tunnels.Seen{LastHandshake: p.LastHandshakeTime, Received: p.ReceiveBytes,
				Sent: p.TransmitBytes, HandshakesFailed: -1}}
		if p.Endpoint != nil {
			at := p.Endpoint.AddrPort()
			peer.Endpoint = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
		for _, ip := range p.AllowedIPs {
			if prefix, ok := prefixOf(ip); ok {
				peer.AllowedIPs = append(peer.AllowedIPs, prefix)
			}
		}
		dev.Peers = append(dev.Peers, peer)
	}
}

func prefixOf(n net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	if bits == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones), true
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
