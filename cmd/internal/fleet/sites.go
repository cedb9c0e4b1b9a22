package fleet

import (
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// The columns of sites.csv and attachments.csv; of each the first must be there.
var (
	siteColumns       = []string{"site", "name", "kind", "ods", "postcode", "circuit", "care_level", "gateways", "ring", "open", "window"}
	attachmentColumns = []string{"site", "network", "lan", "as", "may_cover", "hubs"}

	// returned are those that `sites --csv` adds: when a sheet comes back with
	// them, they are ours and say nothing.
	returned = []string{"state", "version", "last_seen", "last_change"}
)

// readSites reads sites.csv.
func (r *reading) readSites() {
	rows := r.rowsOf(sitesFile, siteColumns[:1], siteColumns[1:]...)
	r.Sites = make([]Site, 0, len(rows))
	for _, c := range rows {
		s := Site{
			ID:       c.name("site", "our own short name of it, as in avocet"),
			ODS:      c.ods(),
			Postcode: c.postcode(),
			Gateways: c.integer("gateways", 1, gatewaysMax, 1),
			Ring:     c.ring(),
			Window:   c.window(),

			CareLevel: c.integer("care_level", 1, 4, 0),
			line:      c.line,
		}
		s.Name, _ = c.text("name")
		s.Kind, _ = c.text("kind")
		s.Circuit, _ = c.text("circuit")
		s.Open, _ = c.text("open")
		c.shortEnough(s.ID)
		s.cells = map[string]string{}
		for _, column := range r.chosenBy {
			s.cells[column] = strings.ToLower(c.s.get(c.row, column))
		}
		if first, twice := r.siteAt[s.ID]; twice {
			c.problem("site", "one row a site; LANs are rows of "+attachmentsFile, "%s has row %d as well", config.Show(s.ID), r.Sites[first].line)
			continue
		}
		r.siteAt[s.ID] = len(r.Sites)
		if meant := meantName(s.ID); meant != s.ID {
			r.siteAt[meant] = len(r.Sites) // told, and not again where its rows are
		}
		r.Sites = append(r.Sites, s)
	}
}

// nameMax is the longest name of a gateway, in bytes: "-1" goes behind a site's.
const nameMax = 32

func (c cells) shortEnough(id string) {
	if len(id) > nameMax-2 && len(id) <= nameMax {
		c.problem("site", "", "%s has %d characters; %d is the most, as its gateways are %s-1, -2", config.Show(id), len(id), nameMax-2, config.Show(id))
	}
}

// ring is the site's own ring, which must be one of the fleet's.
func (c cells) ring() string {
	t, ok := c.text("ring")
	if !ok || !c.r.hasTOML || slices.Contains(c.r.Rollout.Rings, t) {
		return t
	}
	hint := config.Among(t, c.r.Rollout.Rings)
	if t == hubsRing {
		hint = "it is that of the hubs"
	}
	c.problem("ring", hint, "%s is not a ring of this fleet", config.Show(t))
	return ""
}

func (c cells) window() string {
	t, ok := c.text("window")
	if !ok {
		return ""
	}
	if _, err := centre.ParseWindow(t); err != nil {
		c.problem("window", "as in Mon-Thu 19:00-23:00; always; empty: the fleet's", "%s is not a window", config.Show(t))
		return ""
	}
	return t
}

// readAttachments reads attachments.csv into the sites.
func (r *reading) readAttachments() {
	for _, c := range r.rowsOf(attachmentsFile, attachmentColumns[:2], attachmentColumns[2:]...) {
		site := c.name("site", "a site of "+sitesFile)
		network := c.name("network", "a network of "+tomlFile)
		l := LAN{Prefix: c.prefix("lan"), As: c.prefix("as"), line: c.line}
		if words, ok := c.text("may_cover"); ok {
			l.MayCover = strings.Fields(words)
		}
		c.fits(&l)
		hubs, _ := c.text("hubs")
		i, known := r.siteAt[site]
		if !known && site != "" && len(r.siteAt) > 0 {
			c.problem("site", r.nearSite(site), "there is no site %s", config.Show(site))
		}
		n, there := r.networkAt[network]
		if !there && network != "" && r.hasTOML {
			c.problem("network", config.Among(network, r.networkNames()), "there is no network %s", config.Show(network))
		}
		if known && there {
			r.attach(c, &r.Sites[i], network, l, c.hubsOf(&r.Networks[n], strings.Fields(hubs)))
		}
	}
}

// hubsOf are the hubs that the site itself prefers, of those of the network.
func (c cells) hubsOf(n *Network, names []string) []string {
	for i, h := range names {
		switch {
		case !slices.Contains(n.Hubs, h):
			c.problem("hubs", config.Among(h, n.Hubs), "%s is not a hub of %s", config.Show(h), n.Name)
			return nil
		case slices.Index(names, h) < i:
			c.problem("hubs", "", "%s is listed twice", config.Show(h))
			return nil
		}
	}
	return names
}

// nearSite is the site that a misspelt one was probably meant to be.
func (r *reading) nearSite(name string) string {
	if len(name) < 3 {
		return ""
	}
	var near []string
	for _, s := range r.Sites { // of ten thousand, only those that begin or end alike
		if len(s.ID) >= 2 && (strings.HasPrefix(s.ID, name[:2]) || strings.HasSuffix(s.ID, name[len(name)-2:])) {
			near = append(near, s.ID)
		}
	}
	return config.Nearest(name, near)
}

// attach puts a row into its site.
func (r *reading) attach(c cells, s *Site, network string, l LAN, hubs []string) {
	i := slices.IndexFunc(s.Attachments, func(a Attachment) bool { return a.Network == network })
	if i < 0 {
		i = len(s.Attachments)
		s.Attachments = append(s.Attachments, Attachment{Network: network, line: c.line})
	}
	a := &s.Attachments[i]
	if len(a.Hubs) == 0 {
		a.Hubs = hubs
	} else if len(hubs) > 0 && !slices.Equal(a.Hubs, hubs) {
		c.problem("hubs", "a site has one order of hubs in a network", "is not that of row %d, of the same site and network", a.line)
	}
	for _, o := range a.LANs {
		if l.Prefix.IsValid() && o.Prefix.Overlaps(l.Prefix) {
			c.problem("lan", "one of the two rows is enough", "%v overlaps %v of row %d, of the same site", l.Prefix, o.Prefix, o.line)
			return
		}
	}
	if l.Prefix.IsValid() {
		a.LANs = append(a.LANs, l)
	}
}

// fits checks that an `as` goes with its lan, and drops it where it does not.
func (c cells) fits(l *LAN) {
	lan := c.s.get(c.row, "lan")
	switch {
	case !l.As.IsValid():
		return
	case !l.Prefix.IsValid() && lan == "":
		c.problem("as", "fill lan, or empty it", "%v is of no lan", l.As)
	case !l.Prefix.IsValid():
	case l.As.Addr().Is4() != l.Prefix.Addr().Is4():
		c.problem("as", "two prefixes of IPv4, or two of IPv6", "%v is not of the same version of IP as lan, %v", l.As, l.Prefix)
	case l.As.Bits() != l.Prefix.Bits():
		c.problem("as", "address for address: a /"+bits(l.Prefix), "%v is not as long as lan, %v", l.As, l.Prefix)
	case l.As == l.Prefix:
		c.problem("as", "leave it empty", "is lan itself")
	default:
		return
	}
	*l = LAN{Prefix: l.Prefix, MayCover: l.MayCover, line: l.line}
}
