package county

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Plan is a county on paper.
type Plan struct {
	IPv6     bool // besides IPv4, inside and outside; see Six
	Networks []NetworkPlan
	Hubs     []HubPlan
	Sites    []SitePlan
	Rhythm   time.Duration // how often checks run and tunnels are probed; 0: as the lab does

	byHand bool // see ByHand
}

// NetworksOf are the networks that a hub takes part in.
func (p Plan) NetworksOf(h HubPlan) []NetworkPlan {
	return slices.DeleteFunc(slices.Clone(p.Networks), func(n NetworkPlan) bool { return h.Ports[n.Name] == 0 })
}

// NetworkPlan is a virtual network of an organisation.
type NetworkPlan struct {
	Name     string
	Services netip.Prefix // the LAN behind its hubs
	Service  netip.Addr   // the host there that answers
	Checks   []CheckPlan  // that every site of the network runs
	Allow    []AllowPlan  // in the config of each of its gateways
}

// AllowPlan is one [[network.allow]]; with IPv6 it stands there for both.
type AllowPlan struct {
	From, To string // a prefix, or "sites"
	Ports    []string
}

// HubPlan is a hub in the data centre. It takes part in the networks that it
// has a port for.
type HubPlan struct {
	Name    string
	Address netip.Addr // on the WAN
	Delay   time.Duration
	Ports   map[string]int        // UDP, by network
	Overlay map[string]netip.Addr // its address inside each network
	Over6   bool                  // sites call it by its IPv6 address

	// By site: what it sends there besides what the site has.
	Also map[string][]netip.Prefix
}

// SitePlan is a site with one gateway.
type SitePlan struct {
	Name, Title, Postcode string
	Number                int          // from 0; the WAN and overlay addresses follow from it
	LAN                   netip.Prefix // behind its gateway, on eth1
	LAN2                  netip.Prefix // on eth2; zero: there is none
	Delay                 time.Duration
	Joins                 []Join
	Unplugged             bool        // its cables are not in; see Plug
	Checks                []CheckPlan // besides those of its networks
}

// Join is a site's place in a network.
type Join struct {
	Network string
	Hubs    []string       // in order of preference
	Ingress string         // the link whose LAN it brings: "eth1" or "eth2"; empty: LAN, and no link is named
	Accepts []netip.Prefix // besides the hubs' overlay addresses and the services
	Lax     bool           // its own config allows everything towards the hubs
}

// CheckPlan is one [[check]].
type CheckPlan struct {
	Name, Kind, Network, Target, StandsFor string
	Options                                map[string]string
	Interval                               string // empty: the plan's
	Up                                     int    // successes that make it up; 0: the agent's default
}

// Gateway is the name of the site's gateway.
func (s SitePlan) Gateway() string { return s.Name + "-1" }

// WAN is the gateway's address on its line; the provider's is the one before.
func (s SitePlan) WAN() netip.Addr { return addr(fmt.Sprintf("192.0.2.%d", 129+2*s.Number)) }

// Router is the gateway's address on the LAN.
func (s SitePlan) Router() netip.Addr { return routerOf(s.LAN) }

// Host is the address of the LAN host that the scenarios use.
func (s SitePlan) Host() netip.Addr { return hostOf(s.LAN) }

// Host2 is Host on the second LAN.
func (s SitePlan) Host2() netip.Addr { return hostOf(s.LAN2) }

// lanOf is the LAN that a join brings to its network.
func (s SitePlan) lanOf(j Join) netip.Prefix {
	if j.Ingress == "eth2" {
		return s.LAN2
	}
	return s.LAN
}

func routerOf(lan netip.Prefix) netip.Addr { return lan.Addr().Next() }

func hostOf(lan netip.Prefix) netip.Addr {
	b := lan.Addr().As4()
	b[3] = 20
	return netip.AddrFrom4(b)
}

// overlays is the third byte of each network's overlay addresses.
var overlays = map[string]byte{"kestrel": 0, "heron": 64, "plover": 128}

// Overlay is the gateway's address inside a network.
func (s SitePlan) Overlay(network string) netip.Addr {
	return netip.AddrFrom4([4]byte{100, 64, overlays[network], byte(7 + s.Number)})
}

// Six is the IPv6 address of whoever has an IPv4 one: the same behind RFC 3849's
// prefix.
func Six(a netip.Addr) netip.Addr {
	b, four := [16]byte{0x20, 0x01, 0x0d, 0xb8}, a.As4()
	copy(b[12:], four[:])
	return netip.AddrFrom16(b)
}

// SixPrefix is Six for prefixes.
func SixPrefix(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(Six(p.Addr()), 96+p.Bits())
}

// Addresses that belong to no site and no hub.
var (
	CollectorAddress = addr("192.0.2.40")
	InternetAddress  = addr("192.0.2.53")
)

// Whole is the county: 8 tunnels and 19 checks. The demo shows it WithEveryKind.
func Whole() Plan {
	lan := netip.MustParsePrefix
	portal := CheckPlan{Name: "portal", Kind: "http", Network: "heron",
		Target: "http://203.0.113.40/", StandsFor: "Hospital portal"}
	p := Plan{
		Networks: []NetworkPlan{{
			Name: "kestrel", Services: lan("198.51.100.0/24"), Service: addr("198.51.100.20"),
			Checks: []CheckPlan{
				{Name: "records", Kind: "tcp", Target: "198.51.100.20:443", StandsFor: "Patient records"},
				{Name: "names", Kind: "dns", Target: "198.51.100.20:53", StandsFor: "Names inside kestrel",
					Options: map[string]string{"name": "records.example.net"}},
			},
		}, {
			Name: "heron", Services: lan("203.0.113.0/24"), Service: addr("203.0.113.40"),
			Checks: []CheckPlan{
				{Name: "results", Kind: "tcp", Target: "203.0.113.40:443", StandsFor: "Hospital results"},
			},
		}},
		Hubs: []HubPlan{
			hub("hub-north", "192.0.2.10", 1, time.Millisecond, map[string]int{"kestrel": 51820, "heron": 51821}),
			hub("hub-south", "192.0.2.20", 2, 7500*time.Microsecond, map[string]int{"heron": 51820, "kestrel": 51821}),
		},
		Sites: []SitePlan{
			site("avocet", "Avocet Surgery", "ZZ1 1AA", "192.168.10.0/24", 4500, "kestrel hub-north", "heron hub-south"),
			site("bittern", "Bittern Road Surgery", "ZZ1 2BB", "192.168.20.0/24", 3500, "kestrel hub-north"),
			site("curlew", "Curlew Pharmacy", "ZZ2 3CC", "192.168.30.0/24", 2000, "heron hub-south"),
			site("dunlin", "Dunlin House", "ZZ2 4DD", "192.168.40.0/24", 4000, "heron hub-south"),
			site("egret", "Egret Hospital, Main Site", "ZZ3 5EE", "192.168.48.0/22", 3800, "heron hub-north"),
			site("fulmar", "Fulmar Medical Centre", "ZZ4 6FF", "192.168.44.0/24", 3000, "kestrel hub-south", "heron hub-south"),
		},
	}
	for i := range p.Sites {
		s := &p.Sites[i]
		s.Number = i
		s.Checks = []CheckPlan{{Name: "internet", Kind: "dns", Target: "192.0.2.53:53", StandsFor: "Internet",
			Options: map[string]string{"name": "internet.example.net"}}}
		if s.Name == "dunlin" || s.Name == "egret" {
			s.Checks = append(s.Checks, portal)
		}
	}
	return p
}

// Only is the county with some of its sites, and what they need of hubs.
func (p Plan) Only(sites ...string) Plan {
	used := map[string]bool{}
	p.Sites = slices.DeleteFunc(slices.Clone(p.Sites), func(s SitePlan) bool {
		gone := !slices.Contains(sites, s.Name)
		for _, j := range s.Joins {
			for _, h := range j.Hubs {
				used[h] = used[h] || !gone
			}
		}
		return gone
	})
	p.Hubs = slices.DeleteFunc(slices.Clone(p.Hubs), func(h HubPlan) bool { return !used[h.Name] })
	return p
}

// Tunnels and Checks are how many the plan has.
func (p Plan) Tunnels() (n int) {
	for _, s := range p.Sites {
		for _, j := range s.Joins {
			n += len(j.Hubs)
		}
	}
	return n
}

func (p Plan) Checks() (n int) {
	for _, s := range p.Sites {
		n += len(p.checksOf(s))
	}
	return n
}

// checksOf is every check of a site's gateway.
func (p Plan) checksOf(s SitePlan) []CheckPlan {
	var all []CheckPlan
	for _, j := range s.Joins {
		for _, c := range p.network(j.Network).Checks {
			c.Network = j.Network
			all = append(all, c)
		}
	}
	return append(all, s.Checks...)
}

func (p Plan) network(name string) NetworkPlan {
	for _, n := range p.Networks {
		if n.Name == name {
			return n
		}
	}
	panic("no network " + name + " in the plan")
}

func (p Plan) hub(name string) HubPlan {
	for _, h := range p.Hubs {
		if h.Name == name {
			return h
		}
	}
	panic("no hub " + name + " in the plan")
}

func hub(name, wan string, last byte, delay time.Duration, ports map[string]int) HubPlan {
	h := HubPlan{Name: name, Address: addr(wan), Delay: delay, Ports: ports, Overlay: map[string]netip.Addr{}}
	for network := range ports {
		h.Overlay[network] = netip.AddrFrom4([4]byte{100, 64, overlays[network], last})
	}
	return h
}

// site takes its delay in microseconds, one way, and joins as "network hub…".
func site(name, title, postcode, lan string, delay int, joins ...string) SitePlan {
	s := SitePlan{Name: name, Title: title, Postcode: postcode, LAN: netip.MustParsePrefix(lan),
		Delay: time.Duration(delay) * time.Microsecond}
	for _, j := range joins {
		words := strings.Fields(j)
		s.Joins = append(s.Joins, Join{Network: words[0], Hubs: words[1:]})
	}
	return s
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
