// Command ginnelctl is the operators' desk: it makes site packs, shows how the
// sites are, and fetches their health reports, all through the collector's API.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// version is set by the linker.
var version = "0.1.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

func run(ctx context.Context, args []string, std cli.IO) int {
	return cli.Program{
		Name:  "ginnelctl",
		Short: "the operators' desk of a fleet of gateways",
		Commands: []cli.Command{
			{Name: "site add", Args: "ID --name NAME --network NETWORK", Run: siteAdd, Long: siteAddHelp,
				Short: "make a site known, and its site pack"},
			{Name: "sites", Args: "[--json] [SITE...]", Run: sites, Long: desksHelp,
				Short: "how the sites are, the worst first"},
			{Name: "report", Args: "SITE [--month 2026-11]", Run: report, Long: reportHelp,
				Short: "a site's health report of a month"},
			{Name: "version", Run: printVersion,
				Short: "the version"},
		},
		Footer: "The collector's pages: --collector, or GINNEL_COLLECTOR, or " + defaultCollector,
	}.Run(ctx, std, args)
}

func printVersion(_ context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.Out, "ginnelctl %s\n", version)
	return err
}
