package plugin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a program that this process started.
type child struct {
	program *program
	cmd     *exec.Cmd
	life    *os.File // our end of the line; see lifeEnv
	mark    string   // in the environment of all that it starts
}

// firstFree is above every descriptor that the child's own are moved to, so
// that none of them takes the place of the program's before it is executed.
const firstFree = 100

// Limits of a child, which has no cgroup of its own.
const (
	childMemory = 256 << 20 // bytes of data
	childFiles  = 1024
	childTasks  = 1024 // of the user, ours among them
	childNice   = 5
)

// runEnv names a mark by which what a program started is found when it is over.
const runEnv = "GINNEL_CHECK_RUN"

// spawn verifies the program and executes the very file that was verified.
func spawn(p *program) (_ *child, err error) {
	f, err := openProgram(p.offer, p.options.Owner)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a line to the plugin: %w", err)
	}
	c := &child{program: p, life: os.NewFile(uintptr(pair[0]), "life"), mark: runEnv + "=" + rand.Text()}
	theirs := os.NewFile(uintptr(pair[1]), "life")
	defer theirs.Close()
	defer func() {
		if err != nil {
			c.life.Close()
		}
	}()
	path, script, err := c.executable(f)
	if err != nil {
		return nil, err
	}
	defer path.Close()
	args, err := p.offer.arguments(p.order)
	if err != nil {
		return nil, err
	}
	c.cmd = &exec.Cmd{Path: fmt.Sprintf("/proc/self/fd/%d", path.Fd()), Args: append([]string{p.offer.Path}, args...),
		Env: append(p.order.environ(), lifeEnv+"=3", c.mark), Dir: "/", Stdout: p.theirs[0], Stderr: p.theirs[1],
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}}
	if script { // its interpreter opens it once more
		c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, f)
		c.cmd.Path = "/proc/self/fd/4"
	}
	if p.options.noDeathSignal {
		c.cmd.SysProcAttr.Pdeathsig = 0
	}
	if p.options.verified != nil {
		p.options.verified()
	}
	if err := c.cmd.Start(); err != nil {
		return nil, p.notStarted(err, script)
	}
	c.limit()
	go c.reap()
	return c, nil
}

// notStarted says what kept the program from being started.
func (p *program) notStarted(err error, script bool) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return &FileError{Path: p.offer.Path, Err: errors.New("is no program of this machine, and no script"), Hint: "build it for this processor; a script begins with #! and its interpreter"}
	case errors.Is(err, syscall.ENOENT) && script:
		return &FileError{Path: p.offer.Path, Err: errors.New("the interpreter in its first line is not there"), Hint: "its whole path, as in #!/usr/bin/python3"}
	}
	return fmt.Errorf("starting %s: %w", p.offer.Path, err)
}

// executable is the verified file at a descriptor out of the way, and whether
// an interpreter runs it.
func (c *child) executable(f *os.File) (_ *os.File, script bool, err error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, firstFree)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", c.program.offer.Path, err)
	}
	var head [2]byte
	n, _ := f.ReadAt(head[:], 0)
	return os.NewFile(uintptr(fd), c.program.offer.Path), string(head[:n]) == "#!", nil
}

// limit bounds what the child may use. It has run for a moment by then; what it
// started in it is bounded as the agent is.
func (c *child) limit() {
	pid := c.cmd.Process.Pid
	memory := c.program.options.memory
	if memory == 0 {
		memory = childMemory + shadow
	}
	for resource, most := range map[int]uint64{unix.RLIMIT_DATA: memory, unix.RLIMIT_NOFILE: childFiles,
		unix.RLIMIT_NPROC: childTasks, unix.RLIMIT_CORE: 0} {
		_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil)
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, childNice)
}

// reap waits for the end of the process, and ends what it started.
func (c *child) reap() {
	group := c.cmd.Process.Pid
	for { // the process stays a zombie, so that its number is nobody else's yet
		err := unix.Waitid(unix.P_PID, group, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-group, syscall.SIGKILL)
	killMarked(c.mark)
	state, err := c.cmd.Process.Wait()
	c.life.Close()
	if err != nil {
		c.program.over(err.Error(), -1)
		return
	}
	c.program.over(state.String(), state.ExitCode())
}

// killMarked ends the processes that have a mark in their environment: those
// that left their group. It looks again, for they may be making more.
func killMarked(mark string) {
	for again := true; again; {
		again = false
		list, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, file := range list {
			env, err := os.ReadFile(file)
			if err != nil || !strings.Contains("\x00"+string(env), "\x00"+mark+"\x00") {
				continue
			}
			var pid int
			if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
				again = true
			}
		}
	}
}

func (c *child) kill() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

func (c *child) id() string { return strconv.Itoa(c.cmd.Process.Pid) }

func (c *child) dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
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
