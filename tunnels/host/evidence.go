package host

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// evidence is who was seen to remove or change objects of ours. The kernel's
// events carry the number of the socket that asked, which mostly is that of its
// process; nftables tells the process itself. Programs as ip(8) end at once, so
// they are looked up before anything else is done with an event.
type evidence struct {
	mu     sync.Mutex
	seen   map[string]suspect // by object
	tables map[string]bool    // of ours, touched by the transaction that is being told
	spoilt map[string]bool    // tables of ours that were seen to be changed
}

type suspect struct {
	who string
	at  time.Time
}

// fresh is how long somebody who was seen is a suspect.
const fresh = 10 * time.Minute

func (e *evidence) add(object, who string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil || len(e.seen) > 1000 { // nobody fights over so many at once
		e.seen = map[string]suspect{}
	}
	e.seen[object] = suspect{who, time.Now()}
}

// against is who was last seen to change an object; empty: nobody was.
func (e *evidence) against(object string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s, ok := e.seen[object]; ok && time.Since(s.at) < fresh {
		return s.who
	}
	return ""
}

// note looks at one event of the kernel.
func (h *Host) note(family int, m netlink.Message) {
	if family == unix.NETLINK_NETFILTER {
		h.evidence.noteFilter(m)
		return
	}
	if m.Header.PID == 0 || m.Header.PID == uint32(os.Getpid()) {
		return
	}
	switch m.Header.Type {
	case unix.RTM_DELROUTE, unix.RTM_DELRULE, unix.RTM_DELADDR, unix.RTM_DELLINK, unix.RTM_NEWLINK:
	default:
		return
	}
	if !concernsRoute(m) {
		return
	}
	who := requester(m.Header.PID, family)
	if who == "" {
		return
	}
	if object := h.objectIn(m); object != "" {
		h.evidence.add(object, who)
	}
}

// noteFilter gathers the tables of ours in a transaction until the event that
// ends it tells whose it was.
func (e *evidence) noteFilter(m netlink.Message) {
	if uint16(m.Header.Type)&0xff != unix.NFT_MSG_NEWGEN {
		if table := tableIn(m); strings.HasPrefix(table, tablePrefix) {
			if e.tables == nil {
				e.tables = map[string]bool{}
			}
			e.tables[table] = true
		}
		return
	}
	touched := e.tables
	e.tables = nil
	if len(touched) == 0 {
		return
	}
	var pid int
	var name string
	decode(m.Data, 4, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_GEN_PROC_PID:
			pid = int(binary.BigEndian.Uint32(ad.Bytes()))
		case unix.NFTA_GEN_PROC_NAME:
			name = ad.String()
		}
	})
	if name == "" || name == commOf(os.Getpid()) {
		return
	}
	who := name
	if commOf(pid) == name { // else it has ended, or counts its processes apart
		who = processWords(pid)
	}
	for table := range touched {
		e.add(filterObject(table), who)
	}
}

// tableIn is the nftables table that an event is about; its name is the first
// attribute of all of them.
func tableIn(m netlink.Message) (table string) {
	decode(m.Data, 4, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == unix.NFTA_TABLE_NAME {
			table = ad.String()
		}
	})
	return table
}

// decode calls f for each attribute behind a header.
func decode(data []byte, header int, f func(*netlink.AttributeDecoder)) {
	if len(data) < header {
		return
	}
	ad, err := netlink.NewAttributeDecoder(data[header:])
	if err != nil {
		return
	}
	for ad.Next() {
		f(ad)
	}
}

// Objects as evidence names them.
func ruleObject(version, priority int) string { return fmt.Sprintf("rule %d %d", version, priority) }

func routeObject(table int, p netip.Prefix) string { return fmt.Sprintf("route %d %v", table, p) }

func deviceObject(name string) string { return "device " + name }

func filterObject(table string) string { return "filter " + table }

// objectOf is the object that a step is about; empty: no event is.
func objectOf(s tunnels.Step) string {
	switch {
	case s.Rule != nil:
		return ruleObject(s.Rule.Family, s.Rule.Priority)
	case s.Route != nil:
		return routeObject(s.Route.Table, s.Route.Prefix.Masked())
	case s.Filter != nil:
		return filterObject(s.Filter.Table)
	case s.Device != nil:
		return deviceObject(s.Device.Name)
	}
	return ""
}

// objectIn is the object of ours that an rtnetlink event is about; empty: none.
func (h *Host) objectIn(m netlink.Message) string {
	switch m.Header.Type {
	case unix.RTM_DELRULE:
		return ruleIn(m.Data)
	case unix.RTM_DELROUTE:
		return routeIn(m.Data)
	case unix.RTM_DELLINK, unix.RTM_NEWLINK:
		name := ""
		decode(m.Data, unix.SizeofIfInfomsg, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case unix.IFLA_IFNAME:
				name = ad.String()
			case unix.IFLA_IFALIAS:
				if tagged := wireguard.NameIn(ad.String()); tagged != "" {
					name = tagged
				}
			}
		})
		return ourDevice(name)
	case unix.RTM_DELADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg {
			return ""
		}
		names, err := h.linkNames()
		if err != nil {
			return ""
		}
		return ourDevice(names[int(binary.NativeEndian.Uint32(m.Data[4:]))]) // ifa_index
	}
	return ""
}

func ourDevice(name string) string {
	if !wireguard.Ours(name) {
		return ""
	}
	return deviceObject(name)
}

func ruleIn(data []byte) string {
	const header = 12 // struct fib_rule_hdr
	priority, ours := 0, false
	decode(data, header, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.FRA_PRIORITY:
			priority = int(ad.Uint32())
		case unix.FRA_PROTOCOL:
			ours = ad.Uint8() == Protocol
		}
	})
	if !ours {
		return ""
	}
	return ruleObject(version4or6(data), priority)
}

func routeIn(data []byte) string {
	if len(data) < unix.SizeofRtMsg {
		return ""
	}
	table, to := int(data[4]), netip.IPv4Unspecified()
	if version4or6(data) == 6 {
		to = netip.IPv6Unspecified()
	}
	decode(data, unix.SizeofRtMsg, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.RTA_TABLE:
			table = int(ad.Uint32())
		case unix.RTA_DST:
			if a, ok := netip.AddrFromSlice(ad.Bytes()); ok {
				to = a
			}
		}
	})
	return routeObject(table, netip.PrefixFrom(to, int(data[1])))
}

// version4or6 is the IP version in the first byte of a header.
func version4or6(data []byte) int {
	if data[0] == unix.AF_INET6 {
		return 6
	}
	return 4
}

// requester is the program whose netlink socket has a number, in words; empty:
// it is ourselves, or not to be known. Most sockets have the number of their
// process; a second one of the same process has one out of the blue.
func requester(port uint32, family int) string {
	const mostPIDs = 1 << 22 // PID_MAX_LIMIT
	if port <= mostPIDs {
		return processWords(int(port))
	}
	socket := socketOf(port, family)
	if socket == "" || heldBy("self", socket) {
		return ""
	}
	return processWords(holderOf(socket))
}

// socketOf is the netlink socket with a number, as /proc/PID/fd has it.
func socketOf(port uint32, family int) string {
	f, err := os.Open("/proc/thread-self/net/netlink")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		part := strings.Fields(lines.Text())
		if len(part) > 9 && part[1] == strconv.Itoa(family) && part[2] == strconv.FormatUint(uint64(port), 10) {
			return "socket:[" + part[9] + "]"
		}
	}
	return ""
}

func heldBy(pid, socket string) bool {
	links, _ := filepath.Glob("/proc/" + pid + "/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == socket {
			return true
		}
	}
	return false
}

// processWords is a process with who started it: "ip (pid 312), started by
// fight.sh". Empty: it is gone.
func processWords(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if err != nil || open < 0 || end < open {
		return ""
	}
	words := fmt.Sprintf("%s (pid %d)", stat[open+1:end], pid)
	var state string
	var parent int
	if _, err := fmt.Sscan(string(stat[end+1:]), &state, &parent); err != nil || parent <= 1 {
		return words
	}
	if starter := scriptOf(parent); starter != "" {
		words += ", started by " + starter
	}
	return words
}

// scriptOf is a process by its name, or where it is a shell by that of its
// script.
func scriptOf(pid int) string {
	name := commOf(pid)
	switch name {
	case "sh", "bash", "dash", "ash", "busybox", "python3", "perl":
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if args := strings.Split(string(line), "\x00"); len(args) > 1 && args[1] != "" && args[1][0] != '-' {
			return filepath.Base(args[1])
		}
	}
	return name
}

func commOf(pid int) string {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(comm))
}
