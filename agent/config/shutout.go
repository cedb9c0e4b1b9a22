package config

import (
	"slices"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/tunnels"
)

// Without is the config with what a list shuts out taken away: at a hub the
// peers that it names, and all of an isolated network. What led to them is
// refused from then on. A site needs nothing taken away: the hub is silent to
// it. Places in the file are those of c; ask c for what is wrong at one.
func (c *Config) Without(l *bundle.DenyList) *Config {
	if l == nil || len(l.Denials) == 0 {
		return c
	}
	less := *c
	less.Networks = slices.Clone(c.Networks)
	for i := range less.Networks {
		n := &less.Networks[i]
		if n.Role != tunnels.Hub {
			continue
		}
		all := l.Network(n.Name) != nil
		n.Sites = nil
		for _, p := range c.Networks[i].Sites {
			if all || l.Peer(p.Name, p.PublicKey) != nil {
				n.Refused = append(n.Refused[:len(n.Refused):len(n.Refused)], p.AllowedIPs...)
			} else {
				n.Sites = append(n.Sites, p)
			}
		}
	}
	return &less
}
