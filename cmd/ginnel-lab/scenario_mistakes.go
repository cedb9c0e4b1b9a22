package main

import (
	"cmp"
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// ten is a config with ten mistakes.
const ten = `gateway = "Avocet 1"

[[network]]
name     = "net1"
address  = ["100.64.1.7/24"]
lan      = ["192.168.10.0/24", "192.168.10.0/24"]
mtu      = 100

[[network.hub]]
name        = "hub-north"
public_key  = "OYqDrg1mdCZQm"
endpoints   = ["hub-north.example.net"]
allowed_ips = ["100.64.1.1/32", "198.51.100.7/24", "0.0.0.0/0"]

[[check]]
name      = "records"
kind      = "tcp"
network   = "net9"
target    = "198.51.100.20:443"
intervall = "30s"
`

// message is the beginning of each message about a config.
var message = regexp.MustCompile(`(?m)^\S+\.toml:\d+:\d+: `)

// tenMistakes gives a config with ten mistakes to a running agent, and to one
// that starts with it.
func (s *stage) tenMistakes(ctx context.Context, p *pair) error {
	ctx = within(ctx, time.Minute)
	good, err := p.site.ReadFile(desired)
	if err != nil {
		return err
	}
	agent, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return err
	}
	defer func() { end(agent) }()
	if _, err := awaitStatus(ctx, p.site, func(s block.Snapshot) bool { return len(s.Tunnels) == 2 }); err != nil {
		return err
	}
	for { // until it has written what it has to
		if _, err := p.site.Run(ctx, "ginnel", "plan"); err == nil || ctx.Err() != nil {
			break
		}
		sleep(ctx, 50*time.Millisecond)
	}
	before, err := atRest(ctx, p.site)
	if err != nil {
		return err
	}
	if err := p.site.WriteFile(desired, ten, 0o644); err != nil {
		return err
	}
	first := ""
	for _, words := range [][]string{{"config", "check"}, {"plan"}, {"reload"}} {
		code, said := attempt(ctx, p.site, append([]string{"ginnel"}, words...)...)
		n := len(message.FindAllString(said, -1))
		detail := told(code, said)
		if rest, same := strings.CutPrefix(said, first); same && first != "" {
			detail = told(code, "the same"+rest)
		}
		first = cmp.Or(first, said)
		s.row(result{Name: "messages of ginnel " + strings.Join(words, " ") + " about ten mistakes", Value: float64(n), Unit: "messages",
			Aim: "10", Met: n == 10 && code == 1, Detail: detail})
		if err := s.unchanged(ctx, p.site, before, "by ginnel "+strings.Join(words, " "), echoes); err != nil {
			return err
		}
	}
	end(agent)
	if agent, err = p.start(p.site, "ginnel", "run"); err != nil {
		return err
	}
	st, err := awaitStatus(ctx, p.site, func(s block.Snapshot) bool { return len(s.Tunnels) == 2 && s.Config.Error != "" })
	if err != nil {
		return err
	}
	s.holds("an agent that starts with it says so and runs the last good one", true, st.Config.Error)
	if err := s.unchanged(ctx, p.site, before, "by its start", echoes); err != nil {
		return err
	}
	return p.site.WriteFile(desired, good, 0o644)
}

// echoes are the sockets of the agent that runs beside the acts: they come and go
// with its own checks.
const echoes = " raw "

const desired = "/etc/ginnel/desired.toml"
