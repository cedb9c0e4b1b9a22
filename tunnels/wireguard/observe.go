package wireguard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// glance is how long a look waits for a data plane. It is a variable for the
// tests.
var glance = 300 * time.Millisecond

// Observe returns the devices that are there, without addresses. One that has
// lost its data plane is not there. Data planes are asked side by side; one that
// is late is told as it was before, and once it is silent as its link and port
// only: the rest is looked at regardless.
func (d *Devices) Observe(ctx context.Context) ([]tunnels.Device, error) {
	links, err := d.linkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	looks := make([]look, len(links))
	var wg sync.WaitGroup
	for i, link := range links {
		name := d.deviceOf(link)
		if name == "" {
			continue
		}
		l := &looks[i]
		l.dev = tunnels.Device{Name: name, Backend: string(backendOf(link)), MTU: link.Attrs().MTU,
			Up: link.Attrs().Flags&net.FlagUp != 0}
		l.dev.Untagged = tagOf(link) == ""
		if now := link.Attrs().Name; now != name {
			l.dev.Found = now
		}
		if l.dev.Backend == string(Kernel) {
			l.read, l.err = d.device(ctx, link.Attrs().Name, Kernel) // on this thread, so in its namespace
		} else {
			wg.Go(func() { l.read, l.err = d.glance(ctx, name) })
		}
	}
	wg.Wait()
	var found []tunnels.Device
	for _, l := range looks {
		switch {
		case l.dev.Name == "", errors.Is(l.err, os.ErrNotExist):
			continue
		case errors.Is(l.err, ErrNoCapability), ctx.Err() != nil:
			return nil, cmp.Or(l.err, ctx.Err())
		case l.read != nil && (l.err == nil || errors.Is(l.err, errLate)):
			fill(&l.dev, l.read)
			d.remember(l.dev.Name, l.read)
		case l.read != nil: // silent, but filters still guard its port
			l.dev.ListenPort = l.read.ListenPort
		}
		if !errors.Is(l.err, errLate) {
			d.tell(l.dev.Name, l.err)
		}
		found = append(found, l.dev)
	}
	return found, nil
}

// look is what one device said.
type look struct {
	dev  tunnels.Device
	read *wgtypes.Device // nil: nothing
	err  error
}

// errLate is of a data plane that has not answered yet.
var errLate = errors.New("the data plane is late")

// glance reads one data plane, and gives up waiting for it soon. What it said
// last is returned with the error of one that does not answer.
func (d *Devices) glance(ctx context.Context, name string) (*wgtypes.Device, error) {
	type answer struct {
		read *wgtypes.Device
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		read, err := d.device(context.WithoutCancel(ctx), name, Userspace)
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case err == nil:
			d.last[name] = read
		case errors.Is(err, os.ErrNotExist):
			delete(d.last, name)
		}
		done <- answer{d.last[name], err}
	}()
	select {
	case a := <-done:
		return a.read, a.err
	case <-time.After(glance):
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.last[name], errLate
	}
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
	if err != nil && backend == Userspace {
		if state, gone := lookAt(name); gone == nil && state != aliveSocket { // it died meanwhile
			return nil, os.ErrNotExist
		}
	}
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
