package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// SetKey gives the device its private key. The same key again writes nothing.
func (d *Devices) SetKey(ctx context.Context, name string, private key.Private) error {
	if private.IsZero() {
		return fmt.Errorf("refused to set no private key on %s", name)
	}
	read, backend, err := d.read(ctx, name)
	if err != nil {
		return err
	}
	want := wgtypes.Key(private.Bytes())
	if read.PrivateKey == want {
		return nil
	}
	return d.write(ctx, name, backend, wgtypes.Config{PrivateKey: &want})
}

// SetPort sets the UDP port. A port that is set already is not written again:
// both back ends would close the sockets and open them anew. 0 lets go of the
// port and takes any other.
func (d *Devices) SetPort(ctx context.Context, name string, port int) error {
	read, backend, err := d.read(ctx, name)
	if err != nil || read.ListenPort == port && port != 0 {
		return err
	}
	if err := PortFree(port); err != nil {
		return err
	}
	return d.write(ctx, name, backend, wgtypes.Config{ListenPort: &port})
}

// PortFree tells whether nobody has the port. The kernel takes any port for a
// link that is down and finds out later; a data plane gives up the port that it
// has before it finds out.
func PortFree(port int) error {
	for _, network := range []string{"udp4", "udp6"} {
		c, err := net.ListenPacket(network, ":"+strconv.Itoa(port))
		if err == nil {
			c.Close()
		} else if errors.Is(err, unix.EADDRINUSE) {
			return PortTaken(port)
		}
	}
	return nil
}

// AddPeer makes a peer, or completes one that is there.
func (d *Devices) AddPeer(ctx context.Context, name string, p tunnels.Peer) error {
	return d.AddPeers(ctx, name, []tunnels.Peer{p})
}

// AddPeers makes many peers by one message. Those who call us by themselves and
// were there before are greeted, as by AddPeer.
func (d *Devices) AddPeers(ctx context.Context, name string, peers []tunnels.Peer) error {
	backend, err := d.backend(name)
	if err != nil {
		return err
	}
	var all, greeted []wgtypes.PeerConfig
	for _, p := range peers {
		if at := d.lastSeen(name, wgtypes.Key(p.PublicKey)); at.IsValid() && !p.Endpoint.IsValid() {
			all = append(all, greeting(p, at))
			greeted = append(greeted, ending(p))
			continue
		}
		all = append(all, addition(p))
	}
	if err := d.write(ctx, name, backend, wgtypes.Config{Peers: all}); err != nil || len(greeted) == 0 {
		return err
	}
	return d.write(ctx, name, backend, wgtypes.Config{Peers: greeted})
}

// addition is the message that makes a peer.
func addition(p tunnels.Peer) wgtypes.PeerConfig {
	return peerConfig(p, tunnels.PeerFields{Endpoint: true, Keepalive: p.Keepalive > 0,
		Preshared: !p.PresharedKey.IsZero(), AddIPs: true})
}

// ChangePeer writes those fields of a peer and leaves the others, and its
// session, as they are. A peer that is not there is not made, unless f says so.
func (d *Devices) ChangePeer(ctx context.Context, name string, p tunnels.Peer, f tunnels.PeerFields) error {
	c := peerConfig(p, f)
	c.UpdateOnly = !f.Make
	return d.writePeer(ctx, name, c)
}

// RemovePeer ends a peer's session. A peer that is not there is fine.
func (d *Devices) RemovePeer(ctx context.Context, name string, p key.Public) error {
	defer d.forget(name, wgtypes.Key(p))
	return d.writePeer(ctx, name, wgtypes.PeerConfig{PublicKey: wgtypes.Key(p), Remove: true})
}

// peerConfig is the smallest message that sets the fields. Adding a prefix
// moves it from the peer that had it without a gap; replacing takes all away
// first, and is for removing some only.
func peerConfig(p tunnels.Peer, f tunnels.PeerFields) wgtypes.PeerConfig {
	c := wgtypes.PeerConfig{PublicKey: wgtypes.Key(p.PublicKey)}
	if f.Endpoint && p.Endpoint.IsValid() {
		c.Endpoint = net.UDPAddrFromAddrPort(p.Endpoint)
	}
	if f.Keepalive {
		c.PersistentKeepaliveInterval = new(p.Keepalive.Round(time.Second))
	}
	if f.Preshared {
		c.PresharedKey = new(wgtypes.Key(p.PresharedKey.Bytes()))
	}
	if f.AddIPs || f.ReplaceIPs {
		c.ReplaceAllowedIPs = f.ReplaceIPs
		for _, prefix := range p.AllowedIPs {
			c.AllowedIPs = append(c.AllowedIPs, ipNet(prefix.Masked()))
		}
	}
	return c
}

func (d *Devices) writePeer(ctx context.Context, name string, c wgtypes.PeerConfig) error {
	backend, err := d.backend(name)
	if err != nil {
		return err
	}
	return d.write(ctx, name, backend, wgtypes.Config{Peers: []wgtypes.PeerConfig{c}})
}

func (d *Devices) backend(name string) (Backend, error) {
	link, err := d.links.LinkByName(name)
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	backend := backendOf(link)
	if !Ours(name) || backend == "" {
		return "", foreign(name, link.Type())
	}
	return backend, nil
}

func (d *Devices) read(ctx context.Context, name string) (*wgtypes.Device, Backend, error) {
	backend, err := d.backend(name)
	if err != nil {
		return nil, "", err
	}
	read, err := d.device(ctx, name, backend)
	if errors.Is(err, ErrSilent) {
		return nil, "", err
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", name, err)
	}
	return read, backend, nil
}

func (d *Devices) write(ctx context.Context, name string, backend Backend, c wgtypes.Config) error {
	port := 0
	if c.ListenPort != nil {
		port = *c.ListenPort
	}
	err := d.with(ctx, name, backend, func(client *wgctrl.Client) error { return client.ConfigureDevice(name, c) })
	return explain(name, port, err)
}
