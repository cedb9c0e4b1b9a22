package checks

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Manners are what a site owes those whose systems its checks ask. The zero
// Manners are the defaults; there are none without manners.
//
// A pattern is a host ("portal.example.net"), all names below one and itself
// ("*.example.net"), an address or a prefix.
type Manners struct {
	National      []string      // patterns of national services, besides those that are known
	NotNational   []string      // patterns of what is none all the same, as a trust's own names
	NationalEvery time.Duration // from one connect to a host to the next; 0, or less than that: 5 min
	TargetBudget  int           // questions to one host in an hour, of all checks together; 0: 36,000
	Metered       []string      // links that are paid for by use
	MeteredBudget int           // questions over such a link in an hour; 0: 720
	MLLP          []string      // "host:port" of HL7 listeners, besides the ports that are usual
	Off           []Off         // what is switched off
}

// Off switches checks off: those of a name, of a kind, or towards a pattern.
type Off struct {
	Check, Kind, Target string // one of them is set
	Reason              string // in words
}

const (
	nationalEvery = 5 * time.Minute
	targetBudget  = 36_000
	meteredBudget = 720
)

// known are names below which national services are. A trust has its own below
// them too: those are for NotNational.
var known = []string{"*.nhs.uk", "*.nhs.net", "*.nhs.scot", "*.hscni.net"}

// mllpPorts are those that HL7 listeners usually have (2575 by IANA).
var mllpPorts = []string{"2575", "6661"}

// harmless are the kinds that a listener of HL7 may be asked by: they send it no
// byte. A stray one may raise an alarm, or be taken for a message.
var harmless = []string{"tcp", "icmp", "path", "mtu", "link"}

// HostOf is the host in the address of a target: a URL, "host:port" or a host.
func HostOf(address string) string {
	host, _ := hostPort(address)
	return host
}

// hostPort parts an address, as one that is written otherwise and means the same is.
func hostPort(address string) (host, port string) {
	host = address
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host, port = u.Hostname(), u.Port()
	} else if h, p, err := net.SplitHostPort(address); err == nil {
		host, port = h, p
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), ".")), strings.TrimLeft(port, "0")
}

// ValidPattern says what is wrong with a pattern of hosts; nil: nothing.
func ValidPattern(pattern string) error {
	if _, err := netip.ParsePrefix(pattern); err == nil {
		return nil
	}
	rest := strings.TrimPrefix(pattern, "*.")
	if rest == "" || strings.ContainsAny(rest, "*/: \t") {
		return fmt.Errorf("%q is no host, *.NAME, address or prefix", pattern)
	}
	return nil
}

// matches finds the pattern that a host is of; empty: none.
func matches(patterns []string, host string) string {
	a, err := netip.ParseAddr(host)
	for _, p := range patterns {
		if prefix, bad := netip.ParsePrefix(p); bad == nil && err == nil && prefix.Masked().Contains(a) {
			return p
		}
		name, below := strings.CutPrefix(strings.ToLower(p), "*.")
		if host == name || below && strings.HasSuffix(host, "."+name) {
			return p
		}
	}
	return ""
}

// IsNational says by which pattern a target is of a national service; empty: it
// is none.
func (m Manners) IsNational(address string) string {
	host := HostOf(address)
	if matches(m.NotNational, host) != "" {
		return ""
	}
	return cmp.Or(matches(m.National, host), matches(known, host))
}

// Every is how often a national host may be asked.
func (m Manners) Every() time.Duration { return max(m.NationalEvery, nationalEvery) }

// Forbids says why a check may never be run; empty: it may.
func (m Manners) Forbids(s Spec) string {
	for _, address := range s.addresses() {
		host, port := hostPort(address)
		listed := slices.ContainsFunc(m.MLLP, func(l string) bool { h, p := hostPort(l); return h == host && p == port })
		switch {
		case (listed || slices.Contains(mllpPorts, port)) && !slices.Contains(harmless, s.Kind):
			return fmt.Sprintf("%s is a listener of HL7: it is connected to, and sent nothing", address)
		case s.Beside != "" && m.IsNational(address) != "":
			return fmt.Sprintf("a pair asks twice at once, and %s is national (%s)", host, m.IsNational(address))
		}
	}
	return ""
}

// isOff says why a check is switched off; empty: it is not.
func (m Manners) isOff(s Spec) string {
	for _, o := range m.Off {
		off := o.Check != "" && o.Check == s.Name || o.Kind != "" && o.Kind == s.Kind
		for _, address := range s.addresses() {
			off = off || o.Target != "" && (o.Target == address || matches([]string{o.Target}, HostOf(address)) != "")
		}
		if off {
			return "switched off: " + o.Reason
		}
	}
	return ""
}

// addresses are all that a check asks.
func (s Spec) addresses() []string {
	if s.Beside == "" {
		return []string{s.Target.Address}
	}
	return []string{s.Target.Address, s.Beside}
}
