package county

import (
	"cmp"
	"time"
)

// Surgeries is where the checks of Surgery are.
const Surgeries = "avocet"

// Surgery is one site with two networks, and the twenty checks that a usual
// surgery has: names, time, the national services, records, results, printers,
// its line and its hub. Everything has the pace of a real site instead of the
// lab's: half a minute, and towards national services five.
func Surgery() Plan {
	p := Whole().Only(Surgeries)
	p.Rhythm = 10 * time.Second // of the tunnels, as by default
	for i := range p.Networks {
		p.Networks[i].Checks = nil
	}
	s, records, results := &p.Sites[0], p.network("kestrel").Service.String(), p.network("heron").Service.String()
	outside, printer := InternetAddress.String(), s.Host().String()
	national := func(name, stands string) CheckPlan {
		return CheckPlan{Name: name, Kind: "tls", Target: name + ".national.example.net:8443", StandsFor: stands,
			Interval: "5m", Options: map[string]string{"verify": "false"}}
	}
	s.Checks = []CheckPlan{
		{Name: "names", Kind: "dns", Target: outside + ":53", StandsFor: "Names", Options: map[string]string{"name": "internet.example.net"}},
		{Name: "names-tcp", Kind: "dns", Target: outside + ":53", StandsFor: "Names, over TCP",
			Options: map[string]string{"name": "internet.example.net", "transport": "tcp"}},
		{Name: "names-inside", Kind: "dns", Network: "kestrel", Target: records + ":53", StandsFor: "Names inside kestrel",
			Options: map[string]string{"name": "records.example.net"}},
		{Name: "time", Kind: "ntp", Target: outside, StandsFor: "Time"},
		{Name: "time-inside", Kind: "ntp", Network: "kestrel", Target: records, StandsFor: "Time inside kestrel"},
		national("spine", "Spine"),
		national("directory", "Directory of Spine"),
		national("prescriptions", "Prescriptions"),
		national("referrals", "Referrals"),
		national("sign-in", "Sign-in"),
		national("mail", "Mail"),
		{Name: "records", Kind: "tls", Network: "kestrel", Target: records + ":8443", StandsFor: "Patient records", Options: map[string]string{"verify": "false"}},
		{Name: "records-data", Kind: "tcp", Network: "kestrel", Target: records + ":443", StandsFor: "Patient records, data"},
		{Name: "results", Kind: "http", Network: "heron", Target: "http://" + results + "/", StandsFor: "Hospital results"},
		{Name: "printer", Kind: "tcp", Target: printer + ":9100", StandsFor: "Prescription printer"},
		{Name: "printer-desk", Kind: "tcp", Target: printer + ":631", StandsFor: "Printer at the desk"},
		{Name: "router", Kind: "icmp", Target: partner(s.WAN()).String(), StandsFor: "Supplier's router"},
		{Name: "line", Kind: "link", Target: "eth0", StandsFor: "The line's link"},
		{Name: "voice", Kind: "udp", Network: "kestrel", Target: p.hub("hub-north").Overlay["kestrel"].String(), StandsFor: "Voice to the hub"},
		{Name: "key", Kind: "handshake", Network: "heron", Target: "hub-south", StandsFor: "Handshake with the hub"},
	}
	for i := range s.Checks {
		c := &s.Checks[i]
		c.Interval, c.Up = cmp.Or(c.Interval, "30s"), 1 // who measures waits until all are up
	}
	return p
}
