package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/host"
)

// eye sees what is ours at a node, part by part and as text, by the kernel's own
// interfaces and not by our code: fast enough to look every few milliseconds.
// What the kernel chooses anew for a copy is not in the text: link numbers,
// handles, and a port that nobody asked for.
type eye struct {
	node *netns.Node
	nft  *nftables.Conn
	wg   *wgctrl.Client
}

// seen is what is ours, or some of it, by part.
type seen map[string]string

// only is one part of it.
func (s seen) only(name string) seen { return seen{name: s[name]} }

// without leaves parts out.
func (s seen) without(names ...string) seen {
	rest := maps.Clone(s)
	for _, n := range names {
		delete(rest, n)
	}
	return rest
}

// parts are those of seen, the cheapest to look at first.
var parts = []struct {
	name string
	look func(*eye) ([]string, error)
}{
	{"links", (*eye).links},
	{"sysctls", (*eye).sysctls},
	{"rules", (*eye).rules},
	{"routes", (*eye).routes},
	{"addresses", (*eye).addresses},
	{"wireguard", (*eye).wireguard},
	{"nftables", (*eye).nftables},
}

func openEye(n *netns.Node) (*eye, error) {
	e := &eye{node: n}
	err := n.Do(func() (err error) {
		if e.nft, err = nftables.New(nftables.WithNetNSFd(n.NetFD()), nftables.AsLasting()); err != nil {
			return err
		}
		e.wg, err = wgctrl.New()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", n.Name, err)
	}
	return e, nil
}

func (e *eye) close() {
	_ = e.nft.CloseLasting()
	_ = e.wg.Close()
}

// look sees all parts.
func (e *eye) look() (seen, error) {
	all := seen{}
	err := e.node.Do(func() error {
		for _, p := range parts {
			lines, err := p.look(e)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", p.name, e.node.Name, err)
			}
			all[p.name] = text(lines)
		}
		return nil
	})
	return all, err
}

// differs is the first of the wanted parts that is not as wanted, and how; empty:
// none. A part that cannot be read, because a link goes while it is looked at,
// differs too.
func (e *eye) differs(want seen) (part, how string) {
	for _, p := range parts {
		if _, ok := want[p.name]; !ok {
			continue
		}
		lines, err := p.look(e)
		if err != nil {
			return p.name, err.Error()
		}
		if got := text(lines); got != want[p.name] {
			return p.name, strings.Join(differing(want[p.name], got), "\n")
		}
	}
	return "", ""
}

// errNothingChanged says that something of ours was as wanted right after it had
// been taken: it was not taken, or it was back before we could look.
var errNothingChanged = errors.New("nothing of ours was changed by it")

// undone does act at the node and returns how long it took until what is wanted
// was as before. It is an error when act changed nothing of a part.
func (e *eye) undone(want seen, part string, act func() error) (took time.Duration, err error) {
	err = e.node.Do(func() error {
		began := time.Now()
		if err := act(); err != nil {
			return err
		}
		if part, _ := e.differs(want.only(part)); part == "" {
			return errNothingChanged
		}
		took, err = e.await(want, began)
		return err
	})
	return took, err
}

// await looks until all is as wanted, and returns how long that was since began.
func (e *eye) await(want seen, began time.Time) (time.Duration, error) {
	for {
		part, how := e.differs(want)
		took := time.Since(began)
		if part == "" {
			return took, nil
		}
		if took > patient(hopelessly) {
			return took, &staysAway{part, how}
		}
		time.Sleep(patient(5 * time.Millisecond))
	}
}

// settled waits until all is as wanted before anything is done.
func (e *eye) settled(want seen) error {
	return e.node.Do(func() error {
		_, err := e.await(want, time.Now())
		return err
	})
}

// hopelessly is when we stop to wait for something to come back.
const hopelessly = 30 * time.Second

// staysAway is the error when something does not come back.
type staysAway struct{ part, how string }

func (e *staysAway) Error() string {
	return fmt.Sprintf("after %v %s are not as before:\n%s", patient(hopelessly), e.part, e.how)
}

func text(lines []string) string {
	slices.Sort(lines)
	return strings.Join(append(lines, ""), "\n")
}

// ourLinks are the links with our prefix.
func ourLinks() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	return slices.DeleteFunc(all, func(l netlink.Link) bool { return !strings.HasPrefix(l.Attrs().Name, tunnels.DevicePrefix) }), err
}

func (e *eye) links() (lines []string, err error) {
	list, err := ourLinks()
	for _, l := range list {
		a := l.Attrs()
		lines = append(lines, fmt.Sprintf("%s %s mtu %d up %t alias %q", a.Name, l.Type(), a.MTU, a.Flags&unix.IFF_UP != 0, a.Alias))
	}
	return lines, err
}

// sysctls are those that we may write: of our links and of others.
func (e *eye) sysctls() (lines []string, err error) {
	for _, pattern := range []string{
		"/proc/sys/net/ipv4/conf/*/forwarding", "/proc/sys/net/ipv4/conf/*/rp_filter",
		"/proc/sys/net/ipv6/conf/*/forwarding", "/proc/sys/net/ipv6/conf/*/accept_ra",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			value, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			lines = append(lines, path+" "+strings.TrimSpace(string(value)))
		}
	}
	return lines, nil
}

func (e *eye) addresses() (lines []string, err error) {
	list, err := ourLinks()
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		addresses, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, err
		}
		for _, a := range addresses {
			if !a.IP.IsLinkLocalUnicast() {
				lines = append(lines, fmt.Sprintf("%s %s", l.Attrs().Name, a.IPNet))
			}
		}
	}
	return lines, nil
}

func (e *eye) rules() (lines []string, err error) {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := ourRules(family)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			lines = append(lines, fmt.Sprintf("%d family %d iif %s oif %s from %v lookup %d", r.Priority, family, r.IifName, r.OifName, r.Src, r.Table))
		}
	}
	return lines, nil
}

func ourRules(family int) ([]netlink.Rule, error) {
	list, err := netlink.RuleList(family)
	if family == netlink.FAMILY_V6 && err != nil {
		return nil, nil // a kernel without it
	}
	return slices.DeleteFunc(list, func(r netlink.Rule) bool { return r.Protocol != host.Protocol }), err
}

func (e *eye) routes() (lines []string, err error) {
	list, err := ourRoutes()
	for _, r := range list {
		link := ""
		if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil && r.Type != unix.RTN_UNREACHABLE {
			link = l.Attrs().Name
		}
		lines = append(lines, fmt.Sprintf("%v table %d type %d dev %s metric %d src %v", r.Dst, r.Table, r.Type, link, r.Priority, r.Src))
	}
	return lines, err
}

func ourRoutes() ([]netlink.Route, error) {
	return netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: host.Protocol, Table: unix.RT_TABLE_UNSPEC},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
}

func (e *eye) wireguard() (lines []string, err error) {
	list, err := ourLinks()
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		d, err := e.wg.Device(l.Attrs().Name)
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%s key %s", d.Name, d.PublicKey))
		for _, p := range d.Peers {
			var allowed []string
			for _, ip := range p.AllowedIPs {
				allowed = append(allowed, ip.String())
			}
			slices.Sort(allowed)
			lines = append(lines, fmt.Sprintf("%s peer %s endpoint %v keepalive %v preshared %t allowed %v",
				d.Name, p.PublicKey, p.Endpoint, p.PersistentKeepaliveInterval, p.PresharedKey != [32]byte{}, allowed))
		}
	}
	return lines, nil
}

// nftables tells our tables rule by rule. The comment is told without the digest
// and the sum, which a port that nobody asked for would change.
func (e *eye) nftables() (lines []string, err error) {
	ports, err := e.ports()
	if err != nil {
		return nil, err
	}
	chains, err := e.nft.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	for _, c := range chains {
		if !strings.HasPrefix(c.Table.Name, "ginnel_") {
			continue
		}
		hook := ""
		if c.Hooknum != nil && c.Priority != nil && c.Policy != nil {
			hook = fmt.Sprintf("hook %d priority %d policy %d", *c.Hooknum, *c.Priority, *c.Policy)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s", c.Table.Name, c.Name, c.Type, hook))
		rules, err := e.nft.GetRules(c.Table, c)
		if err != nil {
			return nil, err
		}
		for i, r := range rules {
			match, err := e.exprs(r, ports)
			if err != nil {
				return nil, err
			}
			lines = append(lines, fmt.Sprintf("%s %s %03d %s", c.Table.Name, c.Name, i, match))
		}
	}
	return lines, nil
}

// ports are the UDP ports of our devices, as nftables has them in its data.
func (e *eye) ports() (map[string]string, error) {
	list, err := ourLinks()
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, l := range list {
		d, err := e.wg.Device(l.Attrs().Name)
		if err != nil {
			return nil, err
		}
		names[string([]byte{byte(d.ListenPort >> 8), byte(d.ListenPort)})] = "port of " + d.Name
	}
	return names, nil
}

// exprs is a rule in words of our own, without what it counts.
func (e *eye) exprs(r *nftables.Rule, ports map[string]string) (string, error) {
	data := func(b []byte) string {
		if name, ok := ports[string(b)]; ok {
			return name
		}
		return hex.EncodeToString(b)
	}
	var words []string
	for _, x := range r.Exprs {
		switch x := x.(type) {
		case *expr.Counter:
			words = append(words, "counter")
		case *expr.Cmp:
			words = append(words, fmt.Sprintf("cmp %d %s", x.Op, data(x.Data)))
		case *expr.Lookup:
			elements, err := e.nft.GetSetElements(&nftables.Set{Table: r.Table, Name: x.SetName})
			if err != nil {
				return "", err
			}
			var keys []string
			for _, el := range elements {
				keys = append(keys, fmt.Sprintf("%s-%t-%s", data(el.Key), el.IntervalEnd, hex.EncodeToString(el.Val)))
			}
			slices.Sort(keys)
			words = append(words, fmt.Sprintf("lookup %t %v", x.Invert, keys))
		default:
			words = append(words, strings.ReplaceAll(fmt.Sprintf("%T%+v", x, x), "*expr.", ""))
		}
	}
	comment, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	if word := strings.Fields(comment); len(word) > 3 && word[0] == "ginnel" {
		comment = strings.Join(slices.Concat(word[:1], word[2:3], word[4:]), " ")
	}
	return fmt.Sprintf("%v %q", words, comment), nil
}
