package config

import (
	"cmp"
	"fmt"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Spec is what the tunnels are to be. keys gives our private key of a network;
// preshared keys are read from the files that the config names.
func (c *Config) Spec(keys func(network string) (key.Private, error)) (tunnels.Spec, error) {
	var spec tunnels.Spec
	for _, n := range c.Networks {
		own, err := keys(n.Name)
		if err != nil {
			return tunnels.Spec{}, fmt.Errorf("network %s: own key: %w", n.Name, err)
		}
		devices, err := n.devices(own)
		if err != nil {
			return tunnels.Spec{}, fmt.Errorf("network %s: %w", n.Name, err)
		}
		echo := 0
		if n.Role == tunnels.Hub {
			echo = checks.EchoPort
		}
		spec.Networks = append(spec.Networks, tunnels.Network{
			Name:      n.Name,
			Role:      n.Role,
			Addresses: n.Address,
			LAN:       n.LAN,
			Map:       n.Map,
			Ingress:   n.Ingress,
			Table:     n.Table,
			Priority:  n.Priority,
			Devices:   devices,
			Allow:     n.Allow,
			EchoPort:  echo,
			Refused:   n.Refused,
		})
	}
	return spec, nil
}

// devices is one device for each hub, or, in the hub role, one with every site.
func (n Network) devices(own key.Private) ([]tunnels.Tunnel, error) {
	device := func(name, hub string, peers []tunnels.PeerSpec) tunnels.Tunnel {
		return tunnels.Tunnel{Device: name, Hub: hub, PrivateKey: own,
			ListenPort: n.ListenPort, MTU: cmp.Or(n.MTU, DefaultMTU), Peers: peers}
	}
	if n.Role == tunnels.Hub {
		var peers []tunnels.PeerSpec
		for _, s := range n.Sites {
			p, err := s.spec()
			if err != nil {
				return nil, fmt.Errorf("site %s: %w", s.Name, err)
			}
			peers = append(peers, p)
		}
		return []tunnels.Tunnel{device(n.Device, "", peers)}, nil
	}
	var list []tunnels.Tunnel
	for _, h := range n.Hubs {
		p, err := h.spec()
		if err != nil {
			return nil, fmt.Errorf("hub %s: %w", h.Name, err)
		}
		p.Endpoints = h.Endpoints
		list = append(list, device(h.Device, h.Name, []tunnels.PeerSpec{p}))
	}
	return list, nil
}

func (p Peer) spec() (tunnels.PeerSpec, error) {
	public, err := key.ParsePublic(p.PublicKey)
	if err != nil {
		return tunnels.PeerSpec{}, fmt.Errorf("public key: %w", err)
	}
	s := tunnels.PeerSpec{Name: p.Name, PublicKey: public, AllowedIPs: p.AllowedIPs, Keepalive: p.Keepalive}
	if p.PresharedKeyFile != "" {
		if s.PresharedKey, err = key.LoadPreshared(p.PresharedKeyFile); err != nil {
			return tunnels.PeerSpec{}, err
		}
	}
	return s, nil
}
