// Command ginnel is the agent of a gateway (ginnel run) and the technician's
// command.
//
// run reads the config, chooses the WireGuard back end and the kinds of checks,
// and hands them to the agent, which is a list of tasks. The other commands ask
// the running agent over its socket, or look for themselves where none runs.
package main

import (
	"context"
	"io"
	"log"
	"os"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// version is set by the linker.
var version = "0.1.0-dev"

func main() {
	os.Exit(ginnel(context.Background(), os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

func ginnel(ctx context.Context, args []string, std cli.IO) int {
	log.SetOutput(io.Discard) // what libraries say there is no answer; the agent has a log
	return cli.Program{
		Name:  "ginnel",
		Short: "tunnels, checks and reports of a site's gateway",
		Commands: []cli.Command{
			{Name: "status", Args: "[--json] [--watch] [--wait TIME]", Run: status, Long: statusHelp,
				Short: "how the gateway is: 0 up, 1 degraded, 2 down, 3 not running"},
			{Name: "why", Args: "[--json] [--request] [--codes] [NETWORK]", Run: explain, Long: whyHelp,
				Short: "the first broken step, and whose it is"},
			{Name: "plan", Args: "[--json] [FILE|BUNDLE]", Run: plan, Long: planHelp,
				Short: "what would be written: 0 nothing, 2 steps, 1 refused"},
			{Name: "run", Args: "[--config FILE]", Run: runAgent, Long: runHelp,
				Short: "be the agent, until told to stop"},
			{Name: "apply", Args: "BUNDLE", Run: apply, Long: applyHelp,
				Short: "try a signed config, as from a stick: 0 it stays, 1 it does not"},
			{Name: "rollback", Run: rollback, Long: rollbackHelp,
				Short: "go back to the config before, until there is a newer one"},
			{Name: "reload", Run: reload, Long: reloadHelp,
				Short: "have the agent read its config again"},
			{Name: "key", Args: "NETWORK", Run: networkKey, Long: keyHelp,
				Short: "the public key of a network, made on first use"},
			{Name: "enrol", Args: "[--yes] PACK", Run: enrol, Long: enrolHelp,
				Short: "join a collector with a site pack"},
			{Name: "config check", Args: "[FILE]", Run: configCheck, Long: configCheckHelp,
				Short: "every mistake of a config at once"},
			{Name: "config init", Args: "[--role site|hub] GATEWAY NETWORK", Run: configInit, Long: configInitHelp,
				Short: "a small config to start from"},
			{Name: "config show", Args: "[FILE]", Run: configShow, Long: configShowHelp,
				Short: "a config with all its defaults"},
			{Name: "check list", Args: "[--json]", Run: checkList, Long: checkListHelp,
				Short: "the kinds of checks that there are"},
			{Name: "check run", Args: "[--explain] [--json] NAME", Run: checkRun, Long: checkRunHelp,
				Short: "run a check of the config once, now"},
			{Name: "check watch", Args: "[--json] NAME", Run: checkWatch, Long: checkWatchHelp,
				Short: "each run of a check as it ends, until Ctrl-C"},
			{Name: "check schema", Args: "[--json] KIND", Run: checkSchema, Long: checkSchemaHelp,
				Short: "the options of a kind"},
			{Name: "check plugin verify", Args: "[--good TARGET] PROGRAM|OFFER", Run: pluginVerify, Long: pluginVerifyHelp,
				Short: "hold a program to what every check must be"},
			{Name: "check plugin retry", Args: "KIND", Run: pluginRetry, Long: pluginRetryHelp,
				Short: "start a program again that is quarantined"},
			{Name: "check instance", Run: checkInstance, Long: checkInstanceHelp,
				Short: "run one program of a check; the service manager does it"},
			{Name: "history", Args: "[--month MONTH] [--since TIME] [--json] [NAME]", Run: history, Long: historyHelp,
				Short: "the course of a check, or this gateway's own report of a month"},
			{Name: "evidence", Args: "[--json] [ID]", Run: showEvidence, Long: evidenceHelp,
				Short: "what was seen when something went down or got worse"},
			{Name: "dataplane renew", Args: "[--all] [NETWORK]", Run: renew, Long: renewHelp,
				Short: "replace data planes by the installed version, and say the loss"},
			{Name: "down", Run: down, Long: downHelp,
				Short: "take the tunnels down; refusals stay"},
			{Name: "cleanup", Run: cleanup, Long: cleanupHelp,
				Short: "remove everything of ours from this host"},
			{Name: "guard", Run: guard, Long: guardHelp,
				Short: "put the refusals of the last config up, before any link is"},
			{Name: "service", Args: "install|start|stop|restart|status|uninstall", Run: serviceCommand,
				Short: "the system service"},
			{Name: "version", Run: printVersion,
				Short: "the version"},
		},
		Footer: "Config: /etc/ginnel/desired.toml. Start with: ginnel config init",
	}.Run(ctx, std, args)
}
