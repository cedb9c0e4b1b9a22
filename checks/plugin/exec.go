package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// program is one started process. It implements go-plugin's runner.Runner, so
// that it is we who decide what is executed, and who hear first that it ended.
type program struct {
	offer   Offer
	options Options
	cmd     *exec.Cmd

	stdout, stderr *os.File // our ends
	theirs         []*os.File
	life           *os.File // our end of the line; see lifeEnv
	ended          chan struct{}
	state          string // how it ended; read after ended
}

var _ runner.Runner = (*program)(nil)

// environment is all that a plugin sees besides what go-plugin needs.
var environment = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/"}

// prepare sets up pipes and the line; nothing runs yet.
func prepare(o Offer, options Options, cmd *exec.Cmd) (_ *program, err error) {
	p := &program{offer: o, options: options, cmd: cmd, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			p.closeAll()
		}
	}()
	pipe := func() (ours, theirs *os.File, err error) {
		if ours, theirs, err = os.Pipe(); err == nil {
			p.theirs = append(p.theirs, theirs)
		}
		return ours, theirs, err
	}
	if p.stdout, _, err = pipe(); err != nil {
		return nil, err
	}
	if p.stderr, _, err = pipe(); err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a line to the plugin: %w", err)
	}
	p.life = os.NewFile(uintptr(pair[0]), "life")
	p.theirs = append(p.theirs, os.NewFile(uintptr(pair[1]), "life"))
	return p, nil
}

// firstFree is above every descriptor that the child's own are moved to, so
// that none of them takes the place of the program's before it is executed.
const firstFree = 100

// Start verifies the program and executes the very file that was verified. It
// must run on a thread that lives as long as the plugin: see process.supervise.
func (p *program) Start(context.Context) (err error) {
	defer func() {
		closeFiles(&p.theirs)
		if err != nil {
			p.closeAll()
		}
	}()
	f, err := openProgram(p.offer, p.options.Owner)
	if err != nil {
		return err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, firstFree)
	if err != nil {
		return fmt.Errorf("%s: %w", p.offer.Path, err)
	}
	defer unix.Close(fd)
	p.cmd.Path = "/proc/self/fd/" + strconv.Itoa(fd)
	p.cmd.Args = append([]string{p.offer.Path}, p.offer.Args...)
	p.cmd.Err = nil
	p.cmd.Env = append(append(p.cmd.Env, environment...), lifeEnv+"=3")
	p.cmd.Dir = "/"
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = nil, p.theirs[0], p.theirs[1]
	p.cmd.ExtraFiles = p.theirs[2:3]
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if p.options.noDeathSignal {
		p.cmd.SysProcAttr.Pdeathsig = 0
	}
	if p.options.verified != nil {
		p.options.verified()
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.offer.Path, err)
	}
	go p.reap()
	return nil
}

// drain is how long what is left in the pipes of an ended program is read: a
// process that escaped from it may hold them open for ever.
const drain = time.Second

// reap waits for the end of the process, and ends what it started.
func (p *program) reap() {
	group := p.cmd.Process.Pid
	for { // the process stays a zombie, so that its number is nobody else's yet
		err := unix.Waitid(unix.P_PID, group, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	state, err := p.cmd.Process.Wait()
	p.state = state.String()
	if err != nil {
		p.state = err.Error()
	}
	p.life.Close()
	close(p.ended)
	time.AfterFunc(drain, p.closeOurs)
}

// Wait implements runner.Runner; go-plugin calls it when the pipes are empty.
func (p *program) Wait(context.Context) error {
	<-p.ended
	return nil
}

// Kill ends the process and what it started.
func (p *program) Kill(context.Context) error {
	select {
	case <-p.ended:
	default:
		if p.cmd.Process != nil {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
	}
	return nil
}

// Stdout, Stderr, Name, ID and Diagnose implement runner.Runner, and the last
// two methods its translation of addresses: there is nothing to translate.

func (p *program) Stdout() io.ReadCloser { return p.stdout }

func (p *program) Stderr() io.ReadCloser { return p.stderr }

func (p *program) Name() string { return p.offer.Path }

func (p *program) ID() string {
	if p.cmd.Process == nil {
		return "none" // with an empty one go-plugin would not clean up
	}
	return strconv.Itoa(p.cmd.Process.Pid)
}

func (p *program) Diagnose(context.Context) string { return "" }

func (p *program) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *program) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

func (p *program) closeAll() {
	closeFiles(&p.theirs)
	p.closeOurs()
}

func (p *program) closeOurs() {
	ours := []*os.File{p.stdout, p.stderr, p.life}
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

// shed drops what a plugin must not have from the calling thread, and so from
// what it starts: the agent's ambient capabilities, and the way to new ones.
func shed() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	return nil
}
