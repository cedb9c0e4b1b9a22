package tunnels

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// Numbers and names that nobody wrote are derived by hash from the network's
// name, never from its place in a list: adding a network leaves the others
// where they are.
const (
	// Tables 7100 to 27099 are ours to choose from. Linux keeps 253 to 255
	// and 0 for itself.
	firstTable, tables = 7100, 20000
	// Rule priorities 5000 to 27399: after the local table's (0), before
	// main's (32766). PrioritySpan of them belong to each network.
	firstPriority, priorities = 5000, 700
	PrioritySpan              = 32
	// maxDevice is the longest link name in bytes (IFNAMSIZ less its end).
	maxDevice = 15
	// DevicePrefix begins the name of each link of ours.
	DevicePrefix = "gn-"
)

// TableNumber is a network's routing table, 7100 to 27099.
func TableNumber(network string) int {
	return firstTable + int(hash("table", network)%tables)
}

// RulePriority is the priority of a network's first rule, 5000 to 27368.
func RulePriority(network string) int {
	return firstPriority + PrioritySpan*int(hash("priority", network)%priorities)
}

// DeviceName is the link name of a network's device: "gn-kestrel" in the hub
// role, where hub is empty; "gn-kestrel-n" and three hashed letters towards
// hub-north, so that two hubs of one initial differ.
func DeviceName(network, hub string) string {
	letters := base32.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, hash("device", network, hub)))
	suffix := strings.ToLower(letters[:3])
	if hub == "" {
		if len(network) <= maxDevice-len(DevicePrefix) && !strings.Contains(network, "-") && plain(network) == network {
			return DevicePrefix + network
		}
	} else {
		last := plain(hub[strings.LastIndex(hub, "-")+1:])
		suffix = last[:min(1, len(last))] + suffix
	}
	room := maxDevice - len(DevicePrefix) - len("-") - len(suffix)
	short := plain(network)
	short = strings.TrimRight(short[:min(room, len(short))], "-")
	return DevicePrefix + short + "-" + suffix
}

// plain keeps the letters of a name that may stand in a link name.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}

// hash is the same on every machine and in every version.
func hash(parts ...string) uint64 {
	sum := sha256.Sum256([]byte("ginnel\x00" + strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:8])
}

// Collisions reports networks that cannot be on one host together: two with
// one name, routing table, filter table, device or listen port.
//
// Rule priorities that two networks share, or spans that overlap, do no harm and
// are not reported. All rules of a network lead into its own table, which holds
// only what it accepts, and a packet that is not in a table goes on to the next
// rule. So the order of two networks' rules could only matter to a packet that
// both accept by one ingress, and config refuses two such networks. Nor does one
// network's removal touch the other's rules: a rule is known by all that it says,
// not by its priority.
func Collisions(networks []Network) []Problem {
	var problems []Problem
	seen := map[string]string{}
	claim := func(network, what, hint string) {
		if former, ok := seen[what]; ok {
			problems = append(problems, Problem{Network: network, Hint: hint,
				Text: fmt.Sprintf("%s is taken by network %s", what, former)})
			return
		}
		seen[what] = network
	}
	for _, n := range networks {
		claim(n.Name, "name "+n.Name, "each network has a name of its own")
		claim(n.Name, fmt.Sprintf("routing table %d", n.Table), "write a free number: table = "+fmt.Sprint(n.Table+1))
		claim(n.Name, "filter table "+FilterTable(n.Name), "names that differ only in signs are one to nftables")
		for _, d := range n.Devices {
			claim(n.Name, "device "+d.Device, "write another: device = \"gn-…\"")
			if d.ListenPort != 0 {
				claim(n.Name, fmt.Sprintf("UDP port %d", d.ListenPort), "each device listens on a port of its own")
			}
		}
	}
	return problems
}

// FilterTable is the name of a network's nftables table.
func FilterTable(network string) string {
	return "ginnel_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, network)
}
