package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// process keeps one program running, for all checks of all its kinds.
//
//	starting -> running -> (ended, stuck) -> pausing -> starting ...
//	                    -> (Close) -> gone
type process struct {
	offer   Offer
	options Options
	log     *slog.Logger

	cancel context.CancelFunc
	gone   chan struct{} // closed when supervise has returned

	mu     sync.Mutex
	live   *session // nil: not running
	absent error    // why it could not be started the last time; nil: it could
	users  int
}

// Pauses between a crash and the next start: short once, then growing. A
// program that lived for steady has earned a short one again.
const (
	pauseFirst = 250 * time.Millisecond
	pauseMost  = time.Minute
	steady     = time.Minute
	startMost  = 10 * time.Second // from start to handshake
	firstMost  = 5 * time.Second  // that begin waits for the first
)

// errSlow is about a program that takes its time to start.
var errSlow = fmt.Errorf("it does not answer yet, after %v", firstMost)

// begin starts the program and waits until it speaks, or did not: then the error
// says why, and it is tried again. In both cases the process goes on by itself
// until Close. There is none if ctx ended.
func begin(ctx context.Context, o Offer, opts Options) (*process, error) {
	p := &process{offer: o, options: opts, log: opts.Log.With("plugin", o.Kind), gone: make(chan struct{}), users: 1}
	var life context.Context
	life, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan error, 1)
	go p.supervise(life, first)
	select {
	case err := <-first:
		return p, err
	case <-time.After(firstMost):
		return p, errSlow
	case <-ctx.Done():
		p.cancel()
		<-p.gone
		return nil, context.Cause(ctx)
	}
}

// supervise starts the program again and again. It keeps the thread that it
// does this from, because the kernel kills the program when that thread ends,
// and lets it go with what it shed.
func (p *process) supervise(ctx context.Context, first chan<- error) {
	defer close(p.gone)
	runtime.LockOSThread() // for ever
	if err := shed(); err != nil {
		p.log.Warn("the plugin keeps some of the agent's rights", "err", err)
	}
	var b backoff
	for {
		began := time.Now()
		s, err := p.start()
		news := p.publish(s, err)
		if first != nil {
			first <- err                                     // there is room for it
			first, news = nil, time.Since(began) > firstMost // else the caller tells
		}
		if err == nil {
			if news {
				p.log.Info("a check plugin is running")
			}
			select {
			case <-s.program.ended:
			case <-ctx.Done():
			}
			news = p.publish(nil, nil)
			err = s.end()
		}
		if ctx.Err() != nil {
			return
		}
		pause := b.next(time.Since(began))
		if news {
			p.log.Warn("a check plugin is not running; it is started again", "err", err, "in", pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// backoff is the pause before the next start.
type backoff struct{ pause time.Duration }

func (b *backoff) next(lived time.Duration) time.Duration {
	if b.pause == 0 || lived >= steady {
		b.pause = pauseFirst
		return b.pause
	}
	b.pause = min(2*b.pause, pauseMost)
	return b.pause
}

// start verifies and starts the program once.
func (p *process) start() (*session, error) {
	var prog *program
	out := &lines{log: p.log}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{protocolVersion: {service: &wire{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, sockets string) (runner.Runner, error) {
			var err error
			if prog, err = prepare(p.offer, p.options, cmd); err != nil {
				os.RemoveAll(sockets)
				return nil, err
			}
			return prog, nil
		},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.options.SocketDir},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     startMost,
		Logger:           hclog.NewNullLogger(),
		Stderr:           out,
		SyncStdout:       out,
		SyncStderr:       out,
	})
	protocol, err := client.Client()
	if err == nil {
		var raw any
		if raw, err = protocol.Dispense(service); err == nil {
			return &session{client: client, checks: raw.(pb.ChecksClient), program: prog}, nil
		}
	}
	client.Kill()
	return nil, p.whyNot(prog, err)
}

// whyNot says why the program is not running; go-plugin has only text for it.
func (p *process) whyNot(prog *program, err error) error {
	if file, ok := errors.AsType[*FileError](err); ok {
		return file
	}
	var theirs int
	if _, e := fmt.Sscanf(err.Error(), "incompatible API version with plugin. Plugin version: %d,", &theirs); e == nil {
		return fmt.Errorf("%s: speaks version %d of the plugin protocol, this agent speaks %d", p.offer.Path, theirs, protocolVersion)
	}
	if prog != nil && prog.cmd.Process != nil {
		<-prog.ended // killed by now at the latest
		if prog.state != "signal: killed" {
			return fmt.Errorf("%s: ended before it could be used (%s)", p.offer.Path, prog.state)
		}
	}
	return fmt.Errorf("%s: %s", p.offer.Path, strings.Join(strings.Fields(err.Error()), " "))
}

// publish says what is running, or why nothing is; true if that is news.
func (p *process) publish(s *session, absent error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := absent != nil && p.absent != nil && absent.Error() == p.absent.Error()
	p.live, p.absent = s, absent
	return !same
}

// why says why the program could not be started; nil: it could.
func (p *process) why() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.absent
}

// now is the running session; nil while there is none.
func (p *process) now() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

// share counts one more kind that the process serves.
func (p *process) share() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users++
}

// Close ends the program when the last of its kinds is closed.
func (p *process) Close() error {
	p.mu.Lock()
	p.users--
	last := p.users <= 0
	p.mu.Unlock()
	if last {
		p.cancel()
		<-p.gone
	}
	return nil
}
