package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// StateSize bounds a node's /var/lib/ginnel, so that a full disk is a disk
// that a test can fill.
const StateSize = 64 << 20

// Node is a machine of its own: network, mounts and host name. Its methods may
// be called from any goroutine.
type Node struct {
	Name          string
	net, mnt, uts int // descriptors of its namespaces
}

// New makes a node. hosts is the text of its /etc/hosts, resolver the address
// in its resolv.conf.
func New(name, hosts, resolver string) (*Node, error) {
	n := &Node{Name: name}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS); err != nil {
			return fmt.Errorf("new namespaces: %w", err)
		}
		if err := mountNode(hosts, resolver); err != nil {
			return err
		}
		if err := unix.Sethostname([]byte(name)); err != nil {
			return fmt.Errorf("host name: %w", err)
		}
		if err := Loopback(); err != nil {
			return err
		}
		return n.open()
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return n, nil
}

// Loopback brings the loopback up, of the namespace that the caller is in.
func Loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	return nil
}

// open keeps the current thread's namespaces in n.
func (n *Node) open() error {
	for name, fd := range map[string]*int{"net": &n.net, "mnt": &n.mnt, "uts": &n.uts} {
		got, err := unix.Open("/proc/thread-self/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening its %s namespace: %w", name, err)
		}
		*fd = got
	}
	return nil
}

// Do runs f inside the node, on a thread of its own. Files, sockets and
// commands that f opens or starts itself belong to the node; goroutines that
// it starts do not.
func (n *Node) Do(f func() error) error {
	return onThread(func() error {
		// A thread may change mounts only when it shares its root with no other.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("entering %s: %w", n.Name, err)
		}
		for _, ns := range []struct{ fd, kind int }{
			{n.net, unix.CLONE_NEWNET}, {n.uts, unix.CLONE_NEWUTS}, {n.mnt, unix.CLONE_NEWNS},
		} {
			if err := unix.Setns(ns.fd, ns.kind); err != nil {
				return fmt.Errorf("entering %s: %w", n.Name, err)
			}
		}
		return f()
	})
}

// NetFD is a descriptor of the node's network namespace, for libraries that
// enter it by themselves. It stays the node's.
func (n *Node) NetFD() int { return n.net }

// onThread runs f on a locked thread, which ends with its goroutine: a thread
// that has been elsewhere is never given back to the runtime.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func mountNode(hosts, resolver string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	for dir, options := range map[string]string{
		"/run":            "mode=0755",
		"/etc/ginnel":     "mode=0755",
		"/var/lib/ginnel": fmt.Sprintf("mode=0700,size=%d", StateSize),
	} {
		if err := mountTmpfs(dir, options); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"hosts": hosts, "resolv.conf": "nameserver " + resolver + "\n"} {
		own := filepath.Join("/run", name)
		if err := os.WriteFile(own, []byte(text), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(own, filepath.Join("/etc", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting its %s: %w", name, err)
		}
	}
	// The old /sys shows another namespace's links; where a new one is refused
	// the old one does no harm, because nothing of ours reads it.
	_ = unix.Mount("sysfs", "/sys", "sysfs", 0, "")
	return nil
}

// WriteFile writes a file inside the node, making its folder.
func (n *Node) WriteFile(path, text string, mode os.FileMode) error {
	return n.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(text), mode)
	})
}

// ReadFile reads a file inside the node.
func (n *Node) ReadFile(path string) (text string, err error) {
	err = n.Do(func() error {
		b, err := os.ReadFile(path)
		text = string(b)
		return err
	})
	return text, err
}

// Sysctl sets a kernel setting of the node; key is as sysctl(8) has it.
func (n *Node) Sysctl(key, value string) error {
	return n.Do(func() error {
		// Per network namespace for whoever opens it, whatever /proc was mounted by.
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0o644)
	})
}
