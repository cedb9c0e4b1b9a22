package host

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	raw "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// ForwardBlock tells whether what is forwarded between a tunnel and a LAN would
// be dropped by somebody else's chain, as by the policy that docker gives
// FORWARD: a drop is final in nftables, whatever a table of ours accepts. who
// has the chain, and line is the one line to type that lets our traffic pass.
// Where a rule's condition cannot be told in advance, nobody is accused.
func (h *Host) ForwardBlock(ctx context.Context) (who, line string, blocked bool, err error) {
	chains, err := again(h.nft.ListChains)
	if noNftables(err) {
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, fmt.Errorf("list nftables chains: %w", err)
	}
	slices.SortStableFunc(chains, func(a, b *nftables.Chain) int { return cmp.Compare(a.Table.Name, b.Table.Name) })
	others := slices.DeleteFunc(slices.Clone(chains), func(c *nftables.Chain) bool {
		return c.Type != nftables.ChainTypeFilter || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward ||
			strings.HasPrefix(c.Table.Name, tablePrefix)
	})
	if len(others) == 0 {
		return "", "", false, nil
	}
	crossings, err := h.crossings()
	if err != nil {
		return "", "", false, err
	}
	for _, c := range others {
		w := &walk{nft: h.nft, chains: chains, table: c.Table, rules: map[string][]*nftables.Rule{}}
		for _, x := range crossings {
			if !w.sees(x.family) {
				continue
			}
			stopped, err := w.stops(c, x)
			if err != nil {
				return "", "", false, fmt.Errorf("read chain %s of nftables table %s: %w", c.Name, c.Table.Name, err)
			}
			if stopped {
				who, line = w.owner(c, x)
				return who, line, true, nil
			}
		}
	}
	return "", "", false, nil
}

// crossing is a way over this host that our networks need: between a link of
// the site and a device.
type crossing struct {
	family       byte // unix.NFPROTO_IPV4 or IPV6
	link, device string
	near, far    netip.Addr // an address on either side
}

// out is the first packet of a connection that the LAN opens, in one that the
// far side does.
func (x crossing) out(reply bool) packet {
	return packet{family: x.family, iif: x.link, oif: x.device, from: x.near, to: x.far, reply: reply}
}

func (x crossing) in(reply bool) packet {
	return packet{family: x.family, iif: x.device, oif: x.link, from: x.far, to: x.near, reply: reply}
}

// stops is true if no connection can be opened over the crossing in either
// direction: a hub's LAN is called, a site's calls.
func (w *walk) stops(c *nftables.Chain, x crossing) (bool, error) {
	passes := func(first, reply packet) (bool, error) {
		for _, p := range []packet{first, reply} {
			if v, err := w.chain(c, p, 0); err != nil || v == dropped {
				return false, err
			}
		}
		return true, nil
	}
	outward, err := passes(x.out(false), x.in(true))
	if outward || err != nil {
		return false, err
	}
	inward, err := passes(x.in(false), x.out(true))
	return !inward, err
}

// crossings are read from our own rules and routes: which links lead into a
// table, and which devices out of it.
func (h *Host) crossings() (all []crossing, err error) {
	rules, err := h.rules()
	if err != nil {
		return nil, err
	}
	names, err := h.linkNames()
	if err != nil {
		return nil, err
	}
	addresses, err := h.addresses()
	if err != nil {
		return nil, err
	}
	type part struct{ table, version int }
	known := map[part]map[string]netip.Addr{}
	for index, link := range names {
		for _, near := range addresses[index] {
			if link == "lo" || wireguard.Ours(link) {
				continue
			}
			for _, r := range rules {
				if (r.Family == 4) != near.Addr().Is4() ||
					r.Iif != link && !(r.From.IsValid() && !r.From.IsSingleIP() && r.From.Overlaps(near)) {
					continue
				}
				at := part{r.Table, r.Family}
				if known[at] == nil {
					if known[at], err = leads(r.Table, r.Family, names); err != nil {
						return nil, err
					}
				}
				for device, far := range known[at] {
					x := crossing{family: unix.NFPROTO_IPV4, link: link, device: device, near: near.Masked().Addr().Next(), far: far}
					if near.Addr().Is6() {
						x.family = unix.NFPROTO_IPV6
					}
					if !slices.ContainsFunc(all, func(o crossing) bool {
						return o.family == x.family && o.link == x.link && o.device == x.device
					}) {
						all = append(all, x)
					}
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b crossing) int {
		return cmp.Or(cmp.Compare(a.family, b.family), strings.Compare(a.device, b.device), strings.Compare(a.link, b.link))
	})
	return all, nil
}

// leads are the devices that a table of ours leads to, with an address behind each.
func leads(table, version int, names map[int]string) (map[string]netip.Addr, error) {
	list, err := again(func() ([]raw.Message, error) { return dump(familyOf(version), Protocol, uint32(table)) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	found := map[string]netip.Addr{}
	for _, m := range list {
		if r := routeOf(m.Data, names); r.Device != "" && !found[r.Device].IsValid() {
			found[r.Device] = r.Prefix.Addr()
		}
	}
	return found, nil
}

// owner names who has a chain, by the names that they give theirs, and the line
// that makes it let our traffic pass.
func (w *walk) owner(c *nftables.Chain, x crossing) (who, line string) {
	has := func(prefix string) bool {
		return slices.ContainsFunc(w.chains, func(o *nftables.Chain) bool {
			return same(o.Table, c.Table) && strings.HasPrefix(o.Name, prefix)
		})
	}
	iptables := "iptables"
	if x.family == unix.NFPROTO_IPV6 {
		iptables = "ip6tables"
	}
	both := func(chain string) string {
		return fmt.Sprintf("%s -I %s -i gn-+ -j ACCEPT; %s -I %s -o gn-+ -j ACCEPT", iptables, chain, iptables, chain)
	}
	switch {
	case has("DOCKER-USER"):
		return "docker", both("DOCKER-USER")
	case has("ufw"):
		return "ufw", fmt.Sprintf("ufw route allow in on %s out on %s; ufw route allow in on %s out on %s", x.link, x.device, x.device, x.link)
	case c.Table.Name == "firewalld":
		return "firewalld", fmt.Sprintf("firewall-cmd --permanent --zone=trusted --add-interface=%s; firewall-cmd --permanent --zone=trusted --add-interface=%s; firewall-cmd --reload",
			x.device, x.link)
	case c.Name == "FORWARD" && c.Table.Name == "filter":
		who, line = iptables, both("FORWARD")
		for prefix, name := range map[string]string{"LIBVIRT_": "libvirt", "KUBE-": "kubernetes", "DOCKER": "docker"} {
			if has(prefix) {
				who = name
			}
		}
		return who, line
	}
	at := fmt.Sprintf("%s %s %s", familyName(c.Table.Family), c.Table.Name, c.Name)
	return "the nftables chain " + at,
		fmt.Sprintf(`nft 'insert rule %s iifname "gn-*" accept; insert rule %s oifname "gn-*" accept'`, at, at)
}

func same(a, b *nftables.Table) bool { return a.Family == b.Family && a.Name == b.Name }

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	}
	return "inet"
}
