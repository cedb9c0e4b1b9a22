package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// showEvidence lists what was kept when something went down or got worse, or
// prints one of it.
func showEvidence(ctx context.Context, std cli.IO, args []string) error {
	fs := cli.Flags()
	asJSON := fs.Bool("json", false, "")
	words, err := cli.Parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	var got any
	var text func() error
	if len(words) == 0 {
		var list []evidence.Entry
		list, err = evidenceList(ctx)
		got, text = list, func() error { return writeEntries(std.Out, list, time.Local) }
	} else {
		var b *evidence.Bundle
		b, err = evidenceNamed(ctx, words[0])
		got, text = b, func() error { return writeEvidence(std.Out, b, time.Local) }
	}
	if err != nil {
		return advise(err)
	}
	if *asJSON {
		return writeJSON(std.Out, got)
	}
	return text()
}

// evidenceList asks the agent; where none runs, root looks on the disk.
func evidenceList(ctx context.Context) ([]evidence.Entry, error) {
	list, err := client().Evidence(ctx)
	if errors.Is(err, local.ErrNotRunning) && os.Geteuid() == 0 {
		return spool.OpenShelf(place().Evidence()).List()
	}
	return list, err
}

func evidenceNamed(ctx context.Context, id string) (*evidence.Bundle, error) {
	if !evidence.IsID(id) {
		return nil, cli.WithHint(fmt.Errorf("%q is no evidence", id), "ginnel evidence lists what there is")
	}
	b, err := client().EvidenceOf(ctx, id)
	if errors.Is(err, local.ErrNotRunning) && os.Geteuid() == 0 {
		return spool.OpenShelf(place().Evidence()).Get(id)
	}
	return b, err
}

func writeEntries(w io.Writer, list []evidence.Entry, loc *time.Location) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nothing went down or got worse since evidence is kept")
		return err
	}
	for _, e := range list {
		fmt.Fprintf(w, "%s  %s  %s\n    %s\n", e.ID, e.At.In(loc).Format("Mon 2 Jan 15:04:05"), cli.Printable(e.Name), cli.Wrap(cli.Printable(e.Text), edge-4, "    "))
	}
	return nil
}

// packetsShown is how many of the last packets a terminal shows, in lines of 64.
const packetsShown = 256

// writeEvidence is a bundle in plain words.
func writeEvidence(w io.Writer, b *evidence.Bundle, loc *time.Location) error {
	fact := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-14s %s\n", name, cli.Wrap(cli.Printable(text), edge-15, strings.Repeat(" ", 15)))
		}
	}
	fmt.Fprintf(w, "%s\n\n", cli.Wrap(cli.Printable(b.Headline()), edge, ""))
	fact("when", b.Change.At.In(loc).Format("Mon 2 Jan 2006 15:04:05 MST")+", noticed at "+b.Change.Noticed.In(loc).Format("15:04:05"))
	where := "beside the tunnels"
	if b.Subject.Network != "" {
		where = "through " + b.Subject.Network
	}
	fact("what", fmt.Sprintf("%s %s, %s to %s, %s", b.Subject.Class, b.Subject.Name, b.Subject.Kind, cmp.Or(b.Subject.Target, "its hub"), where))
	fact("code", b.Finding.Code)
	fact("what it means", b.Finding.Means)
	fact("who", b.Finding.Who)
	fact("before", b.Before())
	fact("after", b.After())
	course := b.Course()
	course = course[max(0, len(course)-packetsShown):]
	for name := "packets"; course != ""; name = "" {
		n := min(len(course), 64)
		fmt.Fprintf(w, "%-14s %s\n", name, course[:n])
		course = course[n:]
	}
	fmt.Fprintf(w, "%-14s . answered  x lost  ! refused or wrong  ~ late  ? not sent  | the change\n", "")
	for _, p := range b.Points(loc) {
		fmt.Fprintln(w)
		fact(strings.ToLower(p.Name), p.Text)
		for _, line := range p.Lines {
			fact("", "- "+line)
		}
	}
	if len(b.NotLooked) > 0 {
		fmt.Fprintln(w)
		fact("not looked at", strings.Join(b.NotLooked, "; "))
	}
	return nil
}
