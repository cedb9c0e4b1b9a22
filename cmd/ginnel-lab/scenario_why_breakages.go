package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/tunnels"
)

// fought is the site at which programs fight over what is ours.
const fought = "curlew"

// breakages are those of each site.
func breakages(c *county.County) map[string][]breakage {
	w := breaker{c}
	return map[string][]breakage{
		"avocet":  {w.cable("avocet"), w.address("avocet"), w.line("avocet"), w.mistake("avocet")},
		"bittern": {w.defaultRoute("bittern"), w.name("bittern", "kestrel", "hub-north"), w.clock("bittern")},
		"dunlin":  {w.foreignRule("dunlin", "heron"), w.deviceTaken("dunlin", "heron", "hub-south"), w.takenDown("dunlin")},
		// Each is earlier in the walk than the one before it, which is still
		// remembered.
		fought:   {w.contestedRoute(fought, "heron"), w.contestedRule(fought, "heron"), w.contestedAddress(fought, "heron", "hub-south")},
		"egret":  {w.lanGone("egret", "heron"), w.foreignRoute("egret", "heron"), w.foreignFirewall("egret", "heron"), w.unreached("egret", "heron", "hub-north")},
		"fulmar": {w.wrongKey("fulmar", "kestrel", "hub-south"), w.service("fulmar", "heron", "hub-south"), w.mute("fulmar", "heron", "hub-south")},
	}
}

// breaker makes breakages.
type breaker struct{ c *county.County }

// at runs commands at a node.
func (w breaker) at(node string, commands ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		n, err := w.c.Node(node)
		if err != nil {
			return err
		}
		_, err = n.Run(ctx, "sh", "-ec", strings.Join(commands, "\n"))
		return err
	}
}

func (w breaker) router(site string) string {
	return w.c.Site(site).WAN().Prev().String()
}

func (w breaker) cable(site string) breakage {
	return breakage{what: "the cable is out", code: why.NoCarrier, step: "cable",
		act: w.at(site, "ip link set eth0 carrier off"), undo: w.at(site, "ip link set eth0 carrier on")}
}

func (w breaker) address(site string) breakage {
	at := w.c.Site(site).WAN().String()
	return breakage{what: "the WAN address is gone", code: why.NoAddress, step: "address",
		act:  w.at(site, "ip addr del "+at+"/31 dev eth0"),
		undo: w.at(site, "ip addr add "+at+"/31 dev eth0", "ip route replace default via "+w.router(site)+" dev eth0")}
}

// lanGone leaves the LAN's port without an address.
func (w breaker) lanGone(site, network string) breakage {
	return breakage{what: "no link is on its LAN", network: network, code: why.NoLAN, step: "address",
		act:  w.at(site, "ip -4 -o addr show dev eth1 | awk '{ print $4 }' > /run/lan.address", "ip -4 addr flush dev eth1"),
		undo: w.at(site, "ip addr add $(cat /run/lan.address) dev eth1")}
}

func (w breaker) defaultRoute(site string) breakage {
	return breakage{what: "the default route is gone", code: why.NoRoute, step: "route",
		act: w.at(site, "ip route del default"), undo: w.at(site, "ip route add default via "+w.router(site)+" dev eth0")}
}

// line is dead behind a router that lives.
func (w breaker) line(site string) breakage {
	from := w.c.Site(site).WAN().String()
	return breakage{what: "nothing is carried beyond its router", code: why.LineDead, step: "line",
		act: w.at("provider", "nft add table inet dead", "nft add chain inet dead over '{ type filter hook forward priority 0; }'",
			"nft add rule inet dead over ip saddr "+from+" drop"),
		undo: w.at("provider", "nft delete table inet dead")}
}

// mistake has a config refused; the one before goes on.
func (w breaker) mistake(site string) breakage {
	return breakage{what: "its config has a mistake", code: why.ConfigRefused, step: "config",
		act:  w.at(site, "cp /etc/ginnel/desired.toml /run/good.toml", "echo 'targett = 1' >> /etc/ginnel/desired.toml", "! ginnel reload"),
		undo: w.at(site, "cat /run/good.toml > /etc/ginnel/desired.toml", "ginnel reload")}
}

func (w breaker) takenDown(site string) breakage {
	return breakage{what: "its tunnels are taken down by hand", code: why.TakenDown, step: "agent",
		act: w.at(site, "ginnel down"), undo: w.at(site, "ginnel reload")}
}

// deviceTaken has somebody else's link in the place of a device, faster than
// the agent can put it back.
func (w breaker) deviceTaken(site, network, hub string) breakage {
	d := tunnels.DeviceName(network, hub)
	return breakage{what: "its device's name is taken", network: network, code: why.DeviceTaken, step: "device",
		act: func(ctx context.Context) error {
			s := w.c.Site(site)
			if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
				return err
			}
			err := w.at(site, "ip link del "+d, "ip link add "+d+" type veth peer name foreign0")(ctx)
			return errors.Join(err, syscall.Kill(s.PID(), syscall.SIGCONT))
		},
		undo: w.at(site, "ip link del "+d)}
}

func (w breaker) foreignRule(site, network string) breakage {
	lan := w.c.Site(site).SitePlan.LAN.String()
	return breakage{what: "a foreign rule leads its LAN elsewhere", network: network, code: why.RuleForeign, step: "rule",
		act:  w.at(site, "ip route add default via "+w.router(site)+" dev eth0 table 99", "ip rule add from "+lan+" lookup 99 priority 100"),
		undo: w.at(site, "ip rule del priority 100", "ip route flush table 99")}
}

func (w breaker) foreignRoute(site, network string) breakage {
	route := fmt.Sprintf("203.0.113.0/28 via %s dev eth0 table %d", w.router(site), tunnels.TableNumber(network))
	return breakage{what: "a foreign route in its table leads elsewhere", network: network, code: why.RouteForeign, step: "route",
		act: w.at(site, "ip route add "+route), undo: w.at(site, "ip route del "+route)}
}

// foreignFirewall is what docker does to a host.
func (w breaker) foreignFirewall(site, network string) breakage {
	return breakage{what: "a foreign firewall drops what is forwarded", code: why.ForeignDrop, step: "filter",
		act:  w.at(site, "nft add table ip filter", "nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'"),
		undo: w.at(site, "nft delete table ip filter")}
}

// fighting runs a script in the background while it is broken.
func (w breaker) fighting(site, script string) (act, undo func(context.Context) error) {
	var cmd *exec.Cmd
	act = func(context.Context) error {
		n := w.c.Site(site).Node
		if err := n.WriteFile("/run/fight.sh", "#!/bin/sh\nwhile :; do "+script+"; sleep 0.2; done\n", 0o755); err != nil {
			return err
		}
		cmd = n.Command(context.Background(), "sh", "/run/fight.sh")
		return n.Start(cmd)
	}
	undo = func(context.Context) error {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
		return nil
	}
	return act, undo
}

func (w breaker) contestedRule(site, network string) breakage {
	act, undo := w.fighting(site, fmt.Sprintf("ip rule del priority %d 2>/dev/null", tunnels.RulePriority(network)))
	return breakage{what: "a program removes its rule again and again", network: network, code: why.ContestedObj, step: "rule", act: act, undo: undo, lasts: true}
}

func (w breaker) contestedRoute(site, network string) breakage {
	act, undo := w.fighting(site, fmt.Sprintf("ip route del 203.0.113.0/24 table %d metric 100 2>/dev/null", tunnels.TableNumber(network)))
	return breakage{what: "a program removes its route again and again", network: network, code: why.ContestedObj, step: "route", act: act, undo: undo, lasts: true}
}

func (w breaker) contestedAddress(site, network, hub string) breakage {
	act, undo := w.fighting(site, fmt.Sprintf("ip addr del %s/32 dev %s 2>/dev/null", w.c.Site(site).Overlay(network), tunnels.DeviceName(network, hub)))
	return breakage{what: "a program removes its address again and again", network: network, code: why.ContestedObj, step: "address", act: act, undo: undo, lasts: true}
}

// restarted ends an agent and its tunnels, does something, and starts it again.
func (w breaker) restarted(site string, commands ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		s := w.c.Site(site)
		if err := s.StopAgent(ctx); err != nil {
			return err
		}
		if err := w.at(site, commands...)(ctx); err != nil {
			return err
		}
		if err := s.StartAgent(); err != nil {
			return err
		}
		_, err := s.AwaitAnswer(ctx)
		return err
	}
}

// name takes a hub's name away, and what was remembered of it.
func (w breaker) name(site, network, hub string) breakage {
	return breakage{what: "the hub's name is not answered, and never was", network: network, code: why.HubNoName, step: "name",
		act: w.restarted(site, "ginnel down", "cp /etc/hosts /run/kept.hosts", "cp /etc/resolv.conf /run/kept.resolv",
			"grep -v "+hub+" /run/kept.hosts > /etc/hosts", "echo nameserver 127.0.0.1 > /etc/resolv.conf", "rm -f /var/lib/ginnel/names.json"),
		undo: w.restarted(site, "cat /run/kept.hosts > /etc/hosts", "cat /run/kept.resolv > /etc/resolv.conf")}
}

// clock is a gateway that wakes up in the past: it has seen a later time, and
// reaches nobody that could say which of the two is right.
func (w breaker) clock(site string) breakage {
	later := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	return breakage{what: "the clock is behind what was seen", code: why.ClockBehind, step: "clock",
		act: w.restarted(site, "echo "+later+" > /var/lib/ginnel/clock-floor",
			"nft add table inet cut", "nft add chain inet cut out '{ type filter hook output priority 0; }'", "nft add rule inet cut out oifname eth0 tcp dport 443 drop"),
		undo: w.at(site, "nft delete table inet cut")}
}

// unreached is a hub that is silent to one site: its packets are dropped on the
// way.
func (w breaker) unreached(site, network, hub string) breakage {
	from, to := w.c.Site(site).WAN().String(), w.c.Hub(hub).Address.String()
	return breakage{what: "UDP to its hub is dropped on the way", network: network, code: why.HubSilent, step: "handshake",
		act: w.at("provider", "nft add table inet cut", "nft add chain inet cut over '{ type filter hook forward priority 0; }'",
			"nft add rule inet cut over ip saddr "+from+" ip daddr "+to+" udp dport 1024-65535 drop"),
		undo: w.at("provider", "nft delete table inet cut")}
}

// wrongKey has a site expect another key of its hub.
func (w breaker) wrongKey(site, network, hub string) breakage {
	const wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="
	return breakage{what: "its hub's key is another", network: network, code: why.HubNever, step: "handshake",
		act: w.at(site, "cp /etc/ginnel/desired.toml /run/kept.toml",
			fmt.Sprintf("awk '/^\\[\\[network\\]\\]/ {n=\"\"} /^ *name *= *\"%s\"/ {n=1} n && /public_key/ && !done {sub(/\"[^\"]*\"/, \"\\\"%s\\\"\"); done=1} {print}' /run/kept.toml > /etc/ginnel/desired.toml", network, wrong),
			"ginnel reload"),
		undo: w.at(site, "cat /run/kept.toml > /etc/ginnel/desired.toml", "ginnel reload")}
}

// service stops a service for one site, as its overlay address shows.
func (w breaker) service(site, network, hub string) breakage {
	from := w.c.Site(site).Overlay(network).String()
	return breakage{what: "a service refuses it", network: network, code: why.TargetRefuses, step: "results",
		act: w.at(hub+"-"+network, "nft add table inet cut", "nft add chain inet cut in '{ type filter hook input priority 0; }'",
			"nft add rule inet cut in ip saddr "+from+" tcp dport 443 reject with tcp reset"),
		undo: w.at(hub+"-"+network, "nft delete table inet cut")}
}

// mute has a hub drop all that comes out of the tunnel from one site.
func (w breaker) mute(site, network, hub string) breakage {
	from := w.c.Site(site).Overlay(network).String()
	return breakage{what: "its hub drops what comes out of the tunnel", network: network, code: why.ProbeSilent, step: "probe",
		act: w.at(hub, "nft add table inet cut", "nft add chain inet cut pre '{ type filter hook prerouting priority -300; }'",
			"nft add rule inet cut pre iifname "+tunnels.DeviceName(network, "")+" ip saddr "+from+" drop"),
		undo: w.at(hub, "nft delete table inet cut")}
}
