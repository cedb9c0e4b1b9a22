package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Paths inside the box.
const (
	Bin = "/var/lib/lab/bin" // the programs under test
	Out = "/var/lib/lab/out" // what outlives the box
	etc = "/var/lib/lab/etc" // the machine's own /etc
)

// Init is the first process of a box: it mounts what the box needs, starts
// this same program with args, passes signals on, buries the dead, and returns
// the exit status of what it started. bin and out are shown at Bin and Out.
func Init(bin, out string, args []string, files []*os.File) int {
	if err := mountBox(bin, out); err != nil {
		fmt.Fprintln(os.Stderr, "ginnel-lab: preparing the box:", err)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return refusedExit
		}
		return 1
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	os.Unsetenv("JOURNAL_STREAM") // what they print goes to files
	cmd.Env = append(os.Environ(), "PATH="+Bin+":/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "ginnel-lab: starting the county:", err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	return reap(cmd.Process.Pid)
}

// reap buries every process that ends in the box until main does, and returns
// main's exit status.
func reap(main int) int {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1
		case pid == main && status.Signaled():
			return 128 + int(status.Signal())
		case pid == main:
			return status.ExitStatus()
		}
	}
}

// mountBox gives the box its own /proc, /run, /var/lib and /etc. The
// machine's /etc stays readable through links, entry by entry.
func mountBox(bin, out string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	// Held open, because they may lie below what is about to be covered.
	kept := map[string]string{Bin: bin, Out: out, etc: "/etc"}
	held := map[string]*os.File{}
	for at, dir := range kept {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		held[at] = f
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib"} {
		if err := mountTmpfs(dir, "mode=0755"); err != nil {
			return err
		}
	}
	for at, f := range held {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		from := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		if err := unix.Mount(from, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("showing %s at %s: %w", f.Name(), at, err)
		}
	}
	if err := os.MkdirAll("/var/lib/ginnel", 0o755); err != nil {
		return err
	}
	return mountEtc()
}

func mountEtc() error {
	if err := mountTmpfs("/etc", "mode=0755"); err != nil {
		return err
	}
	entries, err := os.ReadDir(etc)
	if err != nil {
		return err
	}
	ours := map[string]bool{"hosts": true, "resolv.conf": true, "hostname": true, "mtab": true, "ginnel": true}
	for _, e := range entries {
		if ours[e.Name()] {
			continue
		}
		if err := os.Symlink(filepath.Join(etc, e.Name()), filepath.Join("/etc", e.Name())); err != nil {
			return err
		}
	}
	for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
		if err := os.WriteFile(filepath.Join("/etc", name), nil, 0o644); err != nil {
			return err
		}
	}
	return os.Mkdir("/etc/ginnel", 0o755)
}

// mountTmpfs covers dir with an empty file system.
func mountTmpfs(dir string, options ...string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, strings.Join(options, ",")); err != nil {
		return fmt.Errorf("mounting tmpfs on %s: %w", dir, err)
	}
	return nil
}
