package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// playCrash ends the agent as nothing should, at random points of its changing
// the host: after a start with nothing there, with another config than the last,
// and with objects taken meanwhile. The next start must make it whole, and what
// others made must not have changed.
func playCrash(ctx context.Context, s *stage) error {
	seed, err := seedOf("GINNEL_LAB_SEED")
	if err != nil {
		return err
	}
	h, err := newHealing(ctx, s)
	if err != nil {
		return err
	}
	defer h.close()
	c, err := h.crashes(ctx, seed, pick(s, 200, 20))
	if err != nil {
		return err
	}
	c.tell(seed)
	return h.leaves(ctx)
}

// crashes plays the situations in turn, each with a crash.
func (h *healing) crashes(ctx context.Context, seed uint64, times int) (*crashing, error) {
	c := &crashing{healing: h, random: rand.New(rand.NewPCG(seed, 0)), kept: map[string]seen{}, spans: map[string]span{}}
	if err := c.learn(ctx); err != nil {
		return nil, err
	}
	for ; c.turns < times; c.turns++ {
		if err := c.crash(ctx, situations[c.turns%len(situations)]); err != nil {
			return nil, fmt.Errorf("turn %d, seed %d: %w", c.turns+1, seed, err)
		}
	}
	return c, nil
}

// seedOf is the number in an environment variable, or a new one.
func seedOf(name string) (uint64, error) {
	text := os.Getenv(name)
	if text == "" {
		return uint64(time.Now().UnixNano()), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%s is no seed: %w", name, text, err)
	}
	return seed, nil
}

// situation is what an agent finds when it starts: much to do.
type situation struct {
	name   string
	config string
	before func(*crashing, context.Context) error
}

// situations in the order in which they come: each begins where the one before
// it ended.
var situations = []situation{
	{"nothing of ours is there", "A", (*crashing).cleanup},
	{"objects were taken", "A", (*crashing).takeSome},
	{"another config", "B", nil},
	{"objects were taken from the other config", "B", (*crashing).takeSome},
	{"the first config again", "A", nil},
}

// crashing is a gateway whose agent is killed again and again.
type crashing struct {
	*healing
	random  *rand.Rand
	configs map[string]string
	kept    map[string]seen // how the host is to be, by config
	spans   map[string]span // by situation

	turns, converged, middle, changed, orphans int
	trouble                                    []string
	took                                       []time.Duration
}

// span is how long an undisturbed agent takes from its start to its first write,
// and from there to its last.
type span struct{ first, rest time.Duration }

// spanOf is the span of an agent started at began. Neither part is ever 0: the
// log's times are cut to the millisecond, in which a fast agent does it all.
func spanOf(began time.Time, writes []time.Time) span {
	first, last := writes[0], writes[len(writes)-1]
	return span{max(first.Sub(began), time.Millisecond), last.Sub(first) + time.Millisecond}
}

// learn plays each situation without a crash.
func (c *crashing) learn(ctx context.Context) error {
	text, err := c.node.ReadFile("/etc/ginnel/desired.toml")
	if err != nil {
		return err
	}
	a, _, _ := strings.Cut(text, "\n[[check]]")
	c.configs = map[string]string{"A": a, "B": otherConfig(a)}
	for _, x := range situations {
		if err := c.prepare(ctx, x); err != nil {
			return err
		}
		log, err := c.stage.logFromHere(c.site)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := c.start(ctx); err != nil {
			return err
		}
		writes, err := log.writes()
		if err != nil || len(writes) < 3 {
			return errors.Join(err, fmt.Errorf("%s: the agent had only %d things to do", x.name, len(writes)))
		}
		c.spans[x.name] = spanOf(began, writes)
		if c.kept[x.config], err = c.look(); err != nil {
			return err
		}
	}
	return nil
}

// otherConfig is a config with another network in place of heron, and with other
// addresses and prefixes in kestrel.
func otherConfig(a string) string {
	var more []string
	for i := range 20 {
		more = append(more, fmt.Sprintf(`"100.65.%d.0/24"`, i))
	}
	return strings.NewReplacer(
		`"heron"`, `"osprey"`, "100.64.64.", "100.64.192.", `"203.0.113.0/24"`, `"203.0.113.128/25"`,
		`"100.64.0.7/32"`, `"100.64.0.7/32", "100.64.0.107/32"`,
		`"198.51.100.0/24"`, strings.Join(append(more, `"198.51.100.0/25"`), ", "),
	).Replace(a)
}

// prepare stops the agent and makes the situation.
func (c *crashing) prepare(ctx context.Context, x situation) error {
	if err := c.site.StopAgent(ctx); err != nil {
		return err
	}
	if x.before != nil {
		if err := x.before(c, ctx); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	return c.site.Configure(c.configs[x.config])
}

func (c *crashing) cleanup(ctx context.Context) error {
	_, err := c.node.Run(ctx, "ginnel", "cleanup")
	return err
}

// takeSome takes a few objects of kestrel's while no agent runs.
func (c *crashing) takeSome(context.Context) error {
	some := slices.Clone(removals[1:]) // but for the link: not everything
	if c.stage.kernel {
		// A device in the kernel that has lost its tag and its key is nobody's.
		some = slices.DeleteFunc(some, func(r removal) bool { return r.what == "link's alias" })
	}
	c.random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return c.node.Do(func() error {
		for _, r := range some[:4] {
			// One may have taken what the next would take.
			_ = r.take(c.victim, c.random.IntN(100))
		}
		// This one is there whatever went before.
		return c.dropRule(c.random.IntN(100))
	})
}

// start starts the agent and waits until nothing is left to do.
func (c *crashing) start(ctx context.Context) error {
	if err := c.site.StartAgent(); err != nil {
		return err
	}
	return c.site.AwaitPlanned(within(ctx, hopelessly))
}

// crash makes a situation, kills the agent at a random point of its work, starts
// it again and looks what has become of the host.
func (c *crashing) crash(ctx context.Context, x situation) error {
	if err := c.prepare(ctx, x); err != nil {
		return err
	}
	log, err := c.stage.logFromHere(c.site)
	if err != nil {
		return err
	}
	if err := c.site.StartAgent(); err != nil {
		return err
	}
	if err := c.untilRandomPoint(ctx, log, c.spans[x.name]); err != nil {
		return err
	}
	if err := c.site.Kill9Agent(ctx); err != nil {
		return err
	}
	did, err := log.writes()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := c.start(ctx); err != nil {
		c.trouble = append(c.trouble, fmt.Sprintf("%s: %v", x.name, err))
		return nil
	}
	c.took = append(c.took, time.Since(began))
	all, err := log.writes()
	if err != nil {
		return err
	}
	if len(did) > 0 && len(all) > len(did) {
		c.middle++
	}
	return c.judge(ctx, x)
}

// untilRandomPoint waits: one time in ten for a point before the first write is
// to be expected, else for the first write and then for a point of the time that
// the rest takes.
func (c *crashing) untilRandomPoint(ctx context.Context, log agentLog, s span) error {
	if c.random.IntN(10) == 0 {
		sleep(ctx, time.Duration(c.random.Int64N(int64(s.first))))
		return nil
	}
	after := time.Duration(c.random.Int64N(int64(s.rest)))
	for deadline := time.Now().Add(patient(hopelessly)); time.Now().Before(deadline); sleep(ctx, patient(time.Millisecond)) {
		did, err := log.writes()
		if err != nil {
			return err
		}
		if len(did) > 0 {
			sleep(ctx, time.Until(did[0].Add(after)))
			return nil
		}
	}
	return errors.New("the agent wrote nothing")
}

// judge compares the host with what it is to be.
func (c *crashing) judge(ctx context.Context, x situation) error {
	var part, how string
	err := c.node.Do(func() error { part, how = c.differs(c.kept[x.config]); return nil })
	if err != nil {
		return err
	}
	if part == "" {
		c.converged++
	} else {
		c.trouble = append(c.trouble, fmt.Sprintf("%s: %s are not as wanted:\n%s", x.name, part, how))
	}
	foreign, err := foreignState(ctx, c.node, written...)
	if err != nil {
		return err
	}
	if left := differing(c.foreign, foreign); len(left) > 0 {
		c.changed++
		c.trouble = append(c.trouble, left...)
	}
	planes, err := dataPlanes(c.node)
	if err != nil {
		return err
	}
	for device := range planes {
		if !strings.Contains(c.kept[x.config]["links"], device+" ") {
			c.orphans++
		}
	}
	return nil
}

func (c *crashing) tell(seed uint64) {
	s, times := c.stage, c.turns
	slices.Sort(c.took)
	s.row(result{Name: "starts after kill -9 that made the host whole", Value: float64(c.converged), Unit: "starts",
		Aim: fmt.Sprint(times), Met: c.converged == times,
		Detail: fmt.Sprintf("p50 %.2f s, longest %.2f s; again with GINNEL_LAB_SEED=%d\n%s",
			percentile(c.took, 50).Seconds(), c.took[len(c.took)-1].Seconds(), seed, strings.Join(c.trouble, "\n"))})
	s.row(result{Name: "kills that came between two writes", Value: float64(c.middle), Unit: "kills",
		Aim: fmt.Sprintf(">= %d", times/3), Met: c.middle >= times/3, Detail: "the others came before the first write or after the last"})
	s.zero("starts after which something of others was changed", c.changed, "starts",
		fmt.Sprintf("%s lines compared each time", thousands(strings.Count(c.foreign, "\n"))))
	s.zero("data planes without a device", c.orphans, "processes", "")
}
