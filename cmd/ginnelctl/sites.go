package main

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
)

// atOnce is how many sites are asked for at the same time.
const atOnce = 8

// sites shows all sites, or those that are named.
func sites(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	asJSON, asCSV := flags.Bool("json", false, ""), flags.Bool("csv", false, "")
	dir := flags.String("fleet", ".", "")
	ids, err := cli.Parse(flags, args, 0, 1000)
	if err != nil {
		return err
	}
	if *asCSV && len(ids) > 0 {
		return cli.Usagef("--csv is the whole sheet; it takes no SITE")
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		list, err := c.Sites(ctx)
		if err != nil {
			return d.advise(err)
		}
		switch {
		case *asCSV:
			return writeSheet(std.Out, *dir, list)
		case *asJSON:
			return writeJSON(std, list)
		}
		for _, s := range list {
			ids = append(ids, s.ID)
		}
	}
	all, err := details(ctx, c, ids)
	if err != nil {
		return d.advise(err)
	}
	if *asJSON {
		return writeJSON(std, all)
	}
	return writeSites(std.Out, all, time.Now(), time.Local)
}

const sitesHelp = `
  --json            all that is known, for programs
  --csv             sites.csv of the fleet, with state, version, last_seen and
                    last_change on the right, to be pasted into your sheet
  --fleet DIR       the folder of the fleet, for --csv; here unless given
` + desksHelp

// writeSheet writes the fleet's sites.csv with the states on the right.
func writeSheet(w io.Writer, dir string, list []centre.Site) error {
	byID := map[string]centre.Site{}
	for _, s := range list {
		byID[s.ID] = s
	}
	text, err := fleet.WithStates(dir, func(id string) fleet.State {
		s, known := byID[id]
		if !known {
			return fleet.State{State: "not added"}
		}
		var versions []string
		for _, g := range s.Gateways {
			if g.Version != "" && !slices.Contains(versions, g.Version) {
				versions = append(versions, g.Version)
			}
		}
		return fleet.State{State: string(s.State), Version: strings.Join(versions, " "),
			LastSeen: sheetTime(s.LastSeen), LastChange: sheetTime(s.Since)}
	})
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// sheetTime is a time as a spreadsheet reads it, by the desk's clock.
func sheetTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// details asks for each site, in the order of ids.
func details(ctx context.Context, c *centre.Client, ids []string) ([]centre.SiteDetail, error) {
	all, errs := make([]centre.SiteDetail, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(atOnce, len(ids)) {
		wg.Go(func() {
			for i := range next {
				all[i], errs[i] = c.Site(ctx, ids[i])
			}
		})
	}
	for i := range ids {
		next <- i
	}
	close(next)
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return nil, errs[i]
	}
	return all, nil
}

func writeJSON(std cli.IO, v any) error {
	e := json.NewEncoder(std.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
