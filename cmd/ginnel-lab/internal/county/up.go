package county

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Ended is a program that ended although nobody asked it to.
type Ended struct {
	Program string
	Err     error
	Log     string // its last lines
}

func (e *Ended) Error() string {
	return fmt.Sprintf("%s ended (%v); its last lines:\n%s", e.Program, e.Err, e.Log)
}

// StepError says where the bring-up failed.
type StepError struct {
	Place string // site, hub or "collector"
	Step  string
	Err   error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s failed at %s: %v", e.Place, e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// Up starts every program, enrols every gateway, and has them configured: by push
// or, where the plan says so, by hand. It does not wait for tunnels; AwaitAllUp
// does. Its error is a *StepError.
func (c *County) Up(ctx context.Context) error {
	if c.Plan.Pushed() {
		return c.upByPush(ctx)
	}
	if err := c.Start(ctx); err != nil {
		return err
	}
	return c.each(func(s *Site) error {
		if err := c.Enrol(ctx, s); err != nil {
			return &StepError{s.Name(), "enrolment", err}
		}
		return nil
	})
}

// upByPush is Up as central ops and technicians do it: agents without a config,
// site packs from the desk, and a first push.
func (c *County) upByPush(ctx context.Context) error {
	if err := c.StartIdle(ctx); err != nil {
		return err
	}
	if err := c.EnrolAll(ctx); err != nil {
		return err
	}
	if err := c.awaitKeys(ctx); err != nil {
		return err
	}
	_, err := c.Push(ctx, "--no-rings")
	return err
}

// StartIdle sets up the desk and starts the collector and every agent, none of
// which has a config or an identity.
func (c *County) StartIdle(ctx context.Context) error {
	if err := c.Collector.StartCollector(); err != nil {
		return &StepError{"collector", "start", err}
	}
	if err := c.SetUpDesk(ctx); err != nil {
		return &StepError{"desk", "files", err}
	}
	idle := func(place string, a *Agent) error {
		err := a.Node.WriteFile("/etc/ginnel/ginnel.toml", HostConfig(), 0o644)
		if err == nil {
			err = a.StartAgent()
		}
		if err == nil {
			_, err = a.AwaitAnswer(ctx)
		}
		if err != nil {
			return &StepError{place, "start", err}
		}
		return nil
	}
	for _, h := range c.Hubs {
		if err := idle(h.Name(), h.Agent); err != nil {
			return err
		}
	}
	if err := c.each(func(s *Site) error { return idle(s.Name(), s.Agent) }); err != nil {
		return err
	}
	if err := c.Collector.AwaitCollector(ctx); err != nil {
		return &StepError{"collector", "start", err}
	}
	return nil
}

// Start is Up by hand without the enrolment: collector, keys, configs, hubs, sites.
func (c *County) Start(ctx context.Context) error {
	if err := c.Collector.StartCollector(); err != nil {
		return &StepError{"collector", "start", err}
	}
	if err := c.ConfigureAll(ctx); err != nil {
		return err
	}
	if err := c.StartHubs(ctx); err != nil {
		return err
	}
	err := c.each(func(s *Site) error {
		if err := s.StartAgent(); err != nil {
			return &StepError{s.Name(), "start", err}
		}
		if _, err := s.AwaitAnswer(ctx); err != nil {
			return &StepError{s.Name(), "start", err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.Collector.AwaitCollector(ctx); err != nil {
		return &StepError{"collector", "start", err}
	}
	return nil
}

// StartHubs starts the hubs and waits until they are as planned.
func (c *County) StartHubs(ctx context.Context) error {
	for _, h := range c.Hubs {
		if err := h.StartAgent(); err != nil {
			return &StepError{h.Name(), "start", err}
		}
	}
	// A site that calls before its hub listens waits 5 s for its second try
	// (WireGuard's REKEY_TIMEOUT).
	for _, h := range c.Hubs {
		if err := h.AwaitPlanned(ctx); err != nil {
			return &StepError{h.Name(), "start", err}
		}
	}
	return nil
}

// Name is the hub's name.
func (h *Hub) Name() string { return h.HubPlan.Name }

// Name is the site's name.
func (s *Site) Name() string { return s.SitePlan.Name }

// ConfigureAll makes every key and writes every config.
func (c *County) ConfigureAll(ctx context.Context) error {
	keys, mu := map[string]string{}, sync.Mutex{}
	make1 := func(place string, a *Agent, network string) error {
		key, err := a.Key(ctx, network)
		if err != nil {
			return &StepError{place, "ginnel key " + network, err}
		}
		mu.Lock()
		defer mu.Unlock()
		keys[keyOf(a.Name, network)] = key
		return nil
	}
	for _, h := range c.Hubs {
		for _, n := range c.Plan.NetworksOf(h.HubPlan) {
			if err := make1(h.Name(), h.Agent, n.Name); err != nil {
				return err
			}
		}
	}
	err := c.each(func(s *Site) error {
		for _, j := range s.Joins {
			if err := make1(s.Name(), s.Agent, j.Network); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, h := range c.Hubs {
		text, err := c.Plan.hubText(h.HubPlan, keys)
		if err == nil {
			err = h.Configure(text)
		}
		if err != nil {
			return &StepError{h.Name(), "config", err}
		}
	}
	return c.each(func(s *Site) error {
		text, err := c.Plan.siteText(s.SitePlan, keys)
		if err == nil {
			err = s.Configure(text)
		}
		if err != nil {
			return &StepError{s.Name(), "config", err}
		}
		return nil
	})
}

// each does f for all sites at once and returns the first error in their
// order.
func (c *County) each(f func(*Site) error) error {
	errs := make([]error, len(c.Sites))
	var wg sync.WaitGroup
	for i, s := range c.Sites {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// AwaitAllUp waits until every site says that all is up, and the collector
// says so of every site.
func (c *County) AwaitAllUp(ctx context.Context) error {
	err := c.each(func(s *Site) error {
		_, st, err := s.Await(ctx, AllUp)
		if err == nil && st.Agent.Backend != Backend {
			err = fmt.Errorf("its back end is %s, not %s", st.Agent.Backend, Backend)
		}
		if err != nil {
			return &StepError{s.Name(), "tunnels and checks", err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.awaitCentre(ctx)
}

func (c *County) awaitCentre(ctx context.Context) error {
	api, err := c.Collector.API()
	if err != nil {
		return err
	}
	slow := "collector"
	_, err = poll(ctx, 200*time.Millisecond, func() (bool, error) {
		sites, err := api.Sites(ctx)
		if err != nil {
			return false, err
		}
		if len(sites) < len(c.Sites) { // hubs that are enrolled are among them
			return false, fmt.Errorf("it knows %d of %d sites", len(sites), len(c.Sites))
		}
		for _, s := range sites {
			if s.State != "up" {
				slow = s.ID
				return false, fmt.Errorf("the collector says %s: %s", s.State, s.Headline)
			}
		}
		return true, nil
	})
	if err != nil {
		return &StepError{slow, "arrival at the collector", err}
	}
	return nil
}
