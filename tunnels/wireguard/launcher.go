package wireguard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Launcher starts the data plane of one device, which outlives us. When Launch
// returns without error the device is there and can be configured.
type Launcher interface {
	Launch(ctx context.Context, device string) error
}

// Plane says how data planes are to run. What is zero is left to them, and not
// said: a data plane of any version understands a bare name.
type Plane struct {
	NoOffload bool  // packets one by one, without GSO and GRO
	Memory    int64 // the most that one may use, in bytes
}

// line is what a data plane is asked with; cmd/ginnel-dataplane describes it.
func (p Plane) line(device string) string {
	line := device
	if p.NoOffload {
		line += " no-offload"
	}
	if p.Memory > 0 {
		line += fmt.Sprintf(" memory=%d", p.Memory)
	}
	return line + "\n"
}

// DefaultSocket is where systemd listens on behalf of data planes.
const DefaultSocket = "/run/ginnel/dataplane.sock"

// Socket asks systemd for a data plane, by a line on a socket with Accept=yes.
// The instance is a unit of its own: nothing that happens to ours ends it.
type Socket struct {
	Path  string // empty: DefaultSocket
	Plane Plane
}

func (s Socket) path() string {
	if s.Path == "" {
		return DefaultSocket
	}
	return s.Path
}

// Launch implements Launcher.
func (s Socket) Launch(ctx context.Context, device string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", s.path())
	if err != nil {
		return hinted("systemctl status ginnel-dataplane.socket",
			"ask for a data plane for %s: %w", device, err)
	}
	return ask(ctx, conn, device, s.Plane)
}

// Setsid starts the program itself, in a session of its own, where there is no
// systemd: the lab, OpenRC, SysV. Ending us does not end it.
type Setsid struct {
	Program string // path of ginnel-dataplane
	Log     string // file that its messages are added to; empty: they are lost
	Plane   Plane
}

// Launch implements Launcher. The child answers on its stdin, which is one end
// of a socket pair, as an instance of the unit would.
func (s Setsid) Launch(ctx context.Context, device string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair for %s: %w", device, err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer far.Close()
	conn, err := net.FileConn(near)
	near.Close()
	if err != nil {
		return fmt.Errorf("make a socket pair for %s: %w", device, err)
	}
	if err := s.start(device, far); err != nil {
		conn.Close()
		return fmt.Errorf("start a data plane for %s: %w", device, err)
	}
	far.Close()
	return ask(ctx, conn, device, s.Plane)
}

func (s Setsid) start(device string, stdin *os.File) error {
	cmd := exec.Command(s.Program, "--stdin")
	cmd.Args = append(cmd.Args, device) // for ps; the line on stdin says the same
	cmd.Dir = "/"
	cmd.Env = withoutService(os.Environ())
	cmd.Stdin = stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.Log != "" {
		f, err := os.OpenFile(s.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd.Stdout, cmd.Stderr = f, f
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go cmd.Wait() // no zombie while we live; init reaps it after us
	return nil
}

// Version is that of the program; empty where it does not say.
func (s Setsid) Version() string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.Program, "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "ginnel-dataplane "))
}

// withoutService drops what a service manager meant for us alone.
func withoutService(env []string) []string {
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
		default:
			kept = append(kept, e)
		}
	}
	return kept
}

// Either asks systemd where it listens at socket, and starts program itself
// where it does not.
func Either(socket Socket, setsid Setsid) Launcher { return either{socket, setsid} }

type either struct {
	socket Socket
	setsid Setsid
}

func (e either) Launch(ctx context.Context, device string) error {
	if _, err := os.Stat(e.socket.path()); err == nil {
		return e.socket.Launch(ctx, device)
	}
	return e.setsid.Launch(ctx, device)
}

// ask writes what is wanted and waits for the answer.
func ask(ctx context.Context, conn net.Conn, device string, p Plane) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	conn.SetDeadline(time.Now().Add(2 * patience))
	_, unheard := io.WriteString(conn, p.line(device))
	answer, err := io.ReadAll(io.LimitReader(conn, 4096)) // it may have said why
	err = cmp.Or(err, unheard)
	text := strings.TrimSpace(string(answer))
	switch {
	case text == "ok":
		return nil
	case strings.Contains(text, "refused the option"),
		p != (Plane{}) && strings.Contains(text, "refused the device name"): // a version that knows no options
		return hinted("install the ginnel-dataplane of this version, or leave offload and dataplane_memory out of ginnel.toml",
			"the data plane for %s did not start: %s", device, strings.TrimPrefix(text, "error "))
	case text != "":
		return fmt.Errorf("the data plane for %s did not start: %s", device, strings.TrimPrefix(text, "error "))
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("the data plane for %s: %w", device, context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return silent(device)
	case err != nil:
		return fmt.Errorf("the data plane for %s ended before it answered: %w", device, err)
	}
	return fmt.Errorf("the data plane for %s ended before it answered", device)
}
