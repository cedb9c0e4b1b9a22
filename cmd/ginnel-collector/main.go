// Command ginnel-collector is the server at the centre: it enrols gateways,
// takes what they measure and how they are, and shows it on pages, as an API
// and in each site's health report.
//
// serve is a list of tasks over one store. Gateways have a listener of their
// own, with mutual TLS; pages and API another, for operators.
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
		Name:  "ginnel-collector",
		Short: "the centre of a fleet of gateways",
		Commands: []cli.Command{
			{Name: "serve", Args: "--url https://HOST [FLAGS]", Run: serveCommand, Long: serveHelp,
				Short: "be the collector, until told to stop"},
			{Name: "operator add", Args: "NAME [--organisation ORG] [-o FILE]", Run: operatorAdd, Long: operatorHelp,
				Short: "let somebody use pages and API, by a certificate"},
			{Name: "operator list", Args: "[--data DIR]", Run: operatorList,
				Short: "who may use pages and API"},
			{Name: "operator remove", Args: "[--data DIR] NAME", Run: operatorRemove,
				Short: "make an operator's certificate void, at once"},
			{Name: "report", Args: "[--month 2026-11] [--format text|html|json] [--data DIR] SITE", Run: reportCommand,
				Short: "a site's health report of a month, from the store itself"},
			{Name: "audit", Args: "[--after ID] [--follow] [--data DIR]", Run: auditCommand,
				Short: "the log of acts, a line of JSON each, the oldest first",
				Long:  "--after ID leaves out what is known already; --follow waits for what comes."},
			{Name: "backup", Args: "[--data DIR] FILE", Run: backupCommand, Long: backupHelp,
				Short: "store and authority in one file, also while it serves"},
			{Name: "restore", Args: "[--data DIR] [--force] FILE", Run: restoreCommand, Long: restoreHelp,
				Short: "a collector from such a file"},
			{Name: "version", Run: printVersion,
				Short: "the version"},
		},
		Footer: "The store: " + defaultData + ". Pages: http://" + defaultPages,
	}.Run(ctx, std, args)
}

func printVersion(_ context.Context, std cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.Out, "ginnel-collector %s\n", version)
	return err
}
