package wireguard

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// What a caller may want to tell apart.
var (
	ErrNoBackend    = errors.New("neither WireGuard in the kernel nor /dev/net/tun is there")
	ErrNoCapability = errors.New("we may not change network links: CAP_NET_ADMIN is missing")
	ErrPortTaken    = errors.New("the port is taken")
	ErrSilent       = errors.New("the data plane does not answer")
	ErrForeign      = errors.New("a link that is not ours has the name")
)

// Error is a failure with what to do about it.
type Error struct {
	Err  error
	hint string
}

func (e *Error) Error() string { return e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do next; empty if there is nothing to say.
func (e *Error) Hint() string { return e.hint }

func hinted(hint, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), hint: hint}
}

// Hinted is err with what to do about it.
func Hinted(hint string, err error) error { return &Error{Err: err, hint: hint} }

// NoCapability is ErrNoCapability with what to do about it.
func NoCapability() error {
	return hinted("run as root, or as a service with AmbientCapabilities=CAP_NET_ADMIN", "%w", ErrNoCapability)
}

// PortTaken is ErrPortTaken with what to do about it.
func PortTaken(port int) error {
	return hinted(fmt.Sprintf("ss -Hlunp 'sport = :%d' names the program; end it, or choose another listen_port", port),
		"UDP port %d: %w", port, ErrPortTaken)
}

func silent(name string) error {
	return hinted("ginnel dataplane renew NETWORK replaces it; its sessions are lost by that",
		"%s: %w", name, ErrSilent)
}

// explain gives the errors of wgctrl and netlink that have a name their name.
// wgctrl passes the errno of a data plane on as text only.
func explain(name string, port int, err error) error {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return NoCapability()
	case errors.Is(err, unix.EADDRINUSE), strings.Contains(text, fmt.Sprintf("errno=%d", -int(unix.EADDRINUSE))):
		return PortTaken(port)
	}
	return fmt.Errorf("configure %s: %w", name, err)
}
