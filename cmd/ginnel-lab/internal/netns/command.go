package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// grace is how long a command may take to end after it was interrupted, and
// how long its output is waited for after it has ended.
const grace = 3 * time.Second

// Command prepares a command that Start runs inside the node. It is a process
// group of its own, and the whole group is interrupted when ctx ends.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = grace
	return cmd
}

// Start starts cmd inside the node.
func (n *Node) Start(cmd *exec.Cmd) error {
	return n.Do(cmd.Start)
}

// Failure is a command that ended badly.
type Failure struct {
	Node   string
	Args   []string
	Code   int // -1: it did not run, or a signal ended it
	Stderr string
	Err    error
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("%s: %s: %v", f.Node, strings.Join(f.Args, " "), f.Err)
	if f.Stderr != "" {
		text += ": " + strings.TrimSpace(f.Stderr)
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

// Run runs a command inside the node to its end and returns what it printed.
// The error is a *Failure.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	return n.RunWith(ctx, "", args...)
}

// RunWith is Run with a text as standard input.
func (n *Node) RunWith(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := n.Command(ctx, args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err == nil {
		return out.String(), nil
	}
	code := -1
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	}
	return out.String(), &Failure{Node: n.Name, Args: args, Code: code, Stderr: errs.String(), Err: err}
}

// Dial connects from inside the node. The address must be an IP address with
// a port, or a path; names would be looked up outside.
func (n *Node) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := n.Do(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens inside the node, on an IP address with a port or on a path.
func (n *Node) Listen(network, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket is Listen for datagrams.
func (n *Node) ListenPacket(network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := n.Do(func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}
