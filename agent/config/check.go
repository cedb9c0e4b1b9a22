package config

import (
	"cmp"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
)

var checkKeys = []string{"name", "kind", "network", "target", "beside", "interval", "timeout", "down", "up",
	"degraded", "unstable", "stands_for", "required", "options"}

// Bounds and defaults of a check.
const (
	DefaultInterval = 30 * time.Second
	DefaultTimeout  = 5 * time.Second // at most nine tenths of the interval
	DefaultDown     = 3
	DefaultUp       = 2
	DefaultUnstable = 30 // percent

	intervalMin, intervalMax = time.Second, 24 * time.Hour
	timeoutMin, timeoutMax   = 100 * time.Millisecond, time.Minute
	countMax                 = 100
	targetMax                = 1024 // bytes
	wordsMax                 = 80   // characters of what a report calls a check
)

// check reads [[check]], which may have more keys where others read them.
func (t table) check(more ...string) Check {
	t.only(append(more, checkKeys...)...)
	c := Check{
		Name:     t.name("name", "the name of the check, as in records"),
		Kind:     t.name("kind", "as in tcp; `ginnel check list` tells which there are"),
		Interval: cmp.Or(t.duration("interval", intervalMin, intervalMax), DefaultInterval),
		Timeout:  t.duration("timeout", timeoutMin, timeoutMax),
		Down:     cmp.Or(int(t.integer("down", 1, countMax)), DefaultDown),
		Up:       cmp.Or(int(t.integer("up", 1, countMax)), DefaultUp),
		Degraded: t.duration("degraded", time.Microsecond, timeoutMax),
		Unstable: cmp.Or(int(t.integer("unstable", 10, 100)), DefaultUnstable),
	}
	if c.Timeout > c.Interval {
		t.problem("timeout", "", "%s is longer than the interval, %s", tell(c.Timeout), tell(c.Interval))
	}
	longest := c.Interval - c.Interval/10 // a run must have ended before the next
	c.Timeout = min(cmp.Or(c.Timeout, DefaultTimeout), longest)
	if c.Degraded > c.Timeout {
		t.problem("degraded", "", "%s is longer than the timeout, %s", tell(c.Degraded), tell(c.Timeout))
	}
	if s, ok := t.text("network", ""); ok {
		if s == "" {
			t.problem("network", "leave it out for a check beside the tunnels", "is empty")
		}
		c.Network = s
		if s != "" {
			t.r.through = append(t.r.through, use{value: s, path: join(t.path, "network"), at: t.at("network")})
		}
	}
	t.takes("name", t.listOf(), c.Name)
	c.Target = t.line("target", targetMax)
	c.Beside = t.beside(c)
	c.StandsFor = t.line("stands_for", wordsMax)
	if b := t.boolean("required"); b != nil {
		c.Required = *b
	}
	if v := t.v.of["options"]; v != nil && v.kind != tableKind {
		t.r.wrongType(v, join(t.path, "options"), "a table", "[check.options]")
	} else if v != nil {
		c.Options = v.any().(map[string]any)
	}
	return c
}

// beside reads what a paired check asks beside the tunnels.
func (t table) beside(c Check) string {
	s := t.line("beside", targetMax)
	switch {
	case t.v.of["beside"] == nil:
		return ""
	case s == "":
		t.problem("beside", `"same" for the target itself, or another`, "is empty")
	case c.Network == "":
		t.problem("beside", "name the network that it goes through otherwise", "the check goes beside the tunnels as it is")
	case s == "same":
		return c.Target
	}
	return s
}

// line reads a string that people will see as one line.
func (t table) line(name string, most int) string {
	s, _ := t.text(name, "")
	switch {
	case len([]rune(s)) > most:
		t.problem(name, "", "has %d characters; %d is the most", len([]rune(s)), most)
	case strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }):
		t.problem(name, "", "%s has a line break or a control character in it", show(s))
	}
	return s
}

// CheckSpecs is the checks as the runner wants them: those of a network bind
// its overlay addresses, the first of each family.
func (c *Config) CheckSpecs() []checks.Spec {
	specs := make([]checks.Spec, len(c.Checks))
	for i, k := range c.Checks {
		specs[i] = checks.Spec{
			Name: k.Name,
			Kind: k.Kind,
			Target: checks.Target{
				Check:   k.Name,
				Address: k.Target,
				Network: k.Network,
				Source:  c.sources(k.Network),
				Timeout: k.Timeout,
				Options: k.Options,
			},
			Beside:    k.Beside,
			StandsFor: k.StandsFor,
			Required:  k.Required,
			Interval:  k.Interval,
			Down:      k.Down,
			Up:        k.Up,
			Degraded:  k.Degraded,
			Unstable:  k.Unstable,
		}
	}
	return specs
}

func (c *Config) sources(network string) []netip.Addr {
	var list []netip.Addr
	var have [2]bool
	for _, n := range c.Networks {
		if n.Name != network {
			continue
		}
		for _, p := range n.Address {
			family := 0
			if p.Addr().Is6() {
				family = 1
			}
			if !have[family] {
				have[family] = true
				list = append(list, p.Addr())
			}
		}
	}
	return list
}

// CheckKinds asks validate, normally a checks.Registry's Validate, about every
// check, and places what it answers: an *checks.OptionError at the option, an
// *checks.IntervalError at the interval, a kind that is not here at the kind
// (Split by checks.ErrNoKind: a gateway goes on without such a check), anything
// else at the target.
func (c *Config) CheckKinds(validate func(checks.Spec) error) Problems {
	var ps Problems
	for i, spec := range c.CheckSpecs() {
		for _, err := range parts(validate(spec)) {
			ps = append(ps, c.kindProblem(item("check", i), err))
		}
	}
	ps.sort()
	return ps
}

// parts takes joined errors apart.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

func (c *Config) kindProblem(path string, err error) Problem {
	p := Problem{File: c.file, Path: path + ".target", Message: err.Error(), Err: err}
	var hint interface{ Hint() string }
	if errors.As(err, &hint) {
		p.Hint = hint.Hint()
	}
	if e, ok := errors.AsType[*checks.OptionError](err); ok {
		p.Path = join(path+".options", e.Option)
		p.Message, p.Hint = e.Err.Error(), e.Hint
	} else if errors.Is(err, checks.ErrNoKind) {
		p.Path = path + ".kind"
	} else if _, ok := errors.AsType[*checks.IntervalError](err); ok {
		p.Path = path + ".interval"
	}
	at := c.nearestPlace(p.Path)
	p.Line, p.Column = at.line, at.column
	return p
}

// nearestPlace is the place of a key path, or of the nearest table around it
// that is in the file.
func (c *Config) nearestPlace(path string) place {
	places := c.places.all()
	for {
		if at, ok := places[path]; ok {
			return at
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return places[""]
		}
		path = path[:i]
	}
}
