package county

import (
	"context"

	"github.com/ginnel/ginnel/agent/identity"
)

// packPath is where the site pack is laid down on a gateway.
const packPath = "/run/site.pack"

// Enrol has the desk make a site pack, carries it to the gateway and enrols.
func (c *County) Enrol(ctx context.Context, s *Site) error {
	pack, err := c.MakePack(ctx, s)
	if err != nil {
		return err
	}
	return s.EnrolWith(ctx, pack)
}

// MakePack runs `ginnelctl site add` at the desk and returns the pack. For a
// site that is known already it makes a new token, and the old one is void.
func (c *County) MakePack(ctx context.Context, s *Site) (string, error) {
	var networks []string
	for _, j := range s.Joins {
		networks = append(networks, j.Network)
	}
	return c.makePack(ctx, s.Name(), s.Gateway(), networks, "--name", s.Title, "--postcode", s.Postcode)
}

// EnrolHub is Enrol for a hub that has its config by hand.
func (c *County) EnrolHub(ctx context.Context, h *Hub) error {
	pack, err := c.makePack(ctx, h.Name(), h.Name(), sortedKeys(h.Ports), "--name", h.Name(), "--postcode", "ZZ9 9ZZ")
	if err != nil {
		return err
	}
	return h.EnrolWith(ctx, pack)
}

func (c *County) makePack(ctx context.Context, site, gateway string, networks []string, about ...string) (string, error) {
	file := "/run/" + site + ".pack"
	if _, err := c.Collector.Node.Run(ctx, "rm", "-f", file); err != nil {
		return "", err
	}
	args := append([]string{"env", "GINNEL_KEYSTORE=/run/packs", "ginnelctl", "site", "add", site, "--gateway", gateway, "-o", file}, about...)
	for _, n := range networks {
		args = append(args, "--network", n)
	}
	_, err := c.Collector.Node.Run(ctx, args...)
	if err != nil {
		return "", err
	}
	text, err := c.Collector.Node.ReadFile(file)
	if err != nil || len(c.Signers) == 0 {
		return text, err
	}
	pack, err := identity.ParsePack(file, []byte(text))
	if err != nil {
		return "", err
	}
	pack.Signers = c.Signers
	signed, err := pack.Text()
	return string(signed), err
}
