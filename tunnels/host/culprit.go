package host

import (
	"bufio"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/tunnels"
)

var _ tunnels.Detective = (*Host)(nil)

// Culprit implements tunnels.Detective: who was seen at it, or failing that
// what runs here and is known for such things, with the setting to change.
func (h *Host) Culprit(s tunnels.Step) string {
	who := h.evidence.against(objectOf(s))
	if who == "" && s.Device != nil && s.Kind == tunnels.PeerKind {
		who = h.evidence.against(deviceObject(s.Device.Name))
	}
	running := processes()
	if who == "" {
		return likely(s.Kind, running)
	}
	for _, u := range usual {
		if u.comm == "nft" && strings.Contains(who, "started by") {
			continue // that script is to be mended, not nftables.conf
		}
		if strings.HasPrefix(who, u.comm+" (pid") || strings.HasSuffix(who, "started by "+u.comm) {
			if advice := u.advice(s.Kind); advice != "" {
				return who + ": " + advice
			}
		}
	}
	return who
}

// usualSuspect is a program that is known to change what others have made.
type usualSuspect struct {
	comm   string // as the kernel keeps it: 15 bytes at most
	name   string
	advice func(tunnels.Kind) string // the setting that ends it; empty: not its line
}

var usual = []usualSuspect{
	{"systemd-network", "systemd-networkd", networkd},
	{"NetworkManager", "NetworkManager", of("[keyfile] unmanaged-devices=interface-name:gn-* in /etc/NetworkManager/conf.d/ginnel.conf",
		tunnels.AddressKind, tunnels.DeviceKind, tunnels.MTUKind, tunnels.RouteKind, tunnels.SettingKind)},
	{"firewalld", "firewalld", of("FlushAllOnReload=no in /etc/firewalld/firewalld.conf", tunnels.FilterKind)},
	{"nft", "nft", of("a `flush ruleset` in /etc/nftables.conf takes everybody's tables away; flush your own only", tunnels.FilterKind)},
	{"dockerd", "dockerd", of(`"ip-forward": false in /etc/docker/daemon.json`, tunnels.SettingKind)},
	{"netbird", "netbird", of("another WireGuard agent: part the two, or stop it", wireguardKinds...)},
	{"tailscaled", "tailscaled", of("another WireGuard agent: part the two, or stop it", wireguardKinds...)},
	{"netclient", "netclient", of("another WireGuard agent: part the two, or stop it", wireguardKinds...)},
	{"innernet", "innernet", of("another WireGuard agent: part the two, or stop it", wireguardKinds...)},
	{"keepalived", "keepalived", of("its virtual routes and rules", tunnels.RouteKind, tunnels.RuleKind)},
}

var wireguardKinds = []tunnels.Kind{tunnels.DeviceKind, tunnels.PeerKind, tunnels.KeyKind, tunnels.PortKind, tunnels.RuleKind,
	tunnels.RouteKind, tunnels.SettingKind}

// of is advice about some kinds of objects.
func of(advice string, kinds ...tunnels.Kind) func(tunnels.Kind) string {
	return func(k tunnels.Kind) string {
		if slices.Contains(kinds, k) {
			return advice
		}
		return ""
	}
}

// likely is the first program that runs here and may be at such an object.
func likely(kind tunnels.Kind, running map[string]bool) string {
	for _, u := range usual {
		if advice := u.advice(kind); advice != "" && running[u.comm] {
			return "probably " + u.name + ": " + advice
		}
	}
	return ""
}

// networkd takes away the routes and rules that it has not made, unless it is
// told to leave them (networkd.conf(5)).
func networkd(kind tunnels.Kind) string {
	key := map[tunnels.Kind]string{tunnels.RouteKind: "ManageForeignRoutes", tunnels.RuleKind: "ManageForeignRoutingPolicyRules"}[kind]
	switch {
	case kind == tunnels.AddressKind, kind == tunnels.DeviceKind, kind == tunnels.MTUKind:
		return "Unmanaged=yes in a .network file that matches gn-*"
	case key == "", off(networkdSetting(key)):
		return ""
	}
	return key + "=no in /etc/systemd/networkd.conf, [Network]"
}

func off(value string) bool {
	return slices.Contains([]string{"no", "false", "off", "0"}, strings.ToLower(value))
}

// networkdSetting is a key's value in networkd.conf and the files that add to
// it: the last one counts, by its name; empty: it is not set.
func networkdSetting(key string) (value string) {
	var files []string
	for _, dir := range []string{"/usr/lib", "/usr/local/lib", "/run", "/etc"} {
		more, _ := filepath.Glob(dir + "/systemd/networkd.conf.d/*.conf")
		files = append(files, more...)
	}
	slices.SortStableFunc(files, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	for _, name := range append([]string{"/usr/lib/systemd/networkd.conf", "/etc/systemd/networkd.conf"}, files...) {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			k, v, ok := strings.Cut(lines.Text(), "=")
			if ok && strings.TrimSpace(k) == key {
				value = strings.TrimSpace(v)
			}
		}
		f.Close()
	}
	return value
}

// processes are the names of those that run here.
func processes() map[string]bool {
	running := map[string]bool{}
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range files {
		if comm, err := os.ReadFile(file); err == nil {
			running[strings.TrimSpace(string(comm))] = true
		}
	}
	return running
}
