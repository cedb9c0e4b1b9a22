package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/plan"
)

const planHelp = `
  --gateway NAME    one gateway's steps, in the words of "ginnel plan"
  --out FILE        write the plan, to be reviewed and then pushed as it is
  --without NAME    leave a gateway out, whatever it shows; once for each
  --all             every line, however long
  --json            the plan as --out writes it
` + desksHelp + `
DIR is the fleet's folder, . unless given. New keys that gateways proved are
written to keys.csv, and addresses that were given to addresses.csv; nothing is
signed and nothing is sent.
Exit: 0 nothing to do, 2 there are changes, 1 something was refused.`

// planFleet compares the files with what runs.
func planFleet(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	gateway, out := flags.String("gateway", "", ""), flags.String("out", "", "")
	asJSON, all := flags.Bool("json", false, ""), flags.Bool("all", false, "")
	var without words
	flags.Var(&without, "without", "")
	dirs, err := cli.Parse(flags, args, 0, 1)
	if err != nil {
		return err
	}
	s, p, err := d.survey(ctx, append(dirs, ".")[0], without)
	if err != nil {
		return err
	}
	raw, err := p.Bytes()
	if err != nil {
		return err
	}
	if *out != "" {
		if err := writeNew(*out, raw); err != nil {
			return err
		}
	}
	switch {
	case *asJSON:
		_, err = std.Out.Write(raw)
	case *gateway != "":
		err = s.detail(std, p, *gateway)
	default:
		_, err = fmt.Fprint(std.Out, p.Summary(*all), " Nothing was signed, nothing was sent.\n", s.wroteText(), nextSteps(p, *out, s.now))
	}
	if err != nil {
		return err
	}
	return planOutcome(p)
}

// survey takes stock, records what is new, and makes the plan.
func (d *desk) survey(ctx context.Context, dir string, without []string) (*survey, *plan.Plan, error) {
	s, err := d.take(ctx, dir, without)
	if err != nil {
		return nil, nil, err
	}
	if err := s.record(); err != nil {
		return nil, nil, err
	}
	p, err := s.plan(ctx)
	return s, p, d.advise(err)
}

// planOutcome is a plan's exit code.
func planOutcome(p *plan.Plan) error {
	switch {
	case p.Refused > 0 || p.Has(plan.BadProof):
		return &cli.Exit{Code: 1}
	case !p.Nothing():
		return &cli.Exit{Code: 2}
	}
	return nil
}

// detail prints one gateway.
func (s *survey) detail(std cli.IO, p *plan.Plan, gateway string) error {
	if _, known := s.fleet.Gateway(gateway); !known {
		return cli.WithHint(fmt.Errorf("%s is no gateway of this fleet", gateway), "ginnelctl plan without --gateway shows which change")
	}
	c, changes := p.Change(gateway)
	if !changes {
		if _, err := fmt.Fprintf(std.Out, "%s: no change\n", gateway); err != nil {
			return err
		}
	} else {
		text, err := c.Detail(s.states[gateway].Host)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprint(std.Out, cli.Printable(text)); err != nil {
			return err
		}
	}
	for _, l := range p.Looks {
		if l.Gateway == gateway {
			if _, err := fmt.Fprint(std.Out, cli.Printable(l.String())); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextSteps are the commands that follow a plan.
func nextSteps(p *plan.Plan, written string, now time.Time) string {
	if p.Nothing() {
		return ""
	}
	file := strings.ToLower(now.Format("Monday")) + ".plan"
	var b strings.Builder
	step := func(command, what string) { fmt.Fprintf(&b, "  %-38s %s\n", command, what) }
	if len(p.Changes) > 0 {
		step("ginnelctl plan --gateway "+p.Example(), "its steps, one by one")
	}
	if written == "" {
		step("ginnelctl plan --out "+file, "to be reviewed, then pushed as it is")
	} else {
		file = written
	}
	step("ginnelctl push "+file, "shows this again, and asks")
	return b.String()
}

// writeNew writes a file that is not there yet.
func writeNew(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return cli.WithHint(fmt.Errorf("%s is there already", path), "remove it, or --out another")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Close())
}
