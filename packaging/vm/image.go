// Package vm boots a machine of its own for tests: a small Debian with systemd
// and the kernel's WireGuard, in software emulation, without a network. Scripts
// run in it through a virtio serial port.
//
// Its disk is built once, from Debian's mirror as this host's apt knows it, and
// kept in the user's cache; each machine writes to a copy that ends with it.
package vm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

//go:embed image.sh
var imageScript []byte

// Image is a machine's disk and what boots it.
type Image struct{ Disk, Kernel, Initrd string }

// Prepare gives the image, built now unless the cache has it. It needs root. say
// is told what takes long.
func Prepare(ctx context.Context, say func(format string, a ...any)) (Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Image{}, err
	}
	sum := sha256.Sum256(imageScript)
	folder := filepath.Join(cache, "ginnel", "vm-"+hex.EncodeToString(sum[:8]))
	image := Image{
		Disk: filepath.Join(folder, "disk.img"), Kernel: filepath.Join(folder, "vmlinuz"),
		Initrd: filepath.Join(folder, "initrd.img"),
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		return Image{}, err
	}
	unlock, err := lock(folder + ".lock")
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if _, err := os.Stat(folder); err == nil {
		return image, nil
	}
	say("building the test machine's disk, once; it is kept in %s", folder)
	return image, build(ctx, folder)
}

// lock keeps a second build out until unlock.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// build makes the folder whole or not at all.
func build(ctx context.Context, folder string) error {
	fresh, err := os.MkdirTemp(filepath.Dir(folder), "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	script := filepath.Join(fresh, "image.sh") // not on stdin, which its programs would read
	if err := os.WriteFile(script, imageScript, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "sh", script, fresh, mirror(ctx))
	cmd.Env = os.Environ()
	if proxy := aptProxy(ctx); proxy != "" {
		cmd.Env = append(cmd.Env, "http_proxy="+proxy)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the test machine's disk: %w\n%s", err, tail(string(out), 20))
	}
	return os.Rename(fresh, folder)
}

// mirror is where this host's apt has Debian from.
func mirror(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err == nil {
		for uri := range strings.Lines(string(out)) {
			if uri = strings.TrimRight(strings.TrimSpace(uri), "/"); strings.HasSuffix(uri, "/debian") {
				return uri
			}
		}
	}
	return "http://deb.debian.org/debian"
}

// aptProxy is the proxy that this host's apt uses; empty: none.
func aptProxy(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-config", "--format", "%v%n", "dump", "Acquire::http::Proxy").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// tail gives the last lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
