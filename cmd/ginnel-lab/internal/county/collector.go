package county

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// pages is where the collector's pages and API are, on its own loopback.
const pages = "127.0.0.1:8480"

// data is the collector's folder. It is in the box and not in the node, so that
// scenarios can count in the store itself.
const data = "/var/lib/lab/collector"

// Collector is the collector, and the operator's desk beside it.
type Collector struct {
	*program
	Node *netns.Node
	Line *wan.Link

	// Heartbeat is how often gateways are to call; 0: every 3 s, as a demo cannot
	// wait for the default of 30.
	Heartbeat time.Duration
}

// StartCollector starts `ginnel-collector serve` and returns at once.
func (c *Collector) StartCollector() error {
	return c.start("ginnel-collector", "serve",
		"--data", data,
		"--gateways", CollectorAddress.String()+":443",
		"--url", "https://collector.example.net",
		"--heartbeat", cmp.Or(c.Heartbeat, 3*time.Second).String(),
		"--pages", pages)
}

// StopCollector ends it as a service manager would.
func (c *Collector) StopCollector(ctx context.Context) error {
	return c.signal(ctx, syscall.SIGTERM, true)
}

// DialPages connects to its pages.
func (c *Collector) DialPages(ctx context.Context) (net.Conn, error) {
	return c.Node.Dial(ctx, "tcp", pages)
}

// HTTP is a client that speaks from the collector's own loopback.
func (c *Collector) HTTP() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, // it is restarted under us
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.DialPages(ctx)
		},
	}}
}

// API is the collector's API.
func (c *Collector) API() (*centre.Client, error) {
	return centre.NewClient("http://"+pages, c.HTTP())
}

// AwaitCollector waits until the API answers.
func (c *Collector) AwaitCollector(ctx context.Context) error {
	api, err := c.API()
	if err != nil {
		return err
	}
	_, err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		if gone, err := c.ended(); gone {
			return false, hopeless{&Ended{Program: "ginnel-collector", Err: err, Log: c.Log(5)}}
		}
		_, err := api.Health(ctx)
		return err == nil, err
	})
	return err
}

// Backup copies the collector's folder. The collector is stopped for it.
func (c *Collector) Backup(ctx context.Context) error {
	return c.stopped(ctx, func() error {
		_, err := c.Node.Run(ctx, "cp", "-a", data, data+".backup")
		return err
	})
}

// Restore exchanges the collector's folder for its backup, and the second time
// back again. What lies says is done to it before the collector starts.
func (c *Collector) Restore(ctx context.Context, lies func() error) error {
	return c.stopped(ctx, func() error {
		if _, err := c.Node.Run(ctx, "sh", "-ec", `mv "$0" "$0.other"; mv "$0.backup" "$0"; mv "$0.other" "$0.backup"`, data); err != nil {
			return err
		}
		return lies()
	})
}

// stopped does something while the collector is stopped.
func (c *Collector) stopped(ctx context.Context, f func() error) error {
	if err := c.StopCollector(ctx); err != nil {
		return err
	}
	if err := errors.Join(f(), c.StartCollector()); err != nil {
		return err
	}
	return c.AwaitCollector(ctx)
}

// PutList has a stopped collector's store have a list in force that nobody put
// there by the API.
func (c *Collector) PutList(ctx context.Context, number uint64, bundle []byte) error {
	db, err := sql.Open("sqlite", "file:"+data+"/collector.db")
	if err != nil {
		return fmt.Errorf("opening the collector's store: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `INSERT INTO list (number, bundle, since, by) VALUES (?, ?, ?, 'nobody')`,
		int64(number), bundle, time.Now().UnixMicro()); err != nil {
		return fmt.Errorf("putting a list into the collector's store: %w", err)
	}
	return nil
}
