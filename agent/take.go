package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/internal/durable"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// candidate is a config that was checked against everything that it needs.
type candidate struct {
	file    string // as the log calls it
	text    []byte
	config  *config.Config
	spec    tunnels.Spec    // less what is shut out
	lacking config.Problems // checks whose kinds are not here
}

// take has a config that was written by hand run, and kept for the next start.
func (a *Agent) take(ctx context.Context, file string, text []byte) error {
	c, err := a.vet(ctx, file, text, true)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(a.o.Paths.LastGood(), text, 0o640); err != nil {
		return fmt.Errorf("keep the config for the next start: %w", err)
	}
	a.put(ctx, c)
	return nil
}

// vet checks a config. Whether it takes away what is the host's own is not asked
// of one that is gone back to: it was asked when it came, and nothing better is
// there.
func (a *Agent) vet(ctx context.Context, file string, text []byte, host bool) (candidate, error) {
	var none candidate
	c, err := config.Parse(file, text)
	if err != nil {
		return none, err
	}
	lacking, problems := c.CheckKinds(a.Kinds().Validate).Split(checks.ErrNoKind)
	if len(problems) > 0 {
		return none, problems
	}
	if err := a.sameName("config", c.Gateway); err != nil {
		return none, err
	}
	spec, err := a.trust.Apply(c).Spec(a.o.Paths.Key)
	if err != nil {
		return none, err
	}
	if host && a.o.Collisions != nil {
		problems, err := a.o.Collisions(ctx, c, spec)
		if err != nil {
			return none, err
		}
		if len(problems) > 0 {
			return none, problems
		}
	}
	return candidate{file, text, c, spec, lacking}, nil
}

// put hands out the parts of a config: nothing can refuse it any more.
func (a *Agent) put(ctx context.Context, c candidate) {
	a.o.Tunnels.Set(c.spec)
	a.mu.Lock()
	if a.config == nil {
		a.first.Do(func() { close(a.wanted) })
	}
	a.config, a.text, a.spec, a.applied, a.down = c.config, c.text, c.spec, time.Now(), time.Time{}
	runner := a.runner
	a.mu.Unlock()
	if runner != nil {
		a.sync(c.config)
	}
	a.call(c.config.Gateway)
	a.o.Log.InfoContext(ctx, "config applied", "file", c.file, "summary", c.config.Summary())
	for _, p := range c.lacking {
		a.o.Log.WarnContext(ctx, "a check is left out: its kind is not here", "err", p.OneLine())
	}
}

// putNone is the state before the first config: nothing of ours is wanted.
func (a *Agent) putNone(ctx context.Context) {
	a.o.Tunnels.Set(tunnels.Spec{})
	a.mu.Lock()
	a.config, a.text, a.spec, a.applied = nil, nil, tunnels.Spec{}, time.Time{}
	runner := a.runner
	a.mu.Unlock()
	if runner != nil {
		a.sync(new(config.Config))
	}
	a.o.Log.InfoContext(ctx, "no config any more")
}

// wants is what is on the tunnels' list now.
func (a *Agent) wants() tunnels.Spec {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spec
}
