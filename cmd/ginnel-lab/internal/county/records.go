package county

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the collector's store, opened read-only beside it

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/report"
)

// Kept is what the collector's store has of one gateway.
type Kept struct {
	Blocks  int       // rows
	Minutes int       // of the gateway's numbering: a thinned block stands for several
	Missing int       // numbers between the first and the last that no block stands for
	Finish  time.Time // end of the newest
}

// store opens the collector's database file, beside the collector.
func (c *Collector) store() (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+data+"/collector.db?mode=ro")
	if err != nil {
		return nil, fmt.Errorf("opening the collector's store: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// Kept counts a gateway's blocks in the store itself.
func (c *Collector) Kept(ctx context.Context, gateway string) (Kept, error) {
	db, err := c.store()
	if err != nil {
		return Kept{}, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT epoch, count(*), sum(sequence-first+1), max(sequence)-min(first)+1, max(finish)
		FROM block WHERE gateway = ? GROUP BY epoch`, gateway)
	if err != nil {
		return Kept{}, fmt.Errorf("counting blocks of %s: %w", gateway, err)
	}
	defer rows.Close()
	var k Kept
	for rows.Next() {
		var epoch, finish int64
		var blocks, minutes, span int
		if err := rows.Scan(&epoch, &blocks, &minutes, &span, &finish); err != nil {
			return Kept{}, fmt.Errorf("counting blocks of %s: %w", gateway, err)
		}
		k.Blocks += blocks
		k.Minutes += minutes
		k.Missing += span - minutes // negative: something is there twice
		if at := time.UnixMicro(finish); at.After(k.Finish) {
			k.Finish = at
		}
	}
	return k, rows.Err()
}

// Boots is under how many boot ids the collector has heard a gateway.
func (c *Collector) Boots(ctx context.Context, gateway string) (n int) {
	db, err := c.store()
	if err != nil {
		return 0
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, `SELECT json_array_length(body, '$.boots') FROM boots WHERE gateway = ?`, gateway).Scan(&n); err != nil {
		return 0
	}
	return n
}

// Audit lists the acts of one sort, oldest first, as "object detail".
func (c *Collector) Audit(ctx context.Context, act string) ([]string, error) {
	db, err := c.store()
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT object || ' ' || detail FROM audit WHERE act = ? ORDER BY id`, act)
	if err != nil {
		return nil, fmt.Errorf("reading the audit: %w", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, fmt.Errorf("reading the audit: %w", err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// ThisMonth is the month in which we are, where reports are made.
func ThisMonth() string {
	zone, err := time.LoadLocation(block.Zone)
	if err != nil {
		panic(err) // it is built in
	}
	return time.Now().In(zone).Format("2006-01")
}

// History is what `ginnel history` says of this month: the gateway's own count.
func (a *Agent) History(ctx context.Context) (report.Report, error) {
	var r report.Report
	out, err := a.Node.Run(ctx, "ginnel", "history", "--month", ThisMonth(), "--format", "json")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return r, fmt.Errorf("%s: ginnel history: %w", a.Name, err)
	}
	return r, nil
}

// Report has the desk make a site's report of this month in a format.
func (c *Collector) Report(ctx context.Context, site, format string) (string, error) {
	return c.Node.Run(ctx, "ginnelctl", "report", site,
		"--month", ThisMonth(), "--format", format)
}
