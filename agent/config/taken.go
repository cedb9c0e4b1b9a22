package config

import (
	"errors"
	"fmt"

	"github.com/ginnel/ginnel/tunnels"
)

// ErrTaken marks the problems of Taken.
var ErrTaken = errors.New("somebody else on this host has it")

// Taken is what somebody else on this host has and the config needs, each at
// the key that could be changed: written, or derived from the network's name.
func (c *Config) Taken(list []tunnels.Taken) Problems {
	var ps Problems
	for _, t := range list {
		for i, n := range c.Networks {
			if n.Name != t.Network {
				continue
			}
			path, said := n.needs(t)
			ps = append(ps, c.at(item("network", i)+"."+path, Problem{Err: ErrTaken, Hint: t.Hint,
				Message: fmt.Sprintf("%s taken: %s", said, t.By)}))
		}
	}
	ps.sort()
	return ps
}

// needs is where in a network a thing is asked for, and the beginning of what
// is to be said of it.
func (n *Network) needs(t tunnels.Taken) (path, said string) {
	switch t.Kind {
	case tunnels.TakenTable:
		return "table", fmt.Sprintf("%d is", n.Table)
	case tunnels.TakenPriority:
		return "priority", fmt.Sprintf("%d to %d are", n.Priority, n.Priority+tunnels.PrioritySpan-1)
	case tunnels.TakenPort:
		return "listen_port", fmt.Sprintf("%d is", n.ListenPort)
	}
	for j, h := range n.Hubs {
		if h.Device == t.Device {
			return item("hub", j) + ".device", t.Device + " is"
		}
	}
	return "device", t.Device + " is"
}
