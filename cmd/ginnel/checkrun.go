package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// checkRun runs one check of the config once: by the agent, which has the
// tunnels and the plugins, or where none runs by itself.
func checkRun(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	explain := fs.Bool("explain", false, "")
	asJSON := fs.Bool("json", false, "")
	words, err := cli.Parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	run, err := client().RunCheck(ctx, words[0])
	if errors.Is(err, local.ErrNotRunning) {
		run, err = runAlone(ctx, words[0])
	}
	if err != nil {
		return advise(err)
	}
	switch {
	case *asJSON:
		err = writeJSON(std.Out, run)
	case *explain:
		err = explainRun(std.Out, run)
	default:
		_, err = fmt.Fprintln(std.Out, lineOf(run))
	}
	if err != nil {
		return err
	}
	return exitOf(run)
}

// runAlone runs a check of the config that is to run here in this process, in the
// same way.
func runAlone(ctx context.Context, name string) (local.CheckRun, error) {
	var none local.CheckRun
	c, err := configFor(ctx, "")
	if err != nil {
		return none, err
	}
	for _, spec := range c.CheckSpecs() {
		if spec.Name != name {
			continue
		}
		registry, err := offlineKinds(ctx)
		if err != nil {
			return none, err
		}
		defer registry.Close()
		runner := checks.NewRunner(checks.RunnerOptions{Gateway: c.Gateway, Registry: registry})
		defer runner.Close()
		runner.Behave(c.Manners)
		return local.RunOf(spec, runner.RunOnce(ctx, spec)), nil
	}
	return none, cli.WithHint(fmt.Errorf("check %q is not in this gateway's config", name), "ginnel config show")
}

// exitOf is 0 ok, 1 degraded or unknown, 2 failed.
func exitOf(r local.CheckRun) error {
	switch r.Verdict {
	case checks.OK:
		return nil
	case checks.Failed:
		return &cli.Exit{Code: 2}
	}
	return &cli.Exit{Code: 1}
}

// lineOf is a run on one line.
func lineOf(r local.CheckRun) string {
	line := fmt.Sprintf("%s  %s", r.Check, r.Verdict)
	for _, seconds := range r.RTT {
		line += fmt.Sprintf("  %.3f ms", seconds*1e3)
	}
	if r.Reason != checks.NoReason {
		line += "  " + string(r.Reason)
	}
	if r.Detail != "" {
		line += "  " + cli.Printable(r.Detail)
	}
	return line
}

// explainRun prints a run with each step that it took.
func explainRun(w io.Writer, r local.CheckRun) error {
	fmt.Fprintln(w, lineOf(r))
	fmt.Fprintln(w)
	where := "beside the tunnels"
	if r.Network != "" {
		where = "through " + r.Network
	}
	if r.Path != "" {
		where += ", by " + r.Path
	}
	if len(r.Steps) > 0 {
		writeSteps(w, r.Steps)
		fmt.Fprintln(w)
	}
	column := 10
	for _, v := range r.Values {
		column = max(column, len(v.Name))
	}
	fact := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-*s %s\n", column, name, cli.Wrap(text, edge-column-1, strings.Repeat(" ", column+1)))
		}
	}
	fact("target", r.Target)
	fact("way", where)
	fact("answers", answersOf(r))
	fact("stamps", string(r.Stamps))
	if r.Phase != checks.NoPhase {
		fact("failed in", string(r.Phase))
	}
	for _, v := range r.Values {
		fact(v.Name, amount(v.Number, v.Unit))
	}
	return nil
}

// amount is a number with its unit, as a person says it.
func amount(n float64, unit string) string {
	plain := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	round := func(f float64) string { return plain(math.Round(f*1000) / 1000) }
	size := math.Abs(n)
	switch {
	case unit == "s" && size >= 48*3600:
		return plain(math.Floor(n/86400)) + " days"
	case unit == "s" && size < 1 && n != 0:
		return round(n*1e3) + " ms"
	case unit == "bit/s" && size >= 1e6:
		return round(n/1e6) + " Mbit/s"
	case unit == "By":
		return round(n) + " bytes"
	case size >= 1e15 || size < 0.001 && n != 0:
		return strings.TrimSpace(fmt.Sprintf("%.6g %s", n, strings.TrimPrefix(unit, "1")))
	}
	return strings.TrimSpace(round(n) + " " + strings.TrimPrefix(unit, "1"))
}

// writeSteps prints a row for each step: its name, how long it took, and more.
func writeSteps(w io.Writer, steps []local.CheckStep) {
	took := make([]string, len(steps))
	names, times := 0, 0
	for i, s := range steps {
		took[i] = "-"
		if s.Took > 0 {
			took[i] = milliseconds(s.Took)
		}
		names, times = max(names, len([]rune(cli.Printable(s.Name)))), max(times, len(took[i]))
	}
	for i, s := range steps {
		left := fmt.Sprintf("  %-*s  %-*s  ", names, cli.Printable(s.Name), times, took[i])
		room, margin := edge-len([]rune(left)), strings.Repeat(" ", len([]rune(left)))
		if room < 24 { // a long name: below it
			left, room, margin = left+"\n      ", edge-6, "      "
		}
		fmt.Fprintln(w, strings.TrimRight(left+cli.Wrap(cli.Printable(s.Detail), room, margin), " \n"))
	}
}

// answersOf counts what came, and what else did.
func answersOf(r local.CheckRun) string {
	if r.Sent == 0 {
		return ""
	}
	text := fmt.Sprintf("%d of %d", r.Received, r.Sent)
	for _, odd := range []struct {
		n    int
		name string
	}{{r.Late, "late"}, {r.Duplicate, "twice"}, {r.Reordered, "out of order"}, {r.Corrupt, "changed"}, {r.Unsent, "not sent, by our fault"}, {r.Dropped, "not taken, by our fault"}} {
		if odd.n > 0 {
			text += fmt.Sprintf(", %d %s", odd.n, odd.name)
		}
	}
	return text
}

func milliseconds(seconds float64) string { return fmt.Sprintf("%.3f ms", seconds*1e3) }

// checkWatch prints each run of a check as the agent makes it, with the course
// of the last ones, until Ctrl-C.
func checkWatch(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	words, err := cli.Parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	var course []float64
	err = client().WatchCheck(ctx, words[0], func(r local.CheckRun) {
		if *asJSON {
			_ = json.NewEncoder(std.Out).Encode(r) // a line each
			return
		}
		course = append(course, middle(r.RTT))
		course = course[max(0, len(course)-sparkMost):]
		fmt.Fprintf(std.Out, "%s  %s  %s\n", r.Start.In(time.Local).Format("15:04:05"), lineOf(r), spark(course))
	})
	if err != nil {
		return advise(err)
	}
	return nil
}
