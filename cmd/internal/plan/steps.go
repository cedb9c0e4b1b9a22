package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Steps are what the gateway will do to its host, by what it said of that host
// last: the same plan as its own `ginnel plan`, but that private keys, files and
// the addresses of names are not known here.
func (c *Change) Steps(host block.HostSnapshot) ([]tunnels.Step, error) {
	want, err := state(c.new, host)
	if err != nil {
		return nil, err
	}
	have, err := state(c.old, host)
	if err != nil {
		return nil, err
	}
	return tunnels.Plan(want, have), nil
}

// Detail is what `ginnelctl plan --gateway` prints of a gateway.
func (c *Change) Detail(host block.HostSnapshot) (string, error) {
	steps, err := c.Steps(host)
	if err != nil {
		return "", err
	}
	var names []string
	for _, n := range c.new.Networks {
		names = append(names, n.Name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, generation %d over %s\n\n", c.Gateway, c.Sequence, or(generation(c.Running.Generation, c.Running.Hash), "nothing"))
	for _, l := range c.Lines {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	fmt.Fprintf(&b, "\n%s\n%sNothing was signed, nothing was sent.\n", tunnels.FormatSteps(names, steps), tunnels.Effect(steps))
	return b.String(), nil
}

func generation(g uint64, hash string) string {
	switch {
	case hash == "":
		return ""
	case g == 0:
		return "one by hand"
	}
	return fmt.Sprintf("generation %d", g)
}

// state is what a config makes of a host. A nil config makes nothing.
func state(c *config.Config, host block.HostSnapshot) (tunnels.State, error) {
	if c == nil {
		return tunnels.State{}, nil
	}
	spec, err := withoutFiles(c).Spec(func(string) (key.Private, error) { return key.Private{}, nil })
	if err != nil {
		return tunnels.State{}, err
	}
	facts := tunnels.Facts{}
	for _, l := range host.Links {
		facts.Links = append(facts.Links, tunnels.Link{Name: l.Name, Addresses: l.Prefixes})
		if l.Uplink {
			facts.Uplinks = append(facts.Uplinks, l.Name)
		}
	}
	s, _ := tunnels.Want(spec, facts, literally)
	return s, nil
}

// literally gives the address of an endpoint that is one, and none of a name.
func literally(hostport string) []netip.AddrPort {
	if a, err := netip.ParseAddrPort(hostport); err == nil {
		return []netip.AddrPort{a}
	}
	return nil
}

// withoutFiles is a config that needs no file of the gateway's.
func withoutFiles(c *config.Config) *config.Config {
	bare := *c
	bare.Networks = slices.Clone(c.Networks)
	for i := range bare.Networks {
		n := &bare.Networks[i]
		n.Hubs, n.Sites = slices.Clone(n.Hubs), slices.Clone(n.Sites)
		for j := range n.Hubs {
			n.Hubs[j].PresharedKeyFile = ""
		}
		for j := range n.Sites {
			n.Sites[j].PresharedKeyFile = ""
		}
	}
	return &bare
}

// cuts lists the tunnels of a gateway that go down; what cannot be told counts
// as none, for the gateway judges for itself.
func cuts(c *Change) []string {
	if c.old == nil || reflect.DeepEqual(c.old.Networks, c.new.Networks) {
		return nil
	}
	steps, err := c.Steps(block.HostSnapshot{})
	if err != nil {
		return nil
	}
	return tunnels.GoingDown(steps)
}
