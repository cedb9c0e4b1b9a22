package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
)

const importHelp = `
  --commissioner CODE   an ICB or a sub-ICB whose organisations become sites;
                        more than once for more
  --postcode TN37       where those are that become sites; once for each
  --all                 add all of them, however many
  --kind KIND           of sites that are added; by the file's name unless given
  --dry-run             tell what would change; write nothing
  --fleet DIR           the folder of the fleet; here unless given
FILE is one of epraccur, ebranchs, edispensary, ets, etr and ecarehomesite, as
the Organisation Data Service gives it. Sites that sites.csv has, by their ODS
code, are updated; none is ever removed, and those that have closed are told.`

// importMost is how many sites are added without being asked for by --all.
const importMost = 1000

func importODS(_ context.Context, std cli.IO, args []string) error {
	in := fleet.Import{Most: importMost}
	flags := cli.Flags()
	flags.Var((*words)(&in.Commissioners), "commissioner", "")
	flags.Var((*words)(&in.Postcodes), "postcode", "")
	flags.StringVar(&in.Kind, "kind", "", "")
	all, dry := flags.Bool("all", false, ""), flags.Bool("dry-run", false, "")
	dir := flags.String("fleet", ".", "")
	files, err := cli.Parse(flags, args, 1, 1)
	if err != nil {
		return err
	}
	in.File = files[0]
	if *all {
		in.Most = 0
	}
	out, err := fleet.ImportODS(*dir, in, *dry)
	if err != nil {
		return err
	}
	return writeImported(std.Out, out, *dry)
}

func writeImported(w io.Writer, out fleet.Imported, dry bool) error {
	for _, part := range []struct {
		sign  string
		lines []string
	}{{"+", out.Added}, {"~", out.Updated}, {"closed", out.Closed}} {
		for _, line := range part.lines {
			fmt.Fprintf(w, "  %s %s\n", part.sign, line)
		}
	}
	end := "sites.csv is written."
	switch {
	case dry:
		end = "Nothing was written."
	case len(out.Added)+len(out.Updated) == 0:
		end = "Nothing to write."
	}
	fmt.Fprintf(w, "%d added, %d updated, %d the same, %d left aside. %s\n", len(out.Added), len(out.Updated), out.Same, out.Left, end)
	if n := len(out.Closed); n > 0 {
		fmt.Fprintf(w, "%s closed and still in sites.csv: take them out when their gateways are.\n", counted(n, "site"))
	}
	if len(out.Added) > 0 && !dry {
		fmt.Fprintln(w, "Next\n  which LAN goes into which network: attachments.csv\n  ginnelctl validate")
	}
	return nil
}
