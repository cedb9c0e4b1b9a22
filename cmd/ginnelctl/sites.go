package main

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// atOnce is how many sites are asked for at the same time.
const atOnce = 8

// sites shows all sites, or those that are named.
func sites(ctx context.Context, std cli.IO, args []string) error {
	var d desk
	flags := cli.Flags()
	d.flags(flags)
	asJSON := flags.Bool("json", false, "")
	ids, err := cli.Parse(flags, args, 0, 1000)
	if err != nil {
		return err
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
		if *asJSON {
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
