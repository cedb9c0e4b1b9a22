package county

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// program is one long-running program at a node. What it prints goes to a log
// file.
type program struct {
	node *netns.Node
	log  string

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	err  error         // how it ended; read after done
}

func (c *County) program(n *netns.Node) *program {
	return &program{node: n, log: c.logFile(n.Name)}
}

// start starts it; what ran before must have ended.
func (p *program) start(args ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := p.node.Command(context.Background(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := p.node.Start(cmd); err != nil {
		return fmt.Errorf("%s: %s: %w", p.node.Name, args[0], err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.err = cmd, done, nil
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cmd == cmd {
			p.err = err
		}
		close(done)
	}()
	return nil
}

// signal sends a signal and waits, if so asked, until the program has ended.
func (p *program) signal(ctx context.Context, s syscall.Signal, wait bool) error {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return errors.New(p.node.Name + ": nothing was started")
	}
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %s: %w", p.node.Name, s, err)
	}
	if !wait {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: still there after %s: %w", p.node.Name, s, context.Cause(ctx))
	}
}

// ended tells whether the program has ended by itself or by a signal.
func (p *program) ended() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		return true, errors.New("not started")
	}
	select {
	case <-p.done:
		return true, p.err
	default:
		return false, nil
	}
}

// PID is the process id inside the box; 0: none was started.
func (p *program) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Log is the tail of what it printed, at most n lines.
func (p *program) Log(n int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// hopeless is an error that waiting does not mend.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// poll asks again and again until ok says true or an error is hopeless, and
// returns how long that took. Where ok itself takes longer than every, as on a
// machine that is emulated, the pause is as long: who waits for programs must not
// take the processor from them. Its error is the last one of ok, or that ctx ended.
func poll(ctx context.Context, every time.Duration, ok func() (bool, error)) (time.Duration, error) {
	began := time.Now()
	for {
		asked := time.Now()
		good, err := ok()
		if good {
			return time.Since(began), nil
		}
		if h, ok := errors.AsType[hopeless](err); ok {
			return time.Since(began), h.error
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return time.Since(began), err
		case <-time.After(max(every, time.Since(asked))):
		}
	}
}
