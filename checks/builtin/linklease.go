package builtin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lease is what is known of a DHCP lease. Its address is not valid where there
// is none.
type lease struct {
	address      netip.Addr
	left, length time.Duration // length 0: not known
	server       string        // may be empty
}

// overdue: a server should have renewed it at half of its length, and any server
// at seven eighths (T1 and T2 of RFC 2131 4.4.5). What is as short as a test's is
// not judged.
func (l lease) overdue() bool {
	return l.length >= time.Minute && l.left < l.length/8
}

func (l lease) String() string {
	s := fmt.Sprintf("%v, %v left", l.address, l.left.Round(time.Second))
	if l.length > 0 {
		s += fmt.Sprintf(" of %v", l.length)
	}
	if l.server != "" {
		s += ", by " + l.server
	}
	return s
}

// leases finds out about leases. How long an address is valid is known to the
// kernel, because DHCP clients tell it; their files tell the lease's length.
// Without a file it is the most that was seen.
type leases struct {
	root string // of the file system
	most map[netip.Addr]time.Duration
}

// of is the lease of a link's IPv4 address.
func (x *leases) of(s linkState) lease {
	for _, a := range s.addresses {
		left, ok := s.dynamic[a]
		if !ok || !a.Is4() {
			continue
		}
		l := x.written(s.name, s.index, a)
		l.address, l.left = a, left
		if x.most == nil {
			x.most = map[netip.Addr]time.Duration{}
		}
		x.most[a] = max(x.most[a], left)
		if l.length < left {
			l.length = x.most[a]
		}
		return l
	}
	return lease{}
}

// fileMost is more than any client writes of one link.
const fileMost = 1 << 20

// written reads what a client has written of a lease; what cannot be read, as
// some belongs to root only, is not known.
func (x *leases) written(link string, index int, address netip.Addr) lease {
	for _, f := range []struct {
		pattern string
		read    func(text, link string, address netip.Addr) lease
	}{
		{fmt.Sprintf("run/systemd/netif/leases/%d", index), readNetworkd},
		{"var/lib/NetworkManager/internal-*-" + link + ".lease", readNetworkd},
		{"var/lib/NetworkManager/dhclient-*-" + link + ".lease", readDhclient},
		{"var/lib/dhcp/dhclient*.leases", readDhclient},
		{"var/lib/dhclient/dhclient*.lease*", readDhclient},
	} {
		files, err := filepath.Glob(filepath.Join(x.root, f.pattern))
		if err != nil {
			continue
		}
		for _, name := range files {
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() || info.Size() > fileMost {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			if l := f.read(string(text), link, address); l.length > 0 {
				return l
			}
		}
	}
	return lease{}
}

// readNetworkd reads a file of systemd-networkd, or of NetworkManager's client,
// which is made of it: lines of NAME=VALUE, or JSON since systemd 258.
func readNetworkd(text, _ string, address netip.Addr) lease {
	fields := map[string]string{}
	var object map[string]any
	if json.Unmarshal([]byte(text), &object) == nil {
		for k, v := range object {
			fields[strings.ToUpper(k)] = fmt.Sprint(v)
		}
		delete(fields, "ADDRESS") // its bytes
	}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[k] = v
		}
	}
	if a, err := netip.ParseAddr(fields["ADDRESS"]); err == nil && a != address {
		return lease{}
	}
	l := lease{length: timeSpan(fields["LIFETIME"])}
	if a, err := netip.ParseAddr(fields["SERVER_ADDRESS"]); err == nil {
		l.server = a.String()
	}
	return l
}

// timeSpan reads seconds, or a time span as systemd writes it, as "1d 2h 30min";
// 0: neither.
func timeSpan(s string) (total time.Duration) {
	units := map[string]time.Duration{"w": 7 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour, "min": time.Minute, "s": time.Second, "": time.Second}
	for _, word := range strings.Fields(s) {
		number := strings.TrimRight(word, "abcdefghijklmnopqrstuvwxyz")
		unit, known := units[word[len(number):]]
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || !known {
			return 0
		}
		total += time.Duration(n) * unit
		if total < 0 || total > 1<<32*time.Second {
			return 0
		}
	}
	return total
}

// readDhclient reads a file of ISC's dhclient: blocks of statements, of which the
// last one of a link and address counts.
func readDhclient(text, link string, address netip.Addr) lease {
	var last, now lease
	var ofLink, ofAddress bool
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		statement := strings.TrimSuffix(strings.TrimSpace(lines.Text()), ";")
		words := strings.Fields(statement)
		switch {
		case statement == "lease {":
			now, ofLink, ofAddress = lease{}, false, false
		case statement == "}" && ofLink && ofAddress:
			last = now
		case len(words) == 2 && words[0] == "interface":
			ofLink = strings.Trim(words[1], `"`) == link
		case len(words) == 2 && words[0] == "fixed-address":
			ofAddress = words[1] == address.String()
		case len(words) == 3 && words[0] == "option" && words[1] == "dhcp-lease-time":
			now.length = timeSpan(words[2])
		case len(words) == 3 && words[0] == "option" && words[1] == "dhcp-server-identifier":
			if a, err := netip.ParseAddr(words[2]); err == nil {
				now.server = a.String()
			}
		}
	}
	return last
}
