package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// upLimit is how long a county may take to be up.
const upLimit = 90 * time.Second

func upCommand() cli.Command {
	return cli.Command{
		Name: "up", Args: "[--once|--bare] [--page ADDRESS]",
		Short: "build the county, show it until Ctrl-C",
		Long: "--once waits until every site is up, prints the table and the sites as JSON,\n" +
			"and ends: 0, or 1 with the site that failed and the step.\n" +
			"--bare makes nodes and lines only and starts no program, for experiments by hand.",
		Run: func(ctx context.Context, _ cli.IO, args []string) error {
			fs := cli.Flags()
			once := fs.Bool("once", false, "")
			bare := fs.Bool("bare", false, "")
			page := fs.String("page", "127.0.0.1:8480", "")
			if _, err := cli.Parse(fs, args, 0, 0); err != nil {
				return err
			}
			out, err := outFolder()
			if err != nil {
				return err
			}
			if *once && *bare {
				return cli.Usagef("--once or --bare, not both")
			}
			s := setup{Do: "up", Once: *once, Bare: *bare, Out: out}
			if s.Once {
				return enter(ctx, s, nil, nil)
			}
			control, err := listenControl(out)
			if err != nil {
				return err
			}
			defer os.Remove(controlSocket(out))
			listener, address, err := listenPage(*page)
			if err != nil {
				return err
			}
			s.Page, s.Control = address, true
			return enter(ctx, s, listener, control)
		},
	}
}

// runUp is `up` inside the box.
func runUp(ctx context.Context, s setup) error {
	began := time.Now()
	folder := "lab"
	if s.Once {
		folder = "once"
	}
	c, err := buildCounty(ctx, county.Whole().WithEveryKind(), folder)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Print(countyLine(c, s.User))
	if s.Page != "" {
		l, err := net.FileListener(os.NewFile(pageFD, "page"))
		if err != nil {
			return fmt.Errorf("the page's listener: %w", err)
		}
		go forwardPage(ctx, l, c.Collector)
	}
	if s.Control {
		l, err := net.FileListener(os.NewFile(controlFD, "control"))
		if err != nil {
			return fmt.Errorf("the control listener: %w", err)
		}
		go serveControl(ctx, l, &live{county: c, out: s.Out})
	}
	if s.Bare {
		fmt.Println("bare        no program runs; Ctrl-C ends it")
		<-ctx.Done()
		return nil
	}
	if err := c.Site(county.AllKinds).OfferPrograms(); err != nil {
		return err
	}
	if err := bringUp(ctx, c); err != nil {
		if ctx.Err() != nil {
			return nil // somebody ended it
		}
		return fmt.Errorf("%w\n  logs: %s", err, filepath.Join(s.Out, folder))
	}
	fmt.Printf("all up      %d tunnels, %d checks, after %.1f s\n", c.Plan.Tunnels(), c.Plan.Checks(), time.Since(began).Seconds())
	if s.Once {
		return printOnce(ctx, c)
	}
	_, port, _ := net.SplitHostPort(s.Page)
	fmt.Printf("page        http://%s/   (from afar: ssh -L %s:%s)\n\n", s.Page, port, s.Page)
	return watchTable(ctx, c, os.Stdout)
}

// buildCounty builds a county whose logs are in a new folder below netns.Out.
func buildCounty(ctx context.Context, p county.Plan, folder string) (*county.County, error) {
	logs := filepath.Join(netns.Out, folder)
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	old, err := filepath.Glob(filepath.Join(logs, "*.log"))
	if err != nil {
		return nil, err
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return nil, err
		}
	}
	return county.Build(ctx, p, logs)
}

// bringUp starts everything and waits until all is up.
func bringUp(ctx context.Context, c *county.County) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patient(upLimit), fmt.Errorf("not done after %v", patient(upLimit)))
	defer cancel()
	if err := c.Up(ctx); err != nil {
		return err
	}
	return c.AwaitAllUp(ctx)
}

func countyLine(c *county.County, user string) string {
	who := "as user " + user + ";\n            no root, no package, nothing on this machine is changed"
	if os.Getuid() == 0 && user == "root" {
		who = "as root;\n            no package, nothing on this machine is changed"
	}
	return fmt.Sprintf("county      %d sites, %d hubs, 1 collector in namespaces, %s\n", len(c.Sites), len(c.Hubs), who)
}

// forwardPage joins each connection from outside to the collector's pages.
func forwardPage(ctx context.Context, l net.Listener, to *county.Collector) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			inner, err := to.DialPages(ctx)
			if err != nil {
				return // the collector is off; the browser sees a closed connection
			}
			defer inner.Close()
			go func() {
				_, _ = io.Copy(inner, conn)
				_ = inner.(*net.TCPConn).CloseWrite()
			}()
			_, _ = io.Copy(conn, inner)
		}()
	}
}

// printOnce prints the table and the API's answer as it is.
func printOnce(ctx context.Context, c *county.County) error {
	t, err := readTable(ctx, c)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", t)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8480/api/v1/sites", nil)
	if err != nil {
		return err
	}
	resp, err := c.Collector.HTTP().Do(req)
	if err != nil {
		return fmt.Errorf("asking for the sites: %w", err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// watchTable shows the table until ctx ends: drawn anew on a terminal, else
// once, and then a line for each change.
func watchTable(ctx context.Context, c *county.County, out *os.File) error {
	terminal := term.IsTerminal(int(out.Fd()))
	first, lines, before := true, 0, table{}
	for {
		t, err := readTable(ctx, c)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // the collector is off; a county goes on without it
			t = before
			t.note = "collector: " + err.Error()
		}
		text := t.String()
		switch {
		case terminal:
			text = fit(text, out)
			fmt.Fprintf(out, "%s%s", up(lines), erased(text))
			lines = countLines(text)
		case first:
			fmt.Fprintf(out, "%s\n%s\n", text, invitation)
		default:
			fmt.Fprint(out, t.changes(before))
		}
		first, before = false, t
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
}

// fit puts the invitation below a table where the terminal has room for both,
// and cuts what it has no room for: what has scrolled away cannot be redrawn.
func fit(text string, out *os.File) string {
	_, height, err := term.GetSize(int(out.Fd()))
	if err != nil || height <= 0 {
		height = 24
	}
	if both := text + "\n" + invitation; countLines(both) < height {
		return both
	}
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(lines[:min(len(lines), height-1)], "")
}
