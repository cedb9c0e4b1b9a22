package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// request is who wants a device, how it is to run, and how they are told what
// became of it.
type request struct {
	name  string
	words []string // options that came with the name
	conn  net.Conn // nil: the name came with the command line
}

// whoAsks takes the device name from the command line or from the connection
// that started us.
func whoAsks(args []string, stdin bool) (request, error) {
	var r request
	fd := -1
	switch {
	case len(args) > 1:
		return r, fmt.Errorf("expected one device name, got %q", args)
	case stdin:
		fd = 0
	case len(args) == 1:
		r.name = args[0]
	case os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) && os.Getenv("LISTEN_FDS") == "1":
		fd = 3
	default:
		return r, errors.New("expected a device name, --stdin, or one socket from systemd")
	}
	if fd >= 0 {
		if err := r.read(fd); err != nil {
			return r, err
		}
	}
	if len(args) == 1 && args[0] != r.name {
		err := fmt.Errorf("asked for %q by the socket, and for %q by the command line", r.name, args[0])
		r.answer(err)
		return r, err
	}
	if !deviceName.MatchString(r.name) {
		err := fmt.Errorf("refused the device name %q: it must be gn- and 1 to 12 of a-z, 0-9, -", r.name)
		r.answer(err)
		return r, err
	}
	return r, nil
}

// options are those that the line asks for, over those of the command line. One
// that we do not know is refused: whoever asks must not believe in vain.
func (r *request) options(o options) (options, error) {
	for _, word := range r.words {
		name, value, _ := strings.Cut(word, "=")
		var err error
		switch name {
		case "no-offload":
			o.plain = true
			if word != name {
				err = errors.New("it takes no value")
			}
		case "memory":
			if o.memory, err = strconv.ParseInt(value, 10, 64); err == nil && o.memory < leastMemory {
				err = fmt.Errorf("at least %d bytes are needed", int64(leastMemory))
			}
		default:
			err = errors.New("this version does not know it")
		}
		if err != nil {
			return o, fmt.Errorf("refused the option %q: %w", word, err)
		}
	}
	return o, nil
}

// read takes one line from the connection at fd, and the descriptor with it:
// nothing of the connection is left open elsewhere after answer.
func (r *request) read(fd int) error {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("descriptor %d is not the socket we were promised: %w", fd, err)
	}
	f := os.NewFile(uintptr(own), "connection")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("descriptor %d is not the socket we were promised: %w", fd, err)
	}
	if err := letGo(fd); err != nil {
		conn.Close()
		return fmt.Errorf("let go of descriptor %d: %w", fd, err)
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(io.LimitReader(conn, maxLine)).ReadString('\n')
	if err != nil {
		conn.Close()
		return fmt.Errorf("no line with a device name came: %w", err)
	}
	r.conn = conn
	if words := strings.Fields(line); len(words) > 0 {
		r.name, r.words = words[0], words[1:]
	}
	return nil
}

// maxLine bounds the line, in bytes.
const maxLine = 256

// letGo closes the descriptor that the connection came by. Standard ones are
// put on /dev/null instead, stdout too where it is the same socket: a later
// file must not get their numbers.
func letGo(fd int) error {
	if fd > 2 {
		return unix.Close(fd)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	var in, out unix.Stat_t
	same := unix.Fstat(fd, &in) == nil && unix.Fstat(1, &out) == nil && in.Dev == out.Dev && in.Ino == out.Ino
	if same {
		if err := unix.Dup3(int(null.Fd()), 1, 0); err != nil {
			return err
		}
	}
	return unix.Dup3(int(null.Fd()), fd, 0)
}

// answer tells whoever asked what became of it, and hangs up.
func (r *request) answer(err error) {
	if r.conn == nil {
		return
	}
	text := "ok\n"
	if err != nil {
		text = "error " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n"
	}
	io.WriteString(r.conn, text)
	r.conn.Close()
	r.conn = nil
}
