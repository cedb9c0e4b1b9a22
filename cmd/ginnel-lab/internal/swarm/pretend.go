package swarm

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// What pretended work takes: about as long as the real thing on a small box.
const (
	applying  = 100 * time.Millisecond // a config
	handshake = 300 * time.Millisecond // until a tunnel carries something
)

// pretence is a gateway's host, tunnels and checks, as its trials see them:
// every config can be had, and every tunnel works. The way to the collector is
// real.
type pretence struct{ g *Gateway }

// Run has a config run; nil: none.
func (p pretence) Run(ctx context.Context, text []byte) error {
	var c *config.Config
	if text != nil {
		var err error
		if c, err = config.Parse("pushed.toml", text); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(applying):
	}
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	p.g.config, p.g.text, p.g.applied = c, text, time.Now()
	return nil
}

// Keep has the signers of a confirmed config be the accepted ones.
func (p pretence) Keep(raw []byte) error {
	p.g.mu.Lock()
	o := p.g.trying
	p.g.mu.Unlock()
	if o == nil || !bytes.Equal(o.Bundle.Bytes(), raw) {
		return nil // a newer one has come
	}
	return p.g.trust.Confirm(o)
}

func (p pretence) Ways(context.Context) []string { return []string{"collector: eth0"} }
func (p pretence) Fresh()                        { p.g.up.Fresh() }
func (p pretence) Heard() time.Time              { return p.g.Heard() }

// Answers opens a connection. There are no tables of ours to pass by.
func (p pretence) Answers(ctx context.Context, _ bool) bool {
	u, err := url.Parse(p.g.up.Status().URL)
	if err != nil {
		return false
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "443")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (p pretence) Tunnels(context.Context, time.Time) []trial.Part {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	now := trial.Good
	if time.Since(p.g.applied) < handshake {
		now = trial.Unsure
	}
	list := parts(nil, p.g.config)
	for i := range list {
		list[i].Now = now
	}
	return list
}

func (p pretence) Required(context.Context, time.Time) []trial.Part { return nil }

// parts are the tunnels of a config that follows another one, all of them
// touched. Either may be nil.
func parts(before, next *config.Config) []trial.Part {
	var list []trial.Part
	had := map[string]bool{}
	for _, p := range names(before) {
		had[p] = true
	}
	for _, name := range names(next) {
		p := trial.Part{Name: name, Touched: true, Wanted: true}
		if had[name] {
			p.Before = trial.Good
		}
		list = append(list, p)
	}
	return list
}

func names(c *config.Config) []string {
	var list []string
	if c == nil {
		return nil
	}
	for _, n := range c.Networks {
		for _, h := range n.Hubs {
			list = append(list, trial.PartName(n.Name, h.Name))
		}
		for _, s := range n.Sites {
			list = append(list, trial.PartName(n.Name, s.Name))
		}
	}
	return list
}

// snapshot says how the gateway is: up.
func (g *Gateway) snapshot() block.Snapshot {
	r, mark := g.trial.Record(), g.trust.Mark()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := block.Snapshot{Gateway: g.name, Site: g.id.Site().ID, Name: g.id.Site().Name, State: checks.Up, Since: g.born, At: time.Now(),
		Tunnels: []block.TunnelSnapshot{}, Checks: []block.CheckSnapshot{}}
	s.Agent.Version = "swarm"
	s.Config.Mark = mark
	if l := g.trust.List(); l != nil {
		s.Config.List = l.Number
	}
	switch r.Phase {
	case trial.Kept:
		s.Config.State = block.ConfigApplied
	case trial.Trying, trial.Leaving:
		s.Config.State = block.ConfigApplying
	case trial.Held:
		s.Config.State = block.ConfigUnconfirmed
	case trial.Failed:
		s.Config.State = block.ConfigFailed
	}
	if r.Phase != "" && r.Phase != trial.Kept {
		s.Config.Trial = &block.TrialSnapshot{Generation: r.Generation, Hash: r.Hash, Began: r.Began, Until: r.Until, Reason: r.Reason, Evidence: r.Evidence}
	}
	if g.refused != nil {
		s.Config.State, s.Config.Error = block.ConfigFailed, g.refused.Message
	}
	if g.config == nil {
		return s
	}
	s.Config.Generation, s.Config.Hash, s.Config.Applied = g.config.Generation, g.config.Hash, g.applied
	for _, n := range g.config.Networks {
		for _, h := range n.Hubs {
			s.Tunnels = append(s.Tunnels, block.TunnelSnapshot{Network: n.Name, Role: string(tunnels.Site), Hub: h.Name, State: checks.Up, Since: g.applied})
		}
		if len(n.Sites) > 0 {
			s.Tunnels = append(s.Tunnels, block.TunnelSnapshot{Network: n.Name, Role: string(tunnels.Hub), State: checks.Up, Since: g.applied, Peers: len(n.Sites), PeersUp: len(n.Sites)})
		}
	}
	return s
}

func (g *Gateway) effective() (hash, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.config == nil {
		return "", ""
	}
	return g.config.Hash, string(g.text)
}

func (g *Gateway) preferred() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.config == nil {
		return nil
	}
	return g.config.Collector
}
