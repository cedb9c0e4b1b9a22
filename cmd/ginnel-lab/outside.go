package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// setup is what the outside tells the inside.
type setup struct {
	Do      string   // "up", "scenario", "bench", or "kernel": look whether it has WireGuard
	Args    []string // names of scenarios
	Once    bool
	Bare    bool // no programs
	Short   bool
	Backend string // of every gateway; empty: userspace
	Page    string // address of the page listener; empty: there is none
	Control bool   // there is a control listener
	Out     string // the folder of netns.Out as it is called outside
	User    string
}

// Descriptors that are handed in, in this order; /dev/null where there is none.
const (
	pageFD = 3 + iota
	controlFD
)

// enter runs the inside of s in a box of its own and returns its exit status
// as an error of cli.
func enter(ctx context.Context, s setup, page, control *os.File) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding our own program: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null}
	for i, f := range []*os.File{page, control} {
		if f != nil {
			files[i] = f
		}
	}
	if u, err := user.Current(); err == nil {
		s.User = u.Username
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	box := netns.Box{Args: []string{boxInit, filepath.Dir(exe), s.Out, string(text)}, Files: files, Env: os.Environ()}
	cmd, err := box.Start()
	if err != nil {
		return cli.WithHint(err, "sudo make demo")
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) })
	defer stop()
	code, err := netns.Wait(cmd)
	if errors.Is(err, netns.ErrRefused) {
		return cli.WithHint(err, "sudo make demo")
	}
	if err == nil && code != 0 {
		return &cli.Exit{Code: code}
	}
	return err
}

// outFolder is where what outlives the box is written: beside our own program
// if we may write there, else in the user's runtime or temporary folder.
func outFolder() (string, error) {
	var errs []error
	for _, dir := range outFolders() {
		err := os.MkdirAll(dir, 0o700)
		if err == nil {
			err = writable(dir, os.Getuid())
		}
		if err == nil {
			return dir, nil
		}
		errs = append(errs, fmt.Errorf("  %w", err))
	}
	return "", cli.WithHint(fmt.Errorf("no folder to write to:\n%w", errors.Join(errs...)), "GINNEL_LAB_OUT=DIR names one of your own")
}

// writable says why the user with that id may not write to a folder, or others may
// too: in /tmp somebody may have made it before us. Root may be given any folder.
func writable(dir string, uid int) error {
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := strconv.Itoa(int(st.Sys().(*syscall.Stat_t).Uid))
	switch {
	case uid == 0:
	case owner != strconv.Itoa(uid):
		if u, err := user.LookupId(owner); err == nil {
			owner = u.Username
		}
		return fmt.Errorf("%s is there already, and is %s's", dir, owner)
	case st.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("%s may be written to by everybody", dir)
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// outFolders are those that outFolder tries, the best first.
func outFolders() []string {
	if dir := os.Getenv("GINNEL_LAB_OUT"); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(exe))
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "ginnel-lab"))
	}
	return append(dirs, filepath.Join(os.TempDir(), "ginnel-lab-"+strconv.Itoa(os.Getuid())))
}

// listenPage opens the page's listener at address or, when that port is taken,
// at one of the next hundred.
func listenPage(address string) (*os.File, string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", cli.Usagef("--page %s: %v", address, err)
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, "", cli.Usagef("--page %s: the port is not a number", address)
	}
	for try := port; ; try++ {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(try)))
		if errors.Is(err, unix.EADDRINUSE) && try < port+100 {
			continue
		}
		if err != nil {
			return nil, "", fmt.Errorf("opening the page: %w", err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		return f, l.Addr().String(), err
	}
}

// controlSocket is the path of the control socket below an out folder.
func controlSocket(out string) string { return filepath.Join(out, "lab", "control.sock") }

// listenControl opens the control socket. It is refused when a county that
// answers has it.
func listenControl(out string) (*os.File, error) {
	path := controlSocket(out)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if conn, err := net.Dial("unixpacket", path); err == nil {
		conn.Close()
		return nil, cli.WithHint(fmt.Errorf("a county is up already: %s", path), "end it there with Ctrl-C")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an old control socket: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, cli.WithHint(fmt.Errorf("opening the control socket: %w", err), "set GINNEL_LAB_OUT to a shorter path")
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	return l.File()
}
