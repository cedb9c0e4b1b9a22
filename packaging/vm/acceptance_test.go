package vm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/packaging/vm"
)

const (
	first  = "0.1.0"
	second = "0.1.1"
)

// TestPackages installs our packages on a Debian of its own with systemd and
// the kernel's WireGuard, and does with them what a technician does, from
// installation to purge. Each step stands on those before it.
func TestPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine in software emulation: make test runs it")
	}
	t.Parallel()
	s := boot(t)
	defer func() { keep(t, s.rows, named("packages: ")) }()
	s.step("a hub and a LAN are there", s.surroundings)
	s.step("install offline: dpkg -i of all packages", s.install)
	s.step("service install is refused while packaged", s.refusedWhilePackaged)
	s.step("enrol with a site pack, config by push", s.enrol)
	s.step("tunnel up, kernel WireGuard, checks up", s.up("kernel WireGuard"))
	s.step("a LAN computer reaches the service; its replies come back", s.reach)
	s.step("the collector's API shows the site up", s.seen)
	s.step("applying again writes nothing", s.again)
	s.step("packets lost over systemctl restart, kernel", s.lossless("systemctl restart ginnel"))
	s.step("packets lost over kill -9, kernel", s.lossless(killed))
	s.step("packets lost over systemctl stop and start, kernel", s.lossless("systemctl stop ginnel && sleep 1 && systemctl start ginnel"))
	s.step("packets lost over an upgrade, kernel", s.lossless(upgradeTo(second)))
	s.step("a refused config leaves the old one running", s.badConfig)
	s.step("a restart of the host's network leaves ours alone", s.networkRestarts)
	s.step("reboot: refusals are there before the network", s.reboot)
	s.step("tunnel up after the reboot, by itself", s.up("kernel WireGuard"))
	s.step("strict rp_filter and 20 ms each way by netem: tunnel up", s.strict)
	s.step("a router by RA, and one by hand: only what is ours is added", s.forwarding)
	s.step("no nftables: no network is started; there again: up", s.withoutNftables)
	s.step("userspace back end, a unit of its own", s.userspace)
	s.step("packets lost over systemctl restart, userspace", s.lossless("systemctl restart ginnel"))
	s.step("packets lost over kill -9, userspace", s.lossless(killed))
	s.step("packets lost over an upgrade, userspace", s.lossless(upgradeTo(second)))
	s.step("remove: nothing of ours works any more", s.remove)
	s.step("install again: as it was, and up", s.installAgain)
	s.step("purge: the host is as before", s.purge)
	s.step("service install without a package, and uninstall", s.serviceInstall)
}

const killed = `old=$(systemctl show -P MainPID ginnel); kill -9 "$old"
for i in $(seq 300); do
	new=$(systemctl show -P MainPID ginnel)
	[ "$new" != 0 ] && [ "$new" != "$old" ] && systemctl is-active -q ginnel && exit 0
	sleep 0.2
done; echo "the agent is not back"; exit 1`

// checkSocket is what makes instances for programs of checks: there, switched on,
// listening, and the agent's alone.
const checkSocket = "systemctl is-active ginnel-check.socket && systemctl is-enabled ginnel-check.socket && " +
	"systemctl cat ginnel-check@.service ginnel-check.slice >/dev/null && stat -c %U:%G:%a /run/ginnel/check.sock | grep -x root:ginnel:660"

func upgradeTo(version string) string {
	return "dpkg -i /lab/" + version + "/ginnel_*.deb && systemctl is-active ginnel && " + checkSocket
}

func (s *site) surroundings(ctx context.Context) (string, error) {
	_, err := s.run(ctx, `set -e
cp -r /lab/site/. /
systemctl daemon-reload
networkctl reload
systemctl enable -q --now around records
ip netns exec pc ping -c 1 -W 5 192.168.10.1`)
	if err != nil {
		return "", err
	}
	s.before, err = s.run(ctx, "traces")
	return "", err
}

func (s *site) install(ctx context.Context) (string, error) {
	_, err := s.run(ctx, `set -e
dpkg -i /lab/`+first+`/*.deb
sed -i 's|^# url .*|url = "https://127.0.0.1:8443"|; s|^# listen-gateways .*|listen-gateways = "127.0.0.1:8443"|' /etc/ginnel-collector/collector.toml
systemctl start ginnel-collector
systemctl is-active ginnel ginnel-guard ginnel-dataplane.socket ginnel-collector
`+checkSocket+`
ginnel version; ginnelctl version; ginnel-collector version
ginnel status && exit 1
ginnel status | grep 'not enrolled: ginnel enrol PACK'`)
	return "", err
}

func (s *site) refusedWhilePackaged(ctx context.Context) (string, error) {
	out, err := s.run(ctx, "ginnel service install")
	var failed *vm.Failed
	switch {
	case err == nil:
		return "", fmt.Errorf("it was not refused: %s", out)
	case !errors.As(err, &failed):
		return "", err
	}
	if !strings.Contains(out, "a package has installed") {
		return "", fmt.Errorf("it did not say why: %s", out)
	}
	return "", nil
}

// enrol makes the site's pack, enrols with it, and pushes the first config. The
// hub is plain WireGuard that somebody else runs: its key is written into the
// fleet by hand, and nothing is pushed to it.
func (s *site) enrol(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `set -e
for who in alice bob; do ssh-keygen -q -t ed25519 -N '' -C $who -f /root/$who; done
mkdir /root/fleet; cd /root/fleet
cat >fleet.toml <<FLEET
signers = ["$(cat /root/alice.pub)", "$(cat /root/bob.pub)"]

[rollout]
window = "always"

[organisation]
kestrel = "Kestrel Practices (invented)"

[network.kestrel]
organisation = "kestrel"
overlay      = "100.64.0.0/18"
hubs         = ["hub-north"]

[hub.hub-north]
endpoints.kestrel = ["192.0.2.1:51820"]
lan.kestrel       = ["198.51.100.0/24"]

[[check]]
name     = "records"
kind     = "tcp"
network  = "kestrel"
target   = "198.51.100.20:443"
interval = "5s"

[[check]]
name     = "line"
kind     = "icmp"
target   = "192.0.2.1"
interval = "5s"
FLEET
printf 'site,name,kind\navocet,Avocet Surgery,gp\n' >sites.csv
printf 'site,network,lan,as\navocet,kestrel,192.168.10.0/24,\n' >attachments.csv
printf 'gateway,network,address\nhub-north,kestrel,100.64.0.1\navocet-1,kestrel,100.64.0.7\n' >addresses.csv
printf 'gateway,network,public_key,fingerprint,first_seen\nhub-north,kestrel,%s,,2026-11-20\n' "$(wg pubkey </root/hub.key)" >keys.csv
ginnelctl validate
export GINNEL_KEYSTORE=/root/packs
ginnelctl site add avocet -o /root/avocet.toml
ginnel enrol --yes /root/avocet.toml
ginnel key kestrel >/root/site.pub
ip netns exec hub wg set wg0 peer "$(cat /root/site.pub)" allowed-ips 100.64.0.7/32,192.168.10.0/24
for i in $(seq 60); do
	code=0; ginnelctl plan --without hub-north >/root/said 2>&1 || code=$?
	[ $code = 2 ] && break
	sleep 1
done
cat /root/said; [ $code = 2 ]
ginnelctl push --yes --no-rings --sign-with /root/alice --without hub-north
ginnel status | grep 'as the centre wants it'`)
}

func (s *site) up(backend string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := s.run(ctx, "ginnel status --wait 60s")
		if err == nil && !strings.Contains(out, backend) {
			err = fmt.Errorf("it is not %s:\n%s", backend, out)
		}
		return "", err
	}
}

func (s *site) reach(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, "ip netns exec pc ping -c 3 -i 0.2 -W 5 198.51.100.20")
}

func (s *site) seen(ctx context.Context) (string, error) {
	const script = `for i in $(seq 90); do
	ginnelctl sites --json >/root/sites.json && grep -q '"state": "up"' /root/sites.json && break
	sleep 0.5
done; cat /root/sites.json`
	out, err := s.run(ctx, script)
	if err != nil {
		return "", err
	}
	var sites []struct {
		ID, State string
		Gateways  []struct {
			Name, State     string
			Tunnels, Checks struct{ Up, All int }
		}
	}
	if err := json.Unmarshal([]byte(out), &sites); err != nil {
		return "", fmt.Errorf("%w:\n%s", err, out)
	}
	if len(sites) != 1 || sites[0].ID != "avocet" || sites[0].State != "up" || len(sites[0].Gateways) != 1 ||
		sites[0].Gateways[0].Tunnels.Up != 1 || sites[0].Gateways[0].Checks.Up != 2 {
		return "", fmt.Errorf("it shows:\n%s", out)
	}
	return "", nil
}

func (s *site) again(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `systemctl reload ginnel; sleep 2; ginnel plan`)
}

// lossless pings through the tunnel every 10 ms while a script runs.
func (s *site) lossless(script string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		out, err := s.run(ctx, "lose sh -c '"+strings.ReplaceAll(script, "'", `'\''`)+"'")
		if err != nil {
			return "", err
		}
		found := regexp.MustCompile(`PING (\d+) (\d+)`).FindStringSubmatch(out)
		if found == nil {
			return "", fmt.Errorf("the ping did not count:\n%s", out)
		}
		if found[2] != "0" {
			return "", fmt.Errorf("%s sent, %s lost", found[1], found[2])
		}
		return "0 of " + found[1], nil
	}
}

// badConfig brings a signed config that would take the site's own LAN, then one
// by hand that has no say here any more. Neither changes anything.
func (s *site) badConfig(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `cd /root
cp /var/lib/ginnel/last-good.toml good.toml
if sed 's|"198.51.100.0/24"|"192.168.0.0/16"|' good.toml | stick >said 2>&1; then cat said; echo "a prefix over the own LAN was taken"; exit 1; fi
grep '"192.168.0.0/16" overlaps' said || { cat said; echo "it was not said why"; exit 1; }
cmp good.toml /var/lib/ginnel/last-good.toml || exit 1
sed -e '/^generation/d' -e '/^signers/,/^]/d' good.toml >by-hand.toml
cp by-hand.toml /etc/ginnel/desired.toml
if systemctl reload ginnel; then echo "a config by hand was taken on an enrolled gateway"; exit 1; fi
rm /etc/ginnel/desired.toml
ginnel plan && ip netns exec pc ping -c 1 -W 5 198.51.100.20`)
}

// networkRestarts while no agent is there that would put things back.
func (s *site) networkRestarts(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `systemctl stop ginnel
ours() { ip rule; ip route show table all | grep 'proto 103'; }
ours >/root/ours
systemctl restart systemd-networkd
networkctl status >/dev/null; sleep 3
ours | diff /root/ours - || exit 1
systemctl start ginnel`)
}

func (s *site) reboot(ctx context.Context) (string, error) {
	if err := s.m.Reboot(ctx); err != nil {
		return "", err
	}
	out, err := s.run(ctx, `systemctl is-system-running --wait
`+checkSocket+` || exit 1
cat /run/before-network
echo GUARD $(systemctl show -P ActiveEnterTimestampMonotonic ginnel-guard)
echo NETWORK $(systemctl show -P ExecMainStartTimestampMonotonic systemd-networkd)`)
	if err != nil {
		return "", err
	}
	for _, want := range []string{`lookup \d+ proto 103`, `unreachable 198\.51\.100\.0/24 .*proto 103`, `table inet ginnel_kestrel`} {
		if !regexp.MustCompile(want).MatchString(out) {
			return "", fmt.Errorf("before the network there was no %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "wan0") && regexp.MustCompile(`(?m)^wan0`).MatchString(out) {
		return "", fmt.Errorf("the WAN was there already:\n%s", out)
	}
	var guard, network int64
	if _, err := fmt.Sscanf(out[strings.Index(out, "GUARD"):], "GUARD %d\nNETWORK %d", &guard, &network); err != nil {
		return "", err
	}
	if guard == 0 || guard >= network {
		return "", fmt.Errorf("guard at %d µs, network at %d µs", guard, network)
	}
	return fmt.Sprintf("%.1f s before", float64(network-guard)/1e6), nil
}

func (s *site) userspace(ctx context.Context) (string, error) {
	out, err := s.run(ctx, `set -e
systemctl stop ginnel
ginnel cleanup
echo 'backend = "userspace"' >>/etc/ginnel/ginnel.toml
systemctl start ginnel
ginnel status --wait 60s
systemctl list-units --no-legend --plain 'ginnel-dataplane@*.service'
systemctl show -P User $(systemctl list-units --no-legend --plain 'ginnel-dataplane@*.service' | awk '{ print $1 }')
wg show`)
	if err != nil {
		return "", err
	}
	for _, want := range []string{"userspace WireGuard", "loaded active running", "interface: gn-"} {
		if !strings.Contains(out, want) {
			return "", fmt.Errorf("%q is not in:\n%s", want, out)
		}
	}
	return "", nil
}

// sameTraces compares the host with what it was before anything of ours, less
// the lines that match except.
func (s *site) sameTraces(ctx context.Context, except string) error {
	now, err := s.run(ctx, "traces")
	if err != nil {
		return err
	}
	if except != "" {
		now = regexp.MustCompile(`(?m)^(`+except+`)\n`).ReplaceAllString(now, "")
	}
	if diff := cmp.Diff(strings.Split(s.before, "\n"), strings.Split(now, "\n")); diff != "" {
		return fmt.Errorf("not as before (-before +now):\n%s", diff)
	}
	return nil
}

func (s *site) remove(ctx context.Context) (string, error) {
	if err := s.quiet(ctx, "dpkg -P ginnel-check-clinical; dpkg -r ginnel; dpkg -P ginnelctl ginnel-collector"); err != nil {
		return "", err
	}
	const kept = `/(etc|var/lib)/ginnel.*|ginnel(-admin)?:.*`
	if err := s.sameTraces(ctx, kept); err != nil {
		return "", err
	}
	return "", s.quiet(ctx, `test -s /var/lib/ginnel/last-good.toml && test -d /var/lib/ginnel/identity && ! pgrep -a ginnel && ! systemctl is-enabled ginnel-check.socket && ! systemctl cat ginnel-check.socket`)
}

func (s *site) installAgain(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `dpkg -i /lab/`+second+`/ginnel_*.deb && systemctl is-enabled ginnel ginnel-guard ginnel-dataplane.socket && `+checkSocket+` || exit 1
for i in $(seq 120); do ip netns exec pc ping -c 1 -W 1 198.51.100.20 && exit 0; sleep 0.5; done; exit 1`)
}

func (s *site) purge(ctx context.Context) (string, error) {
	if err := s.quiet(ctx, "cp /usr/bin/ginnel /usr/lib/ginnel/ginnel-dataplane /root; dpkg -P ginnel"); err != nil {
		return "", err
	}
	return "", s.sameTraces(ctx, "")
}

// serviceInstall does without a package what the package does.
func (s *site) serviceInstall(ctx context.Context) (string, error) {
	err := s.quiet(ctx, `set -e
/root/ginnel service install && { echo "installed from /root, where a service cannot look"; exit 1; }
mkdir -p /opt/ginnel /etc/ginnel
mv /root/ginnel /root/ginnel-dataplane /opt/ginnel
cd /opt/ginnel
./ginnel service status && { echo "not installed, but it says so"; exit 1; }
./ginnel service install
./ginnel service install && { echo "installed twice"; exit 1; }
./ginnel key kestrel >/root/site.pub
ip netns exec hub wg set wg0 peer "$(cat /root/site.pub)" allowed-ips 100.64.0.7/32,192.168.10.0/24
cp /root/by-hand.toml /etc/ginnel/desired.toml
echo 'backend = "userspace"' >/etc/ginnel/ginnel.toml
./ginnel service start
./ginnel service status
ginnel=/opt/ginnel/ginnel
for i in $(seq 120); do ip netns exec pc ping -c 1 -W 1 198.51.100.20 && break; sleep 0.5; done
systemctl is-active ginnel ginnel-guard ginnel-dataplane.socket 'ginnel-dataplane@*'
`+checkSocket+`
./ginnel service restart
./ginnel service stop
ip netns exec pc ping -c 1 -W 5 198.51.100.20
./ginnel service start
./ginnel service uninstall
rm -rf /opt/ginnel /etc/ginnel /var/lib/ginnel
userdel ginnel; groupdel ginnel-admin`)
	if err != nil {
		return "", err
	}
	return "", s.sameTraces(ctx, "")
}
