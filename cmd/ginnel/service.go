package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ginnel/ginnel/agent/service"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/packaging"
)

// serviceCommand installs and drives the system service, with the same units
// as the package.
func serviceCommand(ctx context.Context, std cli.IO, args []string) error {
	words, err := cli.Parse(cli.Flags(), args, 1, 1)
	if err != nil {
		return err
	}
	setup, err := setupHere(std)
	if err != nil {
		return err
	}
	say := func(text string, err error) error {
		if err == nil {
			_, err = fmt.Fprintln(std.Out, text)
		}
		return advise(err)
	}
	switch words[0] {
	case "install":
		return say("installed, and starts at boot. Now: ginnel service start", setup.Install(ctx))
	case "uninstall":
		return say("uninstalled. Kept: /etc/ginnel, /var/lib/ginnel, user ginnel, group ginnel-admin", setup.Uninstall(ctx))
	case "start":
		return say("started", setup.Start(ctx))
	case "stop":
		return say("stopped; tunnels and refusals stay. To end them too: ginnel down, ginnel cleanup", setup.Stop())
	case "restart":
		return say("restarted", setup.Restart())
	case "status":
		return serviceStatus(std, setup)
	}
	return cli.Usagef("%q: install, start, stop, restart, status or uninstall", words[0])
}

// serviceStatus ends with 0 where the service runs, 3 where it does not, and 4
// where there is none, as systemctl status does.
func serviceStatus(std cli.IO, setup service.Setup) error {
	state, err := setup.State()
	if err != nil {
		return err
	}
	fmt.Fprintln(std.Out, state)
	switch state {
	case service.Running:
		return nil
	case service.NotInstalled:
		return &cli.Exit{Code: 4}
	}
	return &cli.Exit{Code: 3}
}

// setupHere is the service made of this program, where it lies.
func setupHere(std cli.IO) (service.Setup, error) {
	self, err := os.Executable()
	if err != nil {
		return service.Setup{}, err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return service.Setup{}, err
	}
	unit := func(name string) string { return packaging.Unit(name, self, dataplaneProgram()) }
	setup := service.Setup{
		Program: self, Unit: unit("ginnel.service"),
		Files: []service.File{
			{Path: "/etc/sysusers.d/ginnel.conf", Text: unit("ginnel.sysusers")},
			{Path: "/etc/tmpfiles.d/ginnel.conf", Text: unit("ginnel.tmpfiles")},
			{Path: "/etc/systemd/networkd.conf.d/50-ginnel.conf", Text: unit("ginnel.networkd")},
		},
		Units:   []string{"ginnel-dataplane.socket", "ginnel-check.socket", "ginnel-guard.service"},
		Ours:    []string{"/run/ginnel"},
		Shared:  []string{"/run/wireguard", "/etc/systemd/networkd.conf.d"},
		Cleanup: func(ctx context.Context) error { return cleanup(ctx, std, nil) },
	}
	for _, name := range []string{"ginnel-guard.service", "ginnel-dataplane.socket", "ginnel-dataplane.slice", "ginnel-dataplane@.service",
		"ginnel-check.socket", "ginnel-check.slice", "ginnel-check@.service"} {
		setup.Files = append(setup.Files, service.File{Path: "/etc/systemd/system/" + name, Text: unit(name)})
	}
	return setup, nil
}
