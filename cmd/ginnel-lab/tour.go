package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// tourStep is one thing that is done to the county, and what was seen.
type tourStep struct {
	title string
	show  func(ctx context.Context, c *county.County, number int) (string, error)
}

// tour shows what the county survives. All figures are measured as it goes.
func (l *live) tour(ctx context.Context, io cli.IO, args []string) error {
	if _, err := cli.Parse(cli.Flags(), args, 0, 0); err != nil {
		return err
	}
	folder := filepath.Join(netns.Out, "tour")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	steps := []tourStep{
		{"kill -9 of the agent at avocet under a 1 ms ping", tourKill},
		{"hub-south is cut off", l.tourCut(folder)},
		{"the collector is switched off for 20 s, then on", tourCollector},
		{"a config that would swallow the default gateway", tourSwallow},
	}
	failed := false
	for i, s := range steps {
		fmt.Fprintf(io.Out, "%d  %s\n", i+1, s.title)
		text, err := s.show(ctx, l.county, i+1)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			failed = true
			text = "not as it should be: " + err.Error()
		}
		fmt.Fprint(io.Out, indent(text))
	}
	reports := filepath.Join(folder, "reports")
	if err := writeReports(ctx, l.county, reports); err != nil {
		return err
	}
	fmt.Fprintf(io.Out, "report for each site: %s\n", l.shown(filepath.Join(reports, "avocet.html")))
	if failed {
		return &cli.Exit{Code: 1}
	}
	return nil
}

func tourKill(ctx context.Context, c *county.County, _ int) (string, error) {
	avocet := c.Site("avocet")
	r, err := restartUnderPing(ctx, avocet, records, avocet.Kill9Agent, 5*time.Second)
	if err != nil {
		return "", err
	}
	return judged(r.Lost() == 0, fmt.Sprintf("%s sent, %s answered%s; the agent was back after %.2f s",
		thousands(r.Sent), thousands(r.Answered), overrun(r.Pinged), r.back.Seconds()))
}

// judged makes what was measured an error where it is not as it should be.
func judged(good bool, text string) (string, error) {
	if !good {
		return "", errors.New(text)
	}
	return text, nil
}

// tourCut keeps what avocet sent meanwhile in a capture.
func (l *live) tourCut(folder string) func(context.Context, *county.County, int) (string, error) {
	return func(ctx context.Context, c *county.County, number int) (string, error) {
		path := filepath.Join(folder, fmt.Sprintf("%d-wan.pcap", number))
		f, err := os.Create(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		capture, err := wan.NewCapture(f)
		if err != nil {
			return "", err
		}
		o, err := cutHubSouth(ctx, c, 400, capture.See)
		if err != nil {
			return "", err
		}
		good := o.passage.Refused() == o.heron.Sent && o.wan.Clear+o.wan.Encrypted == 0 && o.kestrel.Lost()+o.internet.Lost() == 0
		return judged(good, fmt.Sprintf("after %.1f s: %q\n%d packets for heron refused at avocet, %d seen on its WAN\n"+
			"(%s); kestrel answered %d of %d,\nthe internet %d of %d; all up again %.1f s after it was joined",
			o.after.Seconds(), o.said, o.passage.Refused(), o.wan.Clear+o.wan.Encrypted, l.shown(path),
			o.kestrel.Answered, o.kestrel.Sent, o.internet.Answered, o.internet.Sent, o.healed.Seconds()))
	}
}

func tourCollector(ctx context.Context, c *county.County, _ int) (string, error) {
	d, err := collectorAway(ctx, c, 20*time.Second,
		func() error { return c.Collector.StopCollector(ctx) },
		func() error { return errors.Join(c.Collector.StartCollector(), c.Collector.AwaitCollector(ctx)) })
	if err != nil {
		return "", err
	}
	return judged(d.kept >= d.gateways && d.missing+d.twice == 0 && d.arrived >= d.kept,
		fmt.Sprintf("%d gateways kept %d minutes; %d arrived, %d lost, %d twice",
			d.gateways, d.kept, d.arrived, d.missing, d.twice))
}

// place finds "desired.toml:12:33" in a refusal.
var place = regexp.MustCompile(`desired\.toml:\d+:\d+`)

func tourSwallow(ctx context.Context, c *county.County, _ int) (string, error) {
	refusal, err := swallow(ctx, c.Site("avocet"))
	if err != nil {
		return "", err
	}
	at := place.FindString(refusal)
	if at == "" {
		return "", fmt.Errorf("the refusal names no place: %s", refusal)
	}
	return "refused before a write, " + at, nil
}

// thousands writes 5000 as "5,000".
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func indent(text string) string {
	return regexp.MustCompile(`(?m)^`).ReplaceAllString(text, "     ") + "\n"
}
