package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

// program is one life of a program, whoever runs it for us. It implements
// go-plugin's runner.Runner, so that it is we who decide what is executed, and
// who hear first that it ended.
type program struct {
	offer   Offer
	options Options
	order   order

	stdout, stderr *os.File // our ends
	theirs         []*os.File
	body           body // nil: not started
	ended          chan struct{}
	address        string // of its socket, after its handshake
	out            *lines // takes what it should not have said; may be nil

	mu     sync.Mutex
	state  string // how it ended; empty: it has not
	code   int    // its exit status; -1: by a signal, or not known
	failed string // why we ended it
}

// order is what is to be executed, besides the offer.
type order struct {
	Kind    string            `json:"kind"`
	Target  string            `json:"target,omitempty"`  // of a run of exec
	Choices map[string]string `json:"choices,omitempty"` // of its options
	Plugin  bool              `json:"plugin"`            // it speaks our protocol
	sockets string            // folder for its socket; not said to others
}

// body is the running side of a program: a child of ours, or a lease.
type body interface {
	kill()
	id() string
	// dial connects to a socket that the program listens on.
	dial(ctx context.Context, path string) (net.Conn, error)
}

var _ runner.Runner = (*program)(nil)

// prepare sets up pipes; nothing runs yet.
func prepare(o Offer, options Options, what order) (_ *program, err error) {
	p := &program{offer: o, options: options, order: what, ended: make(chan struct{})}
	for _, ours := range []**os.File{&p.stdout, &p.stderr} {
		var theirs *os.File
		if *ours, theirs, err = os.Pipe(); err != nil {
			p.closeAll()
			return nil, err
		}
		p.theirs = append(p.theirs, theirs)
	}
	return p, nil
}

// Start implements runner.Runner. Where systemd runs programs for us, it is
// asked; else the program becomes a child. Then this must run on a thread that
// lives as long as the program: see process.supervise.
func (p *program) Start(ctx context.Context) (err error) {
	defer func() {
		closeFiles(&p.theirs)
		if err != nil {
			p.closeOurs()
		}
	}()
	var b body
	if p.options.leased() {
		b, err = lease(ctx, p)
	} else {
		b, err = spawn(p)
	}
	if err == nil {
		p.body = b
	}
	return err
}

// leased reports whether systemd runs programs for us.
func (o Options) leased() bool {
	if o.Host == "" {
		return false
	}
	_, err := os.Stat(o.Host)
	return err == nil
}

// weaker says what keeps programs less in bounds than could be; empty: nothing.
func (o Options) weaker() string {
	if o.leased() {
		return ""
	}
	return "no systemd runs it: it has the agent's user, and limits of its own only"
}

// drain is how long what is left in the pipes of an ended program is read: a
// process that escaped from it may hold them open for ever.
const drain = time.Second

// over notes the end of the program.
func (p *program) over(how string, code int) {
	p.mu.Lock()
	if p.state = how; p.failed != "" {
		p.state = p.failed
	}
	p.code = code
	p.mu.Unlock()
	close(p.ended)
	time.AfterFunc(drain, p.closeOurs)
}

// how says how it ended; empty: it has not.
func (p *program) how() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

func (p *program) started() bool { return p.body != nil }

// fail ends the program for what it did.
func (p *program) fail(why string) {
	p.mu.Lock()
	if p.failed == "" && p.state == "" {
		p.failed = why
	}
	p.mu.Unlock()
	_ = p.Kill(context.Background())
}

// Wait implements runner.Runner; go-plugin calls it when the pipes are empty.
func (p *program) Wait(context.Context) error {
	<-p.ended
	return nil
}

// Kill ends the program and what it started.
func (p *program) Kill(context.Context) error {
	select {
	case <-p.ended:
	default:
		if p.body != nil {
			p.body.kill()
		}
	}
	return nil
}

// Stdout gives the handshake, which is one line. What comes after it is told,
// and is not go-plugin's to read.
func (p *program) Stdout() io.ReadCloser { return &handshakeLine{from: p.stdout, rest: p.out} }

// Stderr, Name, ID and Diagnose implement runner.Runner.
func (p *program) Stderr() io.ReadCloser { return p.stderr }

func (p *program) Name() string { return p.offer.Path }

func (p *program) ID() string {
	if p.body == nil {
		return "none" // with an empty one go-plugin would not clean up
	}
	return p.body.id()
}

func (p *program) Diagnose(context.Context) string { return "" }

// PluginToHost holds the program to a socket in its own folder: it shall not
// have us talk to another.
func (p *program) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || !filepath.IsAbs(address) || filepath.Dir(filepath.Clean(address)) != filepath.Clean(p.order.sockets) {
		return "", "", fmt.Errorf("it listens on %.60q %.100q, not on a socket in its folder", network, address)
	}
	p.address = address
	return network, address, nil
}

// connect connects to the program, once it has said where.
func (p *program) connect(ctx context.Context) (net.Conn, error) {
	return p.body.dial(ctx, p.address)
}

// HostToPlugin implements runner.Runner: there is nothing to translate.
func (p *program) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *program) closeAll() {
	closeFiles(&p.theirs)
	p.closeOurs()
}

func (p *program) closeOurs() {
	ours := []*os.File{p.stdout, p.stderr}
	closeFiles(&ours)
}

func closeFiles(list *[]*os.File) {
	for _, f := range *list {
		if f != nil {
			f.Close()
		}
	}
	*list = nil
}

// environ is all that a program sees.
func (o order) environ() []string {
	env := append([]string(nil), environment...)
	if o.Plugin {
		env = append(env, handshake.MagicCookieKey+"="+handshake.MagicCookieValue,
			fmt.Sprintf("PLUGIN_PROTOCOL_VERSIONS=%d", protocolVersion), "PLUGIN_UNIX_SOCKET_DIR="+o.sockets)
	}
	return env
}

// environment is what every program sees.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/"}

// handshakeLine passes the first line on and tells the others.
type handshakeLine struct {
	from io.ReadCloser
	rest *lines
	past bool
	got  int
}

const handshakeMost = 8 << 10 // bytes

func (h *handshakeLine) Read(b []byte) (int, error) {
	for {
		n, err := h.from.Read(b)
		if h.past {
			h.rest.Write(b[:n])
			if err != nil {
				return 0, err
			}
			continue
		}
		if i := bytes.IndexByte(b[:n], '\n'); i >= 0 {
			h.past = true
			h.rest.Write(b[i+1 : n])
			return i + 1, nil
		}
		if h.got += n; h.got > handshakeMost {
			return 0, errors.New("the first line on standard output has no end")
		}
		return n, err
	}
}

func (h *handshakeLine) Close() error { return h.from.Close() }
