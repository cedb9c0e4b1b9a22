// Command ginnelctl is the operators' desk: it makes site packs, plans and pushes
// what the files of a fleet say, shows how the sites are, and fetches their
// health reports, all through the collector's API.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ginnel/ginnel/cmd/internal/centre"
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
			{Name: "init", Args: "DIR", Run: initFleet, Long: initHelp,
				Short: "a small fleet to start from, ready for git"},
			{Name: "validate", Args: "[DIR]", Run: validate, Long: validateHelp,
				Short: "every mistake of a fleet's files, at once"},
			{Name: "show", Args: "GATEWAY", Run: show, Long: showHelp,
				Short: "a gateway's config, and the rows it comes from"},
			{Name: "import-ods", Args: "FILE", Run: importODS, Long: importHelp,
				Short: "sites from a file of the NHS's directory"},
			{Name: "site add", Args: "ID --name NAME --network NETWORK", Run: siteAdd, Long: siteAddHelp,
				Short: "make a site known, and its site pack"},
			{Name: "sites", Args: "[--json | --csv] [SITE...]", Run: sites, Long: sitesHelp,
				Short: "how the sites are, the worst first"},
			{Name: "plan", Args: "[DIR]", Run: planFleet, Long: planHelp,
				Short: "what a push would change, and where"},
			{Name: "push", Args: "[PLAN]", Run: push, Long: pushHelp,
				Short: "show a plan again, ask, sign it and roll it out"},
			{Name: "bundle", Args: "GATEWAY FILE", Run: bundleFile, Long: bundleHelp,
				Short: "a gateway's signed config for a stick"},
			{Name: "keys list", Args: "[GATEWAY...]", Run: keysList, Long: keysListHelp,
				Short: "the gateways' public keys, verified"},
			{Name: "keys approve", Args: "GATEWAY...", Run: keysApprove, Long: keysApproveHelp,
				Short: "take a gateway's changed keys into keys.csv"},
			{Name: "rollout status", Args: "[ID]", Run: rolloutStatus, Long: rolloutHelp,
				Short: "where a rollout stands"},
			{Name: "rollout pause", Args: "[ID]", Run: mover(centre.MovePause), Long: moveHelp,
				Short: "begin no more trials"},
			{Name: "rollout resume", Args: "[ID]", Run: mover(centre.MoveResume), Long: moveHelp,
				Short: "go on"},
			{Name: "rollout abort", Args: "[ID]", Run: mover(centre.MoveAbort), Long: moveHelp,
				Short: "end it; what is applied stays"},
			{Name: "rollout back", Args: "[ID]", Run: mover(centre.MoveBack), Long: moveHelp,
				Short: "give all that took it their old configs again"},
			{Name: "freeze", Args: "--until WHEN --why TEXT | --off", Run: freeze, Long: freezeHelp,
				Short: "keep rollouts from going on"},
			{Name: "audit", Args: "[-n N] [--json]", Run: audit, Long: auditHelp,
				Short: "who did what, when, from where"},
			{Name: "report", Args: "SITE [--month 2026-11]", Run: report, Long: reportHelp,
				Short: "a site's health report of a month"},
			{Name: "revoke", Args: "GATEWAY --why TEXT", Run: revoke, Long: revokeHelp,
				Short: "shut a device out for good"},
			{Name: "isolate", Args: "SITE | --organisation ORG --why TEXT", Run: isolate, Long: isolateHelp,
				Short: "shut a site or organisation out"},
			{Name: "reconnect", Args: "SITE | --organisation ORG", Run: reconnect, Long: reconnectHelp,
				Short: "end an isolation"},
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
