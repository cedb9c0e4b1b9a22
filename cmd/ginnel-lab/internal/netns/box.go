package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// ErrRefused says that this machine does not let us make namespaces.
var ErrRefused = errors.New("this machine refuses namespaces to this user")

// refusedExit is how Init tells Start's caller ErrRefused across the processes.
const refusedExit = 77

// Box describes the process that becomes the first one of a sealed box.
type Box struct {
	Args  []string   // of this same program; they must lead to Init
	Files []*os.File // handed in as descriptors 3, 4, …
	Env   []string
}

// Start starts the box. The caller must be locked to its thread until Wait
// returns: the kernel ends the box when that thread ends.
func (b Box) Start() (*exec.Cmd, error) {
	cmd := exec.Command("/proc/self/exe", b.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = b.Files
	cmd.Env = b.Env
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a Ctrl-C reaches us only, and we say what is to end
	}
	if os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return cmd, nil
}

// Wait waits for the end of the box. It returns its exit status, and
// ErrRefused when the box could not be set up.
func Wait(cmd *exec.Cmd) (int, error) {
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if exit.ExitCode() == refusedExit {
			return 1, ErrRefused
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("waiting for the county: %w", err)
	}
	return 0, nil
}
