package fleet

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ginnel/ginnel/agent/config"
)

// index finds things by name.
type index struct {
	siteAt, networkAt, hubAt, gatewayAt map[string]int

	chosenBy []string // columns of sites.csv that checks choose by
	members  map[string][]*member
	memberAt map[end]*member
	keys     map[end]*row
	address  map[end]netip.Prefix
	numbers  map[string]*row // of generations.csv
	given    map[string]bool // gateways that were given an address by this Load

	addressRow map[end]*row // of those that were not
}

// end is a gateway in a network.
type end struct{ gateway, network string }

// member is a site's gateway in a network.
type member struct {
	gateway string
	site    *Site
	att     *Attachment
	lans    []LAN // of the first gateway of a site only
	address netip.Prefix
}

func (r *reading) makeIndex() {
	r.siteAt, r.networkAt, r.hubAt, r.gatewayAt = map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	r.members, r.memberAt = map[string][]*member{}, map[end]*member{}
	r.keys, r.address, r.numbers = map[end]*row{}, map[end]netip.Prefix{}, map[string]*row{}
	r.addressRow = map[end]*row{}
	for i, n := range r.Networks {
		r.networkAt[n.Name] = i
	}
	for i, h := range r.Hubs {
		r.hubAt[h.Name] = i
	}
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func networkNames(list []Network) []string {
	var all []string
	for _, n := range list {
		all = append(all, n.Name)
	}
	return all
}

func (f *Fleet) networkNames() []string { return networkNames(f.Networks) }

func (f *Fleet) network(name string) *Network { return &f.Networks[f.networkAt[name]] }

func bits(p netip.Prefix) string { return strconv.Itoa(p.Bits()) }

// gatewayName is the name of the nth gateway of a site, from 0.
func gatewayName(site string, nth int) string { return fmt.Sprintf("%s-%d", site, nth+1) }

// makeGateways lists the gateways and what each is a member of.
func (r *reading) makeGateways() {
	for i, h := range r.Hubs {
		g := Gateway{Name: h.Name, Site: h.Name, Hub: true, place: i}
		for _, n := range r.Networks {
			if slices.Contains(n.Hubs, h.Name) {
				r.joins(&g, n)
			}
		}
		r.addGateway(g)
	}
	for i := range r.Sites {
		s := &r.Sites[i]
		slices.SortStableFunc(s.Attachments, func(a, b Attachment) int { return r.networkAt[a.Network] - r.networkAt[b.Network] })
		for nth := range s.Gateways {
			g := Gateway{Name: gatewayName(s.ID, nth), Site: s.ID, Ring: r.ringOf(s), Acute: s.acute(), Window: s.Window, place: i, nth: nth}
			if h, taken := r.hubAt[g.Name]; taken {
				r.problem(sitesFile, s.line, "site", "give one of them another name", "its gateway %s has the name of a hub, %s", g.Name, at(tomlFile, r.Hubs[h].table.Line("")))
				continue
			}
			for j := range s.Attachments {
				a := &s.Attachments[j]
				r.joins(&g, r.Networks[r.networkAt[a.Network]])
				m := &member{gateway: g.Name, site: s, att: a}
				if nth == 0 {
					m.lans = slices.Clone(a.LANs)
					slices.SortFunc(m.lans, func(x, y LAN) int { return x.Prefix.Compare(y.Prefix) })
				}
				r.members[a.Network] = append(r.members[a.Network], m)
				r.memberAt[end{g.Name, a.Network}] = m
			}
			r.addGateway(g)
		}
	}
}

func (r *reading) addGateway(g Gateway) {
	r.gatewayAt[g.Name] = len(r.gateways)
	r.gateways = append(r.gateways, g)
}

// joins makes a gateway one of a network's.
func (r *reading) joins(g *Gateway, n Network) {
	g.Networks = append(g.Networks, n.Name)
	if !slices.Contains(g.Organisations, n.Organisation) {
		g.Organisations = append(g.Organisations, n.Organisation)
	}
}

// choose notes the checks that choose nobody.
func (r *reading) choose() {
	if !r.hasSheets || len(r.Sites) == 0 {
		return
	}
	sites := r.sheets[sitesFile]
	for _, c := range r.Checks {
		missing := false
		if where, ok := c.table.Table("where"); ok {
			for _, key := range where.Keys() {
				if _, ok := sites.column[normal(key)]; !ok {
					missing = true
					hint := "add it there"
					if !slices.Contains(siteColumns, normal(key)) {
						hint = config.Among(normal(key), names(sites.column))
					}
					where.Problem(key, hint, "%s has no such column", sitesFile)
				}
			}
		}
		if c.OnHub || missing || slices.ContainsFunc(r.Sites, func(s Site) bool { return r.chooses(c, &s) }) {
			continue
		}
		p := c.table.At("name", -1)
		p.Message, p.Hint = fmt.Sprintf("check %s chooses no site", c.Name), "look at where, and at its network"
		r.notes = append(r.notes, p)
	}
}

// chooses says whether a check is one of a site's gateways'.
func (f *Fleet) chooses(c Check, s *Site) bool {
	if c.OnHub {
		return false
	}
	if c.Network != "" && !slices.ContainsFunc(s.Attachments, func(a Attachment) bool { return a.Network == c.Network }) {
		return false
	}
	for column, words := range c.Where {
		if !slices.Contains(words, s.cells[column]) {
			return false
		}
	}
	return true
}
