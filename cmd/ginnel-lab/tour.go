package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/tunnels"
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
		{"someone deletes a route of kestrel at bittern", tourRoute},
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

// tourRoute deletes a route as anybody could, and reads in the agent's log what
// it made of that.
func tourRoute(ctx context.Context, c *county.County, _ int) (string, error) {
	ctx = within(ctx, 30*time.Second)
	bittern := c.Site("bittern")
	route := fmt.Sprintf("198.51.100.0/24 dev %s table %d", tunnels.DeviceName("kestrel", "hub-north"), tunnels.TableNumber("kestrel"))
	if _, err := bittern.Node.Run(ctx, "sh", "-c", "ip route del "+route); err != nil {
		return "", err
	}
	began := time.Now()
	for {
		out, err := bittern.Node.Run(ctx, "sh", "-c", "ip route show "+route)
		if err == nil && strings.Contains(out, "198.51.100.0/24") {
			break
		}
		if ctx.Err() != nil {
			return "", errors.Join(errors.New("it is not back"), err)
		}
		sleep(ctx, 10*time.Millisecond)
	}
	took := time.Since(began)
	line, ok := "", false
	for ; !ok && ctx.Err() == nil; sleep(ctx, 50*time.Millisecond) {
		for one := range strings.Lines(bittern.Log(50)) {
			if strings.Contains(one, notUs) && strings.Contains(one, "198.51.100.0/24") {
				line, ok = strings.TrimSpace(one), true
			}
		}
	}
	_, line, _ = strings.Cut(line, " msg=")
	return judged(ok && took <= 2*time.Second, fmt.Sprintf("back after %.2f s; the log says what, and that it was not us:\n%s",
		took.Seconds(), cli.Wrap(line, 70, "  ")))
}

// notUs is what an agent logs of what somebody else undid.
const notUs = "somebody else"

// judged makes what was measured an error where it is not as it should be.
func judged(good bool, text string) (string, error) {
	if !good {
		return "", errors.New(text)
	}
	return text, nil
}

func alarms(n int) string {
	if n == 1 {
		return "one alarm"
	}
	return fmt.Sprintf("%d alarms", n)
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
		good := o.passage.Refused() == o.heron.Sent && o.wan.Clear+o.wan.Encrypted == 0 && o.kestrel.Lost()+o.internet.Lost() == 0 &&
			strings.Contains(o.said, string(why.HubSilent)) && len(o.alarm.causes) == 1
		return judged(good, fmt.Sprintf("after %.1f s: %q\n%s, not %d: %d things at %d sites are not up, all by one cause\n"+
			"%d packets for heron refused at avocet, %d seen on its WAN\n"+
			"(%s); kestrel answered %d of %d,\nthe internet %d of %d; all up again %.1f s after it was joined",
			o.after.Seconds(), o.said, alarms(len(o.alarm.causes)), o.alarm.ill, o.alarm.ill, o.alarm.sites, o.passage.Refused(), o.wan.Clear+o.wan.Encrypted, l.shown(path),
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
