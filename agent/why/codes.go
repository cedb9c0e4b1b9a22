package why

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Code names a cause, "GN-HUB-02". Codes are stable: one that has been given out
// keeps its meaning, and none is used again.
type Code string

// Layer is the middle of a code, "HUB".
func (c Code) Layer() string {
	parts := strings.Split(string(c), "-")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// Owner says who can mend something.
type Owner string

const (
	Line     Owner = "line"     // cable, socket and router at the site
	Site     Owner = "site"     // this gateway, or whoever looks after it
	Centre   Owner = "centre"   // central ops and their hubs
	Service  Owner = "service"  // whoever runs the service behind the tunnel
	Supplier Owner = "supplier" // the line's supplier
)

const (
	NoCarrier    Code = "GN-LINE-01"
	NoAddress    Code = "GN-LINE-02"
	NoRoute      Code = "GN-LINE-03"
	RouterSilent Code = "GN-LINE-04"
	LineDead     Code = "GN-LINE-05"

	HostFault    Code = "GN-HOST-01"
	NoFilters    Code = "GN-HOST-02"
	ContestedObj Code = "GN-HOST-03"
	ForeignDrop  Code = "GN-HOST-04"
	NoRights     Code = "GN-HOST-05"
	NotRunning   Code = "GN-HOST-06"

	ConfigRefused Code = "GN-CONF-01"
	TakenDown     Code = "GN-CONF-02"
	NoConfig      Code = "GN-CONF-03"
	NoSuchCheck   Code = "GN-CONF-04"
	ConfigFailed  Code = "GN-CONF-05"
	ConfigHeld    Code = "GN-CONF-06"
	Quarantined   Code = "GN-CONF-07"
	Damaged       Code = "GN-CONF-08"

	NoDevice    Code = "GN-DEV-01"
	DeviceOther Code = "GN-DEV-02"
	DeviceTaken Code = "GN-DEV-03"
	PortTaken   Code = "GN-DEV-04"

	NoOverlay    Code = "GN-ADDR-01"
	NoLAN        Code = "GN-ADDR-02"
	NoRule       Code = "GN-RULE-01"
	RuleForeign  Code = "GN-RULE-02"
	NoWay        Code = "GN-ROUTE-01"
	RouteForeign Code = "GN-ROUTE-02"
	FilterOther  Code = "GN-FILT-01"

	HubNoName      Code = "GN-NAME-01"
	ResolverSilent Code = "GN-NAME-02"
	TargetNoName   Code = "GN-NAME-03"

	ClockBehind Code = "GN-CLOCK-01"
	ClockOff    Code = "GN-CLOCK-02"

	HubNever  Code = "GN-HUB-01"
	HubSilent Code = "GN-HUB-02"

	ProbeSilent Code = "GN-PROBE-01"
	ProbePoor   Code = "GN-PROBE-02"

	TargetSilent  Code = "GN-SVC-01"
	TargetRefuses Code = "GN-SVC-02"
	TargetWrong   Code = "GN-SVC-03"
	TargetPoor    Code = "GN-SVC-04"

	CollectorSilent  Code = "GN-COLL-01"
	CollectorCovered Code = "GN-COLL-02"
	CollectorRefuses Code = "GN-COLL-03"
)

// Entry says what a code means.
type Entry struct {
	Code  Code
	Means string // one sentence
	Owner Owner
	Who   string // who is to be told, and what they can do; %s is what is broken
}

const (
	onSite   = "whoever looks after this gateway"
	opsKnow  = "central ops"
	lineWork = "whoever looks after the line at the site"
)

// Codes is the closed list.
var Codes = []Entry{
	{NoCarrier, "The WAN port has no link: no cable, or nothing alive at its other end.", Line,
		lineWork + ": is the cable in, is the router on, does its light burn?"},
	{NoAddress, "The WAN port has no address.", Line,
		lineWork + ": the router gives the address (DHCP), or it is set by hand on this host"},
	{NoRoute, "There is no default route: this host knows no way out of the site.", Line,
		lineWork + ": the router tells the route (DHCP), or it is set by hand on this host"},
	{RouterSilent, "The router at the end of the WAN cable does not answer.", Line,
		lineWork + ": turn the router off and on"},
	{LineDead, "The router is there, and nothing beyond it answers: no hub, and nothing beside the tunnels.", Supplier,
		"the line's supplier: the site has no way out"},

	{HostFault, "The agent cannot read or change this host's network.", Site, onSite + ": the log tells more (journalctl -u ginnel)"},
	{NoFilters, "The kernel has no nftables, so nothing could keep the networks apart, and none is started.", Site,
		onSite + ": modprobe nf_tables, or a kernel that has it"},
	{ContestedObj, "Another program keeps changing what is ours; it is put back ever more slowly.", Site,
		onSite + ": one of the two must let go"},
	{ForeignDrop, "Another program's firewall drops what is forwarded; no table of ours can override that.", Site,
		onSite + ": one line in that program's firewall"},
	{NoRights, "The agent lacks the right to change this host's network (CAP_NET_ADMIN).", Site,
		onSite + ": start it by its service, or as root"},
	{NotRunning, "The agent does not run. Tunnels go on without it; nothing is measured, nothing is mended.", Site,
		onSite + ": systemctl start ginnel"},

	{ConfigRefused, "The newest config has a mistake and was refused; the one before goes on.", Site,
		"whoever wrote the config: ginnel config check lists every mistake"},
	{TakenDown, "The tunnels were taken down by hand.", Site, onSite + ": ginnel reload brings them up"},
	{NoConfig, "There is no config: nothing to do.", Site, onSite + ": write one, or enrol the gateway"},
	{NoSuchCheck, "A check cannot be run here: this gateway lacks its kind, or its program.", Site,
		onSite + ": ginnel check list shows the kinds that there are"},
	{ConfigFailed, "The newest config from the centre did not stay: it was refused, or gone back from; the one before goes on.", Centre,
		opsKnow + ": their rollout shows the same reason; the next push ends it"},
	{ConfigHeld, "The newest config runs, and nobody can tell yet whether it is good; the one before is kept.", Centre,
		opsKnow + ": it is confirmed by itself once the collector is heard; ginnel rollback goes back before that"},
	{Quarantined, "The program of a check misbehaved, again and again, and is not started any more.", Site,
		onSite + ": have whoever wrote it mend it; ginnel check plugin retry KIND tries it again"},
	{Damaged, "A file of this gateway's identity, or of what it believes, is damaged: the last good config runs, and nothing new is taken.", Site,
		onSite + " with " + opsKnow + ": the file is named, and stays as it is; mend it or take it away, then systemctl restart ginnel"},

	{NoDevice, "A network's device is not there and cannot be made.", Site, onSite + ": the log tells more (journalctl -u ginnel)"},
	{DeviceOther, "A network's device is not as it should be, and cannot be made so.", Site,
		onSite + ": the log tells more (journalctl -u ginnel)"},
	{DeviceTaken, "Somebody else's link has the name of a network's device.", Site,
		onSite + ": rename or remove that link, or write another device name into the config"},
	{PortTaken, "Another program has a device's UDP port.", Site, onSite + ": stop that program, or choose another listen_port"},

	{NoOverlay, "Our own address inside a network is missing.", Site, onSite + ": see who removes it"},
	{NoLAN, "No link of this host is on the LAN that a network is for: nothing of it is carried.", Site,
		onSite + ": is the LAN's cable in, has its port an address, is it the link that the config names?"},
	{NoRule, "A policy rule into a network's routing table is missing.", Site, onSite + ": see who removes it"},
	{RuleForeign, "Somebody else's policy rule takes a network's traffic before ours does.", Site,
		onSite + ": ip rule shows it; it must come after ours, or not match"},
	{NoWay, "A route into a network is missing.", Site, onSite + ": see who removes it"},
	{RouteForeign, "Somebody else's route in a network's table leads elsewhere.", Site, onSite + ": remove that route"},
	{FilterOther, "A network's filter is not as planned, so it is kept shut.", Site, onSite + ": see who changes it"},

	{HubNoName, "The name of a hub has no address, while other names have.", Centre, opsKnow + ": the name is theirs to publish"},
	{ResolverSilent, "The site's resolver answers no name.", Site,
		"whoever runs the site's resolver; hubs that were reached before are still found"},
	{TargetNoName, "The name of a service has no address.", Service, "whoever runs %s"},

	{ClockBehind, "This host's clock is behind a time that it has already seen; a hub refuses its handshakes until then.", Site,
		onSite + ": let it keep time (timedatectl set-ntp true), or set it by hand"},
	{ClockOff, "This host's clock differs from the collector's.", Site,
		onSite + ": let it keep time (timedatectl set-ntp true), or set it by hand"},

	{HubNever, "A hub has never answered this gateway since its device was made.", Centre,
		opsKnow + ": do they have this gateway's key, and the right address and port?"},
	{HubSilent, "A hub does not answer any more.", Centre, opsKnow + ": they see %s from the other sites"},

	{ProbeSilent, "A hub answers the handshake, and nothing comes back through the tunnel.", Centre,
		opsKnow + ": what does %s do with what comes out of the tunnel?"},

	{ProbePoor, "Packets to a hub are lost on the way, or come late.", Supplier,
		"the line's supplier; " + opsKnow + " see whether other sites lose packets too"},

	{TargetSilent, "A service does not answer, though the way to it is well.", Service, "whoever runs %s"},
	{TargetRefuses, "A service refuses the connection.", Service, "whoever runs %s"},
	{TargetWrong, "A service answers, and not as it should.", Service, "whoever runs %s"},
	{TargetPoor, "A service answers slowly, or not every time.", Service, "whoever runs %s"},

	{CollectorSilent, "The collector does not answer. Tunnels do not need it; what is measured is kept.", Centre,
		opsKnow + ": is the collector well? Is TCP to it let out of the site?"},
	{CollectorCovered, "Something between this site and the collector answers in its place.", Site,
		"whoever runs the site's proxy or firewall: it must let this host through"},
	{CollectorRefuses, "The collector refuses this gateway.", Centre, opsKnow + ": is this gateway still enrolled?"},
}

// Meaning is the entry of a code; zero where there is none.
func Meaning(c Code) Entry {
	if i := slices.IndexFunc(Codes, func(e Entry) bool { return e.Code == c }); i >= 0 {
		return Codes[i]
	}
	return Entry{}
}

// WriteCodes prints the list in Markdown, as packaging/CODES.md has it.
func WriteCodes(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# What the codes mean\n\n" +
		"`ginnel status` and `ginnel why` show them; read them out on the phone. A code\n" +
		"keeps its meaning for ever. This page is printed by `ginnel why --codes`.\n\n" +
		"Whose: *line* is the cable and the router at the site, *supplier* the line\n" +
		"behind it, *site* this gateway, *centre* central ops and their hubs, *service*\n" +
		"whoever runs what is behind a tunnel.\n\n" +
		"| code | what it means | whose |\n|---|---|---|\n")
	for _, e := range Codes {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", e.Code, e.Means, e.Owner)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
