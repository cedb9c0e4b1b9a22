package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// DefaultHost is where systemd listens on behalf of programs.
const DefaultHost = "/run/ginnel/check.sock"

// leased is a program that an instance of ginnel-check@.service runs. The
// connection to it is the lease: when either side is gone the other reads its
// end, and systemd kills all that is left of the instance.
type leased struct {
	program *program
	conn    *parcels
	mu      sync.Mutex  // held from a request to its answer
	answers chan answer // of requests
}

// answer is what the instance says.
type answer struct {
	Started bool   `json:"started,omitempty"`
	Sockets string `json:"sockets,omitempty"` // with started: the folder of its socket
	Dialled bool   `json:"dialled,omitempty"` // a connection is with it
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Path    string `json:"path,omitempty"` // of the file that Error is about; empty: of none
	Ended   string `json:"ended,omitempty"`
	Code    int    `json:"code,omitempty"`

	files []*os.File
}

func (a answer) err() error {
	switch {
	case a.Error == "":
		return nil
	case a.Path != "":
		return &FileError{Path: a.Path, Err: errors.New(a.Error), Hint: a.Hint}
	}
	return errors.New(a.Error)
}

// dialling asks for a connection to a socket of the program.
type dialling struct {
	Dial string `json:"dial"`
}

// lease asks systemd for an instance and has it start the program, with our
// pipes as its output.
func lease(ctx context.Context, p *program) (*leased, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", p.options.Host)
	if err != nil {
		return nil, &FileError{Path: p.options.Host, Err: err, Hint: "systemctl status ginnel-check.socket"}
	}
	l := &leased{program: p, conn: newParcels(conn.(*net.UnixConn)), answers: make(chan answer, 1)}
	if err = l.conn.send(p.order, p.theirs...); err == nil {
		go l.listen()
		var a answer
		if a, err = l.await(ctx, startMost); err == nil {
			p.order.sockets = a.Sockets
			return l, nil
		}
	}
	conn.Close()
	return nil, fmt.Errorf("asking systemd for an instance: %w", err)
}

// listen takes what the instance says, until it is gone.
func (l *leased) listen() {
	ended := answer{Ended: "its unit ended, by one of its limits or by hand", Code: -1}
	for {
		var a answer
		files, err := l.conn.receive(&a)
		if err != nil {
			break
		}
		if a.files = files; a.Ended != "" {
			closeFiles(&a.files)
			ended = a
			break
		}
		select {
		case l.answers <- a:
		default: // nobody asked
			closeFiles(&a.files)
		}
	}
	close(l.answers)
	l.conn.Close()
	l.program.over(ended.Ended, ended.Code)
}

// await waits for the answer to a request. Without one the lease is over: if it came
// all the same, it would be taken for that to the next.
func (l *leased) await(ctx context.Context, most time.Duration) (answer, error) {
	select {
	case a, ok := <-l.answers:
		if !ok {
			return a, io.ErrUnexpectedEOF
		}
		return a, a.err()
	case <-time.After(most):
		l.kill()
		return answer{}, fmt.Errorf("no answer within %v", most)
	case <-ctx.Done():
		l.kill()
		return answer{}, context.Cause(ctx)
	}
}

// kill ends the lease, and so the instance and all that is in it.
func (l *leased) kill() { l.conn.Close() }

func (l *leased) id() string { return "lease" }

// dial has the instance connect to the program's socket, which nobody else can
// see, and hand the connection over.
func (l *leased) dial(ctx context.Context, path string) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.send(dialling{path}); err != nil {
		return nil, err
	}
	a, err := l.await(ctx, validateMost)
	defer closeFiles(&a.files)
	if err != nil {
		return nil, err
	}
	if len(a.files) != 1 {
		return nil, fmt.Errorf("%d connections instead of one", len(a.files))
	}
	return net.FileConn(a.files[0])
}
