package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"
)

// packaged is where packages put units; such a one wins.
var packaged = []string{"/usr/lib/systemd/system/ginnel.service", "/lib/systemd/system/ginnel.service"}

// ErrPackaged says that the units belong to a package.
var ErrPackaged = errors.New("a package has installed the service already")

// Setup is what makes a host have the service without a package.
type Setup struct {
	Program string // the agent; absolute
	Unit    string // of systemd, for the agent
	// Files are put beside it: other units, users, folders. Path is absolute.
	Files []File
	// Units are enabled besides the agent's, and started before it.
	Units []string
	// Folders go with the service: Ours with all that is in them, Shared when
	// they are empty.
	Ours, Shared []string
	// Cleanup withdraws all that the agent put on the host.
	Cleanup func(context.Context) error
}

// File is one that belongs to the service.
type File struct{ Path, Text string }

// State is what the service manager says of the agent.
type State string

// States.
const (
	Running      State = "running"
	Stopped      State = "stopped"
	Failed       State = "failed"
	NotInstalled State = "not installed"
)

func (s Setup) service() (service.Service, error) {
	unit := s.Unit
	if unit != "" {
		// The library's own language for units has no way to write these.
		if strings.Contains(unit, "{{") {
			return nil, errors.New("the unit has {{ in it")
		}
	}
	return service.New(&program{}, &service.Config{
		Name: Name, DisplayName: "Ginnel", Description: "Ginnel, tunnels and checks of this site",
		Executable: s.Program, Arguments: []string{"run"},
		Option: service.KeyValue{"SystemdScript": unit},
	})
}

// systemd says whether this host is run by it.
func systemd() bool { return service.ChosenSystem().String() == "linux-systemd" }

// Install puts the service on this host and has it start at boot. It starts
// nothing now. What it could not finish it takes back.
func (s Setup) Install(ctx context.Context) (err error) {
	if err := mayInstall(s.Program); err != nil {
		return err
	}
	svc, err := s.service()
	if err != nil {
		return err
	}
	if !systemd() {
		return svc.Install() // other service managers have the agent alone
	}
	for _, f := range s.Files {
		if _, err := os.Lstat(f.Path); err == nil {
			return fmt.Errorf("%s is there already: was the service installed before? ginnel service uninstall", f.Path)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.removeFiles(ctx))
		}
	}()
	for _, f := range s.Files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(f.Path, []byte(f.Text), 0o644); err != nil {
			return err
		}
	}
	for _, command := range [][]string{
		{"systemd-sysusers"}, {"systemd-tmpfiles", "--create", "ginnel.conf"}, {"systemctl", "daemon-reload"},
		append([]string{"systemctl", "--quiet", "enable"}, s.Units...),
	} {
		if err := run(ctx, command...); err != nil {
			return err
		}
	}
	return svc.Install()
}

// mayInstall refuses where the service would not work, or where a package has
// it.
func mayInstall(program string) error {
	for _, unit := range packaged {
		if _, err := os.Stat(unit); err == nil {
			return fmt.Errorf("%w (%s): it is there, and is removed with the package", ErrPackaged, unit)
		}
	}
	for _, hidden := range []string{"/root/", "/home/", "/tmp/", "/var/tmp/", "/run/user/"} {
		if strings.HasPrefix(program, hidden) {
			return fmt.Errorf("%s is where a service cannot look: put it below /opt or /usr/local first", program)
		}
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("install the service: %w", fs.ErrPermission)
	}
	return nil
}

// Uninstall stops the service, withdraws what it put on the host, and removes
// it. Config, keys and records stay.
func (s Setup) Uninstall(ctx context.Context) error {
	for _, unit := range packaged {
		if _, err := os.Stat(unit); err == nil {
			return fmt.Errorf("%w (%s): remove the package instead", ErrPackaged, unit)
		}
	}
	svc, err := s.service()
	if err != nil {
		return err
	}
	if state, err := s.State(); err != nil || state == NotInstalled {
		return errors.Join(err, errors.New("the service is not installed"))
	}
	if err := svc.Stop(); err != nil {
		return fmt.Errorf("stop the service: %w", err)
	}
	if systemd() {
		if err := run(ctx, append([]string{"systemctl", "stop"}, s.Units...)...); err != nil {
			return err
		}
	}
	if err := s.Cleanup(ctx); err != nil {
		return fmt.Errorf("withdraw what is on this host: %w", err)
	}
	err = svc.Uninstall()
	if systemd() {
		// The slice of the data planes, which have ended, and the one that
		// systemd made around it.
		err = errors.Join(err, run(ctx, "systemctl", "stop", "ginnel.slice"), s.removeFiles(ctx))
	}
	for _, folder := range s.Ours {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	for _, folder := range s.Shared {
		_ = os.Remove(folder) // it may be in use by others
	}
	return err
}

// removeFiles takes back what Install put beside the agent's unit.
func (s Setup) removeFiles(ctx context.Context) error {
	err := run(ctx, append([]string{"systemctl", "--quiet", "disable"}, s.Units...)...)
	for _, f := range s.Files {
		if gone := os.Remove(f.Path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return errors.Join(err, run(ctx, "systemctl", "daemon-reload"))
}

// Start starts the service, packaged or not.
func (s Setup) Start(ctx context.Context) error {
	svc, err := s.service()
	if err != nil {
		return err
	}
	if systemd() {
		if err := run(ctx, append([]string{"systemctl", "start"}, s.Units...)...); err != nil {
			return err
		}
	}
	return svc.Start()
}

// Stop stops the agent; its tunnels go on.
func (s Setup) Stop() error {
	svc, err := s.service()
	if err != nil {
		return err
	}
	return svc.Stop()
}

// Restart restarts the agent; its tunnels go on.
func (s Setup) Restart() error {
	svc, err := s.service()
	if err != nil {
		return err
	}
	return svc.Restart()
}

// State asks the service manager.
func (s Setup) State() (State, error) {
	svc, err := s.service()
	if err != nil {
		return "", err
	}
	status, err := svc.Status()
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return NotInstalled, nil
	case err != nil && strings.Contains(err.Error(), "failed state"):
		return Failed, nil
	case err != nil:
		return "", fmt.Errorf("ask the service manager: %w", err)
	case status == service.StatusRunning:
		return Running, nil
	}
	return Stopped, nil
}

// run runs a program of systemd and gives what it said when it failed.
func run(ctx context.Context, command ...string) error {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
