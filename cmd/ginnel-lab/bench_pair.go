package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// pair is a site and a hub on one cable. Both have our programs and the plain
// WireGuard ones, side by side in the same namespaces.
type pair struct {
	site, hub *netns.Node
	lan       string // prefix behind the hub, in its first network; empty: none
	log       *os.File
}

// Addresses of a pair. The last number of an overlay address says which
// network it is of.
const (
	siteWAN, hubWAN = "192.0.2.100", "192.0.2.10"
	siteLAN         = "192.168.10.1"
)

func overlayOf(network int, hub bool) string {
	if hub {
		return fmt.Sprintf("100.64.%d.1", network)
	}
	return fmt.Sprintf("100.64.%d.7", network)
}

func newPair(s *stage) (*pair, error) {
	p := new(pair)
	var err error
	if p.site, err = netns.New("site", "127.0.0.1 localhost\n", "127.0.0.1"); err != nil {
		return nil, err
	}
	if p.hub, err = netns.New("hub", "127.0.0.1 localhost\n", "127.0.0.1"); err != nil {
		return nil, err
	}
	err = netns.Cable(
		netns.End{Node: p.site, Link: "eth0", Addr: netip.MustParsePrefix(siteWAN + "/24")},
		netns.End{Node: p.hub, Link: "eth0", Addr: netip.MustParsePrefix(hubWAN + "/24")})
	if err != nil {
		return nil, err
	}
	p.log, err = os.Create(filepath.Join(netns.Out, "bench-"+s.name+".log"))
	if err != nil {
		return nil, err
	}
	return p, p.all(context.Background(), p.site,
		"ip link add lan0 type veth peer name pc0", "ip addr add "+siteLAN+"/24 dev lan0",
		"ip link set lan0 up", "ip link set pc0 up",
		"ip route add default via "+hubWAN)
}

// all runs commands at a node, each to its end.
func (p *pair) all(ctx context.Context, n *netns.Node, commands ...string) error {
	for _, c := range commands {
		if _, err := n.Run(ctx, strings.Fields(c)...); err != nil {
			return err
		}
	}
	return nil
}

// start starts a program at a node; what it prints goes to the log.
func (p *pair) start(n *netns.Node, args ...string) (*exec.Cmd, error) {
	cmd := n.Command(context.Background(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := n.Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s at %s: %w", args[0], n.Name, err)
	}
	return cmd, nil
}

// end ends a program kindly and waits for it.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

// configure writes both ends' configs of our own for some networks, named net1
// and on, with more text for the site.
func (p *pair) configure(ctx context.Context, networks int, more string) error {
	site, hub := "gateway = \"avocet-1\"\n", "gateway = \"hub-north\"\n"
	for i := 1; i <= networks; i++ {
		name := fmt.Sprintf("net%d", i)
		siteKey, err := p.site.Run(ctx, "ginnel", "key", name)
		if err != nil {
			return err
		}
		hubKey, err := p.hub.Run(ctx, "ginnel", "key", name)
		if err != nil {
			return err
		}
		lan := fmt.Sprintf("192.168.%d.0/24", 9+i)
		accepted, offered, allowed := fmt.Sprintf("%q", overlayOf(i, true)+"/32"), "", ""
		if i == 1 && p.lan != "" {
			accepted, offered = fmt.Sprintf("%s, %q", accepted, p.lan), fmt.Sprintf("lan = [%q]\n", p.lan)
			allowed = fmt.Sprintf("[[network.allow]]\nfrom = \"sites\"\nto = %q\n", p.lan)
		}
		site += fmt.Sprintf("[[network]]\nname = %q\naddress = [\"%s/32\"]\nlan = [%q]\n[[network.hub]]\nname = \"hub-north\"\npublic_key = %q\nendpoints = [\"%s:%d\"]\nallowed_ips = [%s]\n",
			name, overlayOf(i, false), lan, strings.TrimSpace(hubKey), hubWAN, 51819+i, accepted)
		// What is measured is the tunnel alone: the hub itself answers.
		hub += fmt.Sprintf("[[network]]\nname = %q\nrole = \"hub\"\naddress = [\"%s/32\"]\nlisten_port = %d\n%s[[network.site]]\nname = \"avocet-1\"\npublic_key = %q\nallowed_ips = [\"%s/32\", %q]\n[[network.allow]]\nfrom = \"sites\"\nto = \"%s/32\"\n%s",
			name, overlayOf(i, true), 51819+i, offered, strings.TrimSpace(siteKey), overlayOf(i, false), lan, overlayOf(i, true), allowed)
	}
	for n, text := range map[*netns.Node]string{p.site: site + more, p.hub: hub} {
		if err := n.WriteFile("/etc/ginnel/ginnel.toml", county.HostConfig(), 0o644); err != nil {
			return err
		}
		if err := n.WriteFile("/etc/ginnel/desired.toml", text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plain writes the configs of wg-quick for network number and starts the hub's
// end. The site's end is started by wg-quick as well, when it is wanted.
func (p *pair) plain(ctx context.Context, number int) error {
	siteKey, sitePublic, err := wgKey(ctx, p.site)
	if err != nil {
		return err
	}
	hubKey, hubPublic, err := wgKey(ctx, p.hub)
	if err != nil {
		return err
	}
	const port = 51900
	site := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = %s/32\nMTU = 1420\n[Peer]\nPublicKey = %s\nEndpoint = %s:%d\nAllowedIPs = %s/32\nPersistentKeepalive = 25\n",
		siteKey, overlayOf(number, false), hubPublic, hubWAN, port, overlayOf(number, true))
	hub := fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = %s/32\nMTU = 1420\nListenPort = %d\n[Peer]\nPublicKey = %s\nAllowedIPs = %s/32, 192.168.10.0/24\n",
		hubKey, overlayOf(number, true), port, sitePublic, overlayOf(number, false))
	if err := p.site.WriteFile(wgConf, site, 0o600); err != nil {
		return err
	}
	if err := p.hub.WriteFile(wgConf, hub, 0o600); err != nil {
		return err
	}
	return p.wgQuick(ctx, p.hub, "up")
}

// wgConf is wg-quick's file; the device is called as the file is.
const wgConf = "/run/wg-plain.conf"

// wgQuick runs wg-quick with the plain wireguard-go program as its back end, in a
// session of its own as our data planes are: the kernel gives each session its
// share of the processors (sched_autogroup_enabled), which alone was worth a
// tenth of the throughput.
func (p *pair) wgQuick(ctx context.Context, n *netns.Node, act string) error {
	_, err := n.Run(ctx, "setsid", "--wait", "env", "WG_QUICK_USERSPACE_IMPLEMENTATION="+filepath.Join(netns.Bin, "wireguard-go"), "wg-quick", act, wgConf)
	return err
}

func wgKey(ctx context.Context, n *netns.Node) (private, public string, err error) {
	if private, err = n.Run(ctx, "wg", "genkey"); err != nil {
		return "", "", err
	}
	public, err = n.RunWith(ctx, private, "wg", "pubkey")
	return strings.TrimSpace(private), strings.TrimSpace(public), err
}

// firstAnswer pings target from the site's LAN address every 2 ms until it
// answers, and returns when that was.
func (p *pair) firstAnswer(ctx context.Context, target string) (time.Time, error) {
	return firstEcho(ctx, p.site, siteLAN, netip.MustParseAddr(target))
}
