package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// request is what a command in another terminal asks of the county; its
// standard input, output and error come with it as descriptors. Each is one
// packet of a Unix socket, as are the answer and an interrupt, which is empty.
type request struct {
	Args []string
	Cwd  string
}

type answer struct{ Code int }

// maxRequest bounds a request, in bytes.
const maxRequest = 64 << 10

// askCounty sends a command to the county that is up and waits for its end.
func askCounty(name string) func(context.Context, cli.IO, []string) error {
	return func(ctx context.Context, _ cli.IO, args []string) error {
		conn, err := dialCounty()
		if err != nil {
			return err
		}
		defer conn.Close()
		cwd, err := os.Getwd()
		if err != nil {
			return err
		}
		body, err := json.Marshal(request{Args: append([]string{name}, args...), Cwd: cwd})
		if err != nil {
			return err
		}
		files := unix.UnixRights(int(os.Stdin.Fd()), int(os.Stdout.Fd()), int(os.Stderr.Fd()))
		if _, _, err := conn.WriteMsgUnix(body, files, nil); err != nil {
			return fmt.Errorf("asking the county: %w", err)
		}
		interrupts := make(chan os.Signal, 1)
		signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
		go func() {
			for range interrupts {
				_, _ = conn.Write([]byte("interrupt"))
			}
		}()
		buf := make([]byte, 1024)
		n, err := conn.Read(buf)
		if err != nil || n == 0 {
			return errors.New("the county ended before the command did")
		}
		var a answer
		if err := json.Unmarshal(buf[:n], &a); err != nil {
			return fmt.Errorf("reading the county's answer: %w", err)
		}
		if a.Code != 0 {
			return &cli.Exit{Code: a.Code}
		}
		return nil
	}
}

func dialCounty() (*net.UnixConn, error) {
	var last error
	for _, out := range outFolders() {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: controlSocket(out), Net: "unixpacket"})
		if err == nil {
			return conn, nil
		}
		last = errors.Join(last, err)
	}
	return nil, cli.WithHint(errors.New("no county is up"), "start one in another terminal: make demo")
}

// serveControl answers commands until ctx ends.
func serveControl(ctx context.Context, l net.Listener, c *live) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if err := serveOne(ctx, conn.(*net.UnixConn), c); err != nil {
				fmt.Fprintln(os.Stderr, "ginnel-lab: control:", err)
			}
		}()
	}
}

// serveOne runs one command with the caller's own standard files.
func serveOne(ctx context.Context, conn *net.UnixConn, c *live) error {
	req, files, err := receive(conn)
	for _, f := range files {
		defer f.Close()
	}
	if err != nil || len(req.Args) == 0 {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan struct{})
	go func() {
		// An interrupt, or the caller's end: either ends the command. We read
		// on until the end: closing with something unread resets the
		// connection, and the caller would not get its answer.
		defer close(gone)
		for {
			n, err := conn.Read(make([]byte, 16))
			cancel()
			if err != nil || n == 0 {
				return
			}
		}
	}()
	caller := *c
	caller.cwd = req.Cwd
	p := cli.Program{Name: "ginnel-lab", Commands: liveCommands(&caller)}
	code := p.Run(ctx, cli.IO{In: files[0], Out: files[1], Err: files[2]}, req.Args)
	body, err := json.Marshal(answer{Code: code})
	if err != nil {
		return err
	}
	if _, err := conn.Write(body); err != nil {
		return nil // the caller is gone
	}
	<-gone
	return nil
}

func receive(conn *net.UnixConn) (request, []*os.File, error) {
	var req request
	body, oob := make([]byte, maxRequest), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, _, _, err := conn.ReadMsgUnix(body, oob)
	if err != nil || n == 0 {
		return req, nil, nil // somebody looked whether we are here
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return req, nil, fmt.Errorf("reading a request: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return req, files, fmt.Errorf("reading a request: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "caller"))
		}
	}
	if len(files) != 3 {
		return req, files, fmt.Errorf("a request came with %d descriptors, want 3", len(files))
	}
	if err := json.Unmarshal(body[:n], &req); err != nil {
		return req, files, fmt.Errorf("reading a request: %w", err)
	}
	return req, files, nil
}
