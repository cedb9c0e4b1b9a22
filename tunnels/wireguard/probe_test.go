package wireguard

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProbeCreatesNothing(t *testing.T) {
	if !apart(t) {
		return
	}
	s, err := Probe()
	must(t, err)
	if s.TUN != nil {
		t.Errorf("this machine has TUN: %v", s.TUN)
	}
	if b := backend(); b == Kernel && s.Kernel != nil {
		t.Errorf("this machine has WireGuard in its kernel: %v", s.Kernel)
	}
	made := sh(t, "ip link add gn-x type wireguard 2>&1 && ip link del gn-x || echo no") == ""
	if has := s.Kernel == nil; has != made {
		t.Errorf("probe says the kernel has WireGuard: %v; ip says %v", has, made)
	}
	if links := sh(t, "ip -o link | grep -c gn- || true"); links != "0" {
		t.Errorf("the probe left %s links", links)
	}
}

func TestProbeWithoutTUN(t *testing.T) {
	was := cloneDevice
	t.Cleanup(func() { cloneDevice = was })
	cloneDevice = filepath.Join(t.TempDir(), "tun")
	if err := tunThere(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// A thread that has given up its capabilities is told by name what it lacks.
func TestProbeWithoutCapability(t *testing.T) {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and end with it
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			return
		}
		_, err := Probe()
		result <- err
	}()
	err := <-result
	if !errors.Is(err, ErrNoCapability) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") || hintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
}

func TestChoose(t *testing.T) {
	no := errors.New("none here")
	for _, c := range []struct {
		name string
		has  Support
		want Backend
		got  Backend
		err  string
		hint string
	}{
		{name: "both: the kernel", got: Kernel},
		{name: "no module: a data plane", has: Support{Kernel: no}, got: Userspace},
		{name: "no TUN: the kernel", has: Support{TUN: no}, got: Kernel},
		{name: "neither", has: Support{Kernel: no, TUN: no},
			err:  "neither WireGuard in the kernel nor /dev/net/tun is there (none here; none here)",
			hint: "modprobe wireguard, or modprobe tun; a container needs /dev/net/tun given to it"},
		{name: "a data plane by choice", want: Userspace, got: Userspace},
		{name: "kernel by choice, not there", has: Support{Kernel: no}, want: Kernel,
			err:  "the config asks for WireGuard in the kernel: none here",
			hint: "leave out backend = \"kernel\" to use a data plane instead, or install the module (modprobe wireguard)"},
		{name: "a data plane by choice, no TUN", has: Support{TUN: no}, want: Userspace,
			err:  "the config asks for a data plane, which needs a TUN link: none here",
			hint: "modprobe tun; a container needs /dev/net/tun given to it"},
		{name: "no such", want: "boringtun", err: `there is no back end "boringtun"`, hint: `"kernel", "userspace", or leave it out`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.has.Choose(c.want)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if got != c.got || text != c.err || hintOf(err) != c.hint {
				t.Errorf("got %q, %q, hint %q", got, text, hintOf(err))
			}
		})
	}
	if _, err := (Support{Kernel: no, TUN: no}).Choose(Auto); !errors.Is(err, ErrNoBackend) {
		t.Error("it cannot be told by ErrNoBackend")
	}
}
