package vm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
)

// TestPrograms lets the gateway's owner offer programs as checks, under a real
// systemd: they run without rights, end with the agent and within their limits,
// and go with the package.
func TestPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine in software emulation: make test runs it")
	}
	t.Parallel()
	lab := t.TempDir()
	s := &site{t: t, prefix: "programs: ", m: start(t, lab, func(ctx context.Context, lab string) error {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(lab, "ginnel-check-banner"), "./checks/plugin/example")
		build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the plugin: %w\n%s", err, out)
		}
		return addPackages(ctx, lab)
	})}
	defer func() { keep(t, s.rows, named("programs: ")) }()
	s.step("the host before", s.surroundings)
	s.step("a plugin and an exec are offered", s.offerPrograms)
	s.step("a plugin has a user of its own and no capability", s.withoutRights)
	s.step("exec runs in an instance, too", s.execInstance)
	s.step("kill -9 of the agent: its plugin is gone, ms", s.noOrphan)
	s.step("kill -9 of the plugin: it is back, ms", s.pluginBack)
	s.step("a program that stops its instance is ended with it", s.stoppedInstance)
	s.step("reload with a file that is wrong: it is named, all else is there", s.wrongOffer)
	s.step("one that eats memory is ended, and quarantined", s.eater)
	s.step("the others went on beside it", s.besideEater)
	s.step("an upgrade: the socket stays, the plugin is back", s.upgradedPrograms)
	s.step("the clock is set under pings: no time is off", s.shakenClock)
	s.step("remove and purge: the host is as before", s.purgePrograms)
}

func (s *site) offerPrograms(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `set -e
dpkg -i /lab/`+first+`/ginnel_*.deb
systemctl is-active ginnel-check.socket
mkdir -p /usr/local/libexec
cp /lab/ginnel-check-banner /usr/local/libexec/
printf '#!/bin/sh\nread -r _ cap </proc/self/status\necho "ID $(id -u) IN $(cat /proc/self/cgroup)|answer=42;50;60"\n' >/usr/local/libexec/check_id
printf '#!/bin/sh\nexec tail /dev/zero\n' >/usr/local/libexec/eater
chmod 755 /usr/local/libexec/*
offer() { printf 'kind = "%s"\npath = "/usr/local/libexec/%s"\nsha256 = "%s"\n%s\n' "$1" "$2" "$(sha256sum </usr/local/libexec/$2 | cut -d' ' -f1)" "$3" >/etc/ginnel/checks.d/$1.toml; }
offer banner ginnel-check-banner
offer id check_id 'type = "exec"'
cat >/etc/ginnel/desired.toml <<CONFIG
gateway = "avocet-1"

[[check]]
name     = "greeting"
kind     = "banner"
target   = "127.0.0.1:9"
interval = "5s"

[[check]]
name     = "who"
kind     = "id"
interval = "10s"
timeout  = "8s"
CONFIG
ginnel config check
systemctl reload ginnel
for i in $(seq 60); do
	ginnel status --json >/root/st.json || true
	grep -q '"reason": *"refused"' /root/st.json && exit 0
	sleep 1
done
cat /root/st.json; ginnel check list; exit 1`)
}

func (s *site) withoutRights(ctx context.Context) (string, error) {
	out, err := s.run(ctx, `set -e
pid=$(pgrep -f ^/usr/local/libexec/ginnel-check-banner)
echo "USER $(stat -c %u /proc/$pid)"
grep -E '^(Cap|NoNewPrivs|Groups)' /proc/$pid/status
cat /proc/$pid/cgroup
getent passwd ginnel
ginnel check list`)
	if err != nil {
		return "", err
	}
	for _, want := range []string{`USER 6[0-9]{4}\n`, `CapPrm:\s+0000000000000000`, `CapEff:\s+0000000000000000`, `CapBnd:\s+0000000000000000`,
		`CapAmb:\s+0000000000000000`, `NoNewPrivs:\s+1`, `ginnel-check\.slice/ginnel-check@`, `ginnel-check-banner:\s+running`} {
		if !regexp.MustCompile(want).MatchString(out) {
			return "", fmt.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "no systemd") {
		return "", fmt.Errorf("it says that no systemd runs it:\n%s", out)
	}
	return regexp.MustCompile(`USER (\d+)`).FindString(out), nil
}

func (s *site) execInstance(ctx context.Context) (string, error) {
	out, err := s.run(ctx, `for i in $(seq 30); do ginnel status --json | grep -q '"name": *"who"' && break; sleep 1; done
ginnel check run who
echo "USER $(stat -c %u /proc/$(pgrep -f ^/usr/local/libexec/ginnel-check-banner))"`)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?s)ok .*ID (6\d{4}) IN .*ginnel-check@.*USER (6\d{4})`).FindStringSubmatch(out)
	if m == nil || m[1] == m[2] {
		return "", fmt.Errorf("it says, and the plugin has the user:\n%s", out)
	}
	return fmt.Sprintf("users %s and %s", m[1], m[2]), nil
}

// gone waits for the end of process $1 and prints how many milliseconds it took.
const waiting = `gone() { t=$(date +%s%N); while [ -d /proc/$1 ] && ! grep -q '^State:.Z' /proc/$1/status 2>/dev/null; do
	[ $(($(date +%s%N) - t)) -gt 20000000000 ] && { echo "process $1 is still there"; exit 1; }; done; echo "MS $((($(date +%s%N) - t) / 1000000))"; }
plugin() { pgrep -f ^/usr/local/libexec/ginnel-check-banner; }
`

func (s *site) noOrphan(ctx context.Context) (string, error) {
	return s.milliseconds(ctx, 1000, waiting+`pid=$(plugin); kill -9 "$(systemctl show -P MainPID ginnel)"; gone "$pid"
for i in $(seq 120); do plugin >/dev/null && exit 0; sleep 0.5; done; echo "no new one"; exit 1`)
}

func (s *site) pluginBack(ctx context.Context) (string, error) {
	return s.milliseconds(ctx, 20000, waiting+`sleep 2; pid=$(plugin); t=$(date +%s%N); kill -9 "$pid"
while now=$(plugin); [ -z "$now" ] || [ "$now" = "$pid" ]; do [ $(($(date +%s%N) - t)) -gt 60000000000 ] && exit 1; done
echo "MS $((($(date +%s%N) - t) / 1000000))"`)
}

// stoppedInstance does what a program may: it has its instance's user.
func (s *site) stoppedInstance(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, waiting+`old=$(plugin); instance=$(ps -o ppid= -p "$old")
runuser -u "#$(stat -c %u "/proc/$old")" -- kill -STOP $instance 2>/dev/null || kill -STOP $instance
for i in $(seq 120); do now=$(plugin) && [ "$now" != "$old" ] && ! [ -d "/proc/$old" ] && exit 0; sleep 0.5; done; ps -ef; exit 1`)
}

// milliseconds runs a script that prints them, and holds them to the most that
// may pass in an emulated machine.
func (s *site) milliseconds(ctx context.Context, most int, script string) (string, error) {
	out, err := s.run(ctx, script)
	if err != nil {
		return "", err
	}
	var ms int
	if _, err := fmt.Sscanf(out[strings.Index(out, "MS"):], "MS %d", &ms); err != nil {
		return "", fmt.Errorf("%w in:\n%s", err, out)
	}
	if ms > most {
		return "", fmt.Errorf("%d ms; %d is the most", ms, most)
	}
	return fmt.Sprint(ms), nil
}

// wrongOffer offers one more program, and writes one file that cannot be read.
func (s *site) wrongOffer(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, waiting+`old=$(plugin); agent=$(systemctl show -P MainPID ginnel)
sed 's/"id"/"id-too"/' /etc/ginnel/checks.d/id.toml >/etc/ginnel/checks.d/too.toml
printf 'kind = "door"\npaht = "/usr/local/libexec/door"\n' >/etc/ginnel/checks.d/door.toml
if systemctl reload ginnel; then echo "it says that all is well"; exit 1; fi
journalctl -b -u ginnel --no-pager | tail -20 >/root/said; cat /root/said
grep '/etc/ginnel/checks.d/door.toml:2:1: paht: unknown key' /root/said && grep 'hint: kind, type, path' /root/said || exit 1
ginnel status --json | grep '"kind": *"id-too"' || exit 1
[ "$(plugin)" = "$old" ] && [ "$(systemctl show -P MainPID ginnel)" = "$agent" ] || { echo "something was started anew"; exit 1; }
rm /etc/ginnel/checks.d/door.toml /etc/ginnel/checks.d/too.toml
systemctl reload ginnel && ! ginnel status --json | grep '"kind": *"id-too"'`)
}

func (s *site) eater(ctx context.Context) (string, error) {
	out, err := s.run(ctx, `printf 'kind = "eater"\npath = "/usr/local/libexec/eater"\nsha256 = "%s"\n' "$(sha256sum </usr/local/libexec/eater | cut -d' ' -f1)" >/etc/ginnel/checks.d/eater.toml
printf '\n[[check]]\nname = "greed"\nkind = "eater"\ntarget = "x"\ninterval = "5s"\n' >>/etc/ginnel/desired.toml
systemctl reload ginnel
for i in $(seq 150); do
	ginnel status --json | grep -q '"state": *"quarantined"' && break
	sleep 2
done
ginnel check list | tr -s ' \n' ' '
echo; ginnel why || true
journalctl -k --no-pager | grep -c 'Memory cgroup out of memory' || true`)
	if err == nil && !(strings.Contains(out, "eater: quarantined") && strings.Contains(out, "by one of its limits") && strings.Contains(out, "GN-CONF-07")) {
		err = fmt.Errorf("it says:\n%s", out)
	}
	return "", err
}

func (s *site) besideEater(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `set -e
ginnel check list | tr -s ' \n' ' ' | grep 'ginnel-check-banner: running'
[ "$(systemctl list-units --no-legend --plain 'ginnel-check@*' | wc -l)" -ge 1 ]
! pgrep -f ^/usr/local/libexec/eater`)
}

// upgradedPrograms has the instance of a plugin end with its agent, and a new agent
// ask the same socket for the next.
func (s *site) upgradedPrograms(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, waiting+`old=$(plugin); opened=$(systemctl show -P ActiveEnterTimestampMonotonic ginnel-check.socket)
`+upgradeTo(second)+` || exit 1
[ "$opened" = "$(systemctl show -P ActiveEnterTimestampMonotonic ginnel-check.socket)" ] || { echo "the socket was opened anew"; exit 1; }
for i in $(seq 120); do now=$(plugin) && [ "$now" != "$old" ] && exit 0; sleep 0.5; done; echo "no new one"; exit 1`)
}

// shakenClock asks over a line of 200 ms while somebody sets the clock again and
// again: by what no time can be, and by what many could. Of one train all steps are
// of one direction, else those the other way would give the stamps away.
func (s *site) shakenClock(ctx context.Context) (string, error) {
	err := s.quiet(ctx, `set -e
systemctl stop ginnel
rm /etc/ginnel/checks.d/*.toml
tc qdisc add dev wan0 root netem delay 100ms
ip netns exec hub tc qdisc add dev hub0 root netem delay 100ms
cat >/etc/ginnel/desired.toml <<CONFIG
gateway = "avocet-1"

[[check]]
name     = "line"
kind     = "icmp"
target   = "192.0.2.1"
timeout  = "8s"

[check.options]
count = 20
gap   = "100ms"
CONFIG`)
	if err != nil {
		return "", err
	}
	told, still := "", 0.0
	for _, by := range []string{"0s", "1h", "9ms", "-9ms"} {
		out, err := s.run(ctx, `/lab/hand shake `+by+` 12 & ginnel check run --json line; wait $!`)
		var run local.CheckRun
		if err == nil {
			err = json.Unmarshal([]byte(out), &run)
		}
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		if len(run.RTT) != 20 {
			return "", fmt.Errorf("set by %s:\n%s", by, out)
		}
		least, most := slices.Min(run.RTT), slices.Max(run.RTT)
		if by == "0s" {
			still = least
		}
		// Nothing is there sooner than while the clock is left alone; for how long an
		// emulated processor holds something back is not known.
		if least < 0.2 || least < still-0.004 || most > 0.4 || by == "0s" && run.Stamps != checks.KernelStamps {
			return "", fmt.Errorf("set by %s, %g to %g s:\n%s", by, least, most, out)
		}
		told += fmt.Sprintf("; %s: %.1f to %.1f ms by %s", by, least*1e3, most*1e3, run.Stamps)
	}
	_, err = s.run(ctx, "tc qdisc del dev wan0 root; ip netns exec hub tc qdisc del dev hub0 root")
	return strings.TrimPrefix(told, "; "), err
}

func (s *site) purgePrograms(ctx context.Context) (string, error) {
	if err := s.quiet(ctx, `dpkg -P ginnel && ! pgrep -f /usr/local/libexec && ! systemctl list-units --all --no-legend --plain 'ginnel*' | grep .
rm -rf /usr/local/libexec`); err != nil {
		return "", err
	}
	return "", s.sameTraces(ctx, "")
}
