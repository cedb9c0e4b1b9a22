package county

import (
	"net/netip"
	"time"
)

// Apart is the county in which networks must not mix. Behind the hubs of
// kestrel and of plover are the same prefixes; avocet is in both and in heron
// besides, and tells them apart by the link that traffic comes in by. hub-south
// serves two networks. In each network sites may open what is listed, and in
// kestrel one host behind the hubs may print at the sites, and bittern may call
// avocet; nothing else may be opened into a site. Nobody has looked at dunlin's
// config: it allows everything, and the hub alone refuses. Nor at hub-west's: it
// sends avocet what is not avocet's.
func Apart() Plan {
	prefix := netip.MustParsePrefix
	records, results := prefix("198.51.100.0/24"), prefix("203.0.113.0/24")
	towards := func(services netip.Prefix) AllowPlan {
		return AllowPlan{From: "sites", To: services.String(), Ports: []string{"tcp/443", "udp/53", "icmp"}}
	}
	p := Plan{
		IPv6: true,
		Networks: []NetworkPlan{
			{Name: "kestrel", Services: records, Service: addr("198.51.100.20"), Allow: []AllowPlan{
				towards(records),
				{From: "198.51.100.20/32", To: "sites", Ports: []string{"tcp/9100"}},
				{From: "192.168.20.0/24", To: "192.168.10.0/24", Ports: []string{"tcp/8443"}},
			}},
			{Name: "heron", Services: results, Service: addr("203.0.113.40"), Allow: []AllowPlan{towards(results)}},
			{Name: "plover", Services: records, Service: addr("198.51.100.20"), Allow: []AllowPlan{towards(records)}},
		},
		Hubs: []HubPlan{
			hub("hub-north", "192.0.2.10", 1, time.Millisecond, map[string]int{"kestrel": 51820}),
			hub("hub-south", "192.0.2.20", 2, time.Millisecond, map[string]int{"kestrel": 51820, "heron": 51821}),
			hub("hub-east", "192.0.2.30", 3, time.Millisecond, map[string]int{"heron": 51820}),
			hub("hub-west", "192.0.2.60", 4, time.Millisecond, map[string]int{"heron": 51820}),
			hub("hub-inner", "192.0.2.70", 5, time.Millisecond, map[string]int{"plover": 51820}),
			hub("hub-outer", "192.0.2.80", 6, time.Millisecond, map[string]int{"plover": 51820}),
		},
		Sites: []SitePlan{
			site("avocet", "Avocet Surgery", "ZZ1 1AA", "192.168.10.0/24", 1000,
				"kestrel hub-north hub-south", "heron hub-east hub-west", "plover hub-inner hub-outer"),
			site("bittern", "Bittern Road Surgery", "ZZ1 2BB", "192.168.20.0/24", 1000, "kestrel hub-north hub-south"),
			site("curlew", "Curlew Pharmacy", "ZZ2 3CC", "192.168.30.0/24", 1000, "plover hub-inner hub-outer"),
			site("dunlin", "Dunlin House", "ZZ2 4DD", "192.168.40.0/24", 1000, "kestrel hub-north hub-south"),
			site("egret", "Egret Hospital, Main Site", "ZZ3 5EE", "192.168.48.0/24", 1000, "heron hub-south"),
		},
	}
	for i := range p.Sites {
		p.Sites[i].Number = i
	}
	avocet, bittern, dunlin := &p.Sites[0], &p.Sites[1], &p.Sites[3]
	avocet.LAN2 = prefix("192.168.11.0/24")
	for i, link := range []string{"eth1", "eth1", "eth2"} {
		avocet.Joins[i].Ingress = link
	}
	avocet.Joins[0].Accepts = []netip.Prefix{bittern.LAN}
	bittern.Joins[0].Accepts = []netip.Prefix{avocet.LAN}
	dunlin.Joins[0].Accepts = []netip.Prefix{avocet.LAN, bittern.LAN}
	dunlin.Joins[0].Lax = true
	p.Hubs[3].Also = map[string][]netip.Prefix{"avocet": {records, avocet.LAN2, bittern.LAN, single(InternetAddress)}}
	for i := range p.Hubs {
		p.Hubs[i].Over6 = p.Hubs[i].Ports["plover"] != 0 // WireGuard itself over IPv6
	}
	return p
}
