package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Instance is main of an instance of ginnel-check@.service: it runs one program
// for an agent whose connection is conn. The agent names a kind; what that is,
// this side looks up in dir itself, so that an agent that was taken over can
// start nothing but what the gateway's owner offers. It returns when the program
// has ended or the agent is gone; systemd kills what is left.
func Instance(ctx context.Context, conn *net.UnixConn, dir string, o Options) error {
	runtime.LockOSThread() // for ever: the program ends with this thread
	o.Log, o.Host = cmp.Or(o.Log, slog.New(slog.DiscardHandler)), ""
	// The program has this process's user: it shall not take over the lease.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hiding from the program: %w", err)
	}
	if err := shed(); err != nil {
		return err
	}
	line := newParcels(conn)
	defer line.Close()
	p, err := fulfil(line, cmp.Or(dir, Dir), o)
	if err != nil {
		return errors.Join(err, line.send(refusal(err)))
	}
	defer func() {
		_ = p.Kill(ctx)
		select {
		case <-p.ended: // with what it started, as far as that can be found from here
		case <-time.After(drain):
		}
	}()
	if err := line.send(answer{Started: true, Sockets: p.order.sockets}); err != nil {
		return err
	}
	gone := make(chan error, 1)
	go func() { gone <- dialFor(ctx, line, p) }()
	select {
	case <-p.ended:
		return line.send(answer{Ended: p.how(), Code: p.code})
	case <-gone:
		return nil
	case <-ctx.Done():
		return nil
	}
}

// fulfil reads an order and starts the program that it is about, with the
// agent's pipes as its output.
func fulfil(line *parcels, dir string, o Options) (*program, error) {
	_ = line.SetReadDeadline(time.Now().Add(startMost))
	var what order
	files, err := line.receive(&what)
	_ = line.SetReadDeadline(time.Time{})
	if err != nil {
		return nil, fmt.Errorf("reading the order: %w", err)
	}
	defer closeFiles(&files)
	if len(files) != 2 {
		return nil, fmt.Errorf("%d files came with the order, not 2", len(files))
	}
	offers, _, problems := readOffers(dir, o)
	for _, offer := range offers {
		if offer.Kind != what.Kind {
			continue
		}
		what.sockets = filepath.Clean(os.TempDir())
		p := &program{offer: offer, options: o, order: what, ended: make(chan struct{}), theirs: files}
		files = nil // they are closed with it
		return p, p.Start(context.Background())
	}
	return nil, &FileError{Path: dir, Err: fmt.Errorf("no offer of kind %.40q", what.Kind), Hint: hintOf(problems)}
}

// hintOf is what is wrong with other offers.
func hintOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func refusal(err error) answer {
	a := answer{Error: err.Error()}
	if file, ok := errors.AsType[*FileError](err); ok {
		a = answer{Path: file.Path, Error: file.Err.Error(), Hint: file.Hint}
	}
	return a
}

// dialFor connects to the program's socket as often as the agent asks, until
// the agent is gone.
func dialFor(ctx context.Context, line *parcels, p *program) error {
	for {
		var d dialling
		files, err := line.receive(&d)
		closeFiles(&files)
		if err != nil {
			return err
		}
		a, conn := dialOnce(ctx, p, d.Dial)
		if conn == nil {
			err = line.send(a)
		} else {
			err = line.send(a, conn)
			conn.Close()
		}
		if err != nil {
			return err
		}
	}
}

func dialOnce(ctx context.Context, p *program, path string) (answer, *os.File) {
	if _, _, err := p.PluginToHost("unix", path); err != nil {
		return answer{Error: err.Error()}, nil
	}
	conn, err := p.body.dial(ctx, path)
	if err != nil {
		return answer{Error: err.Error()}, nil
	}
	defer conn.Close()
	f, err := conn.(*net.UnixConn).File()
	if err != nil {
		return answer{Error: err.Error()}, nil
	}
	return answer{Dialled: true}, f
}
