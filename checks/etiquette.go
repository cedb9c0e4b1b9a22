package checks

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// etiquette keeps the Manners of a Runner: what was asked when, and what is left
// of the budgets. The engine's mu guards it.
type etiquette struct {
	Manners
	asked   map[string]time.Time // national host -> when it was asked last
	spent   map[string]*bucket   // host -> its budget
	metered bucket
}

// curb is what the Manners say of one check, found once.
type curb struct {
	forbidden string   // why it may not be run; empty: it may
	hosts     []string // that it asks
	national  bool     // the first of them is
	free      bool     // none of it applies: it asks what is ours
}

func newEtiquette() *etiquette {
	return &etiquette{asked: map[string]time.Time{}, spent: map[string]*bucket{}}
}

func (e *etiquette) curb(s Spec) curb {
	if s.Own {
		return curb{free: true}
	}
	c := curb{forbidden: cmp.Or(e.isOff(s), e.Forbids(s)), national: e.IsNational(s.Target.Address) != ""}
	for _, a := range s.addresses() {
		if host := HostOf(a); host != "" {
			c.hosts = append(c.hosts, host)
		}
	}
	return c
}

// may says whether a check may be run now. If not, it says why; or until when to
// wait, where that is all.
func (e *etiquette) may(c curb, metered bool, now time.Time) (why string, until time.Time) {
	switch {
	case c.free:
		return "", time.Time{}
	case c.forbidden != "":
		return c.forbidden, time.Time{}
	}
	if c.national {
		if last, ok := e.asked[c.hosts[0]]; ok && now.Before(last.Add(e.Every())) {
			return fmt.Sprintf("%s is national, and was asked %v ago: once in %v", c.hosts[0], now.Sub(last).Round(time.Second), e.Every()), last.Add(e.Every())
		}
	}
	for _, host := range c.hosts {
		if perHour := cmp.Or(e.TargetBudget, targetBudget); !e.budget(host, now).left(perHour, now) {
			return fmt.Sprintf("the budget is used up: %d questions to %s in an hour", perHour, host), time.Time{}
		}
	}
	if perHour := cmp.Or(e.MeteredBudget, meteredBudget); metered && !e.metered.left(perHour, now) {
		return fmt.Sprintf("the budget is used up: %d questions over a metered line in an hour", perHour), time.Time{}
	}
	if c.national {
		e.asked[c.hosts[0]] = now
	}
	return "", time.Time{}
}

// charge counts the questions of a run that has ended.
func (e *etiquette) charge(c curb, metered bool, r Result, now time.Time) {
	if c.free {
		return
	}
	questions := []int{r.Sent, 0}
	if r.Beside != nil {
		questions[1] = r.Beside.Sent
	}
	for i, host := range c.hosts {
		e.budget(host, now).spent += float64(questions[i])
		if metered {
			e.metered.spent += float64(questions[i])
		}
	}
}

func (e *etiquette) budget(host string, now time.Time) *bucket {
	b := e.spent[host]
	if b == nil {
		b = &bucket{at: now}
		e.spent[host] = b
	}
	return b
}

// forget drops what says nothing any more.
func (e *etiquette) forget(now time.Time) {
	for host, b := range e.spent {
		if now.Sub(b.at) > time.Hour {
			delete(e.spent, host)
		}
	}
	for host, last := range e.asked {
		if now.Sub(last) > e.Every() {
			delete(e.asked, host)
		}
	}
}

// bucket is a budget: what was spent flows off evenly, and a twelfth of an hour's
// may be spent at once.
type bucket struct {
	spent float64
	at    time.Time // when it was looked at last
}

func (b *bucket) left(perHour int, now time.Time) bool {
	b.spent = max(0, b.spent-now.Sub(b.at).Hours()*float64(perHour))
	b.at = now
	return b.spent+1 <= max(20, float64(perHour)/12)
}

type mannersKey struct{}

// withManners lets the runs of a check that ctx is for ask MayAsk.
func (r *Runner) withManners(ctx context.Context, s *Spec) context.Context {
	return context.WithValue(ctx, mannersKey{}, func(address string) string {
		other := *s
		other.Target.Address, other.Beside = address, ""
		return r.mayOnce(other)
	})
}

// MayAsk says why a run, of which ctx is, must not ask another address than that of
// its target, as a redirect does; empty: it may, and the question is counted. It says
// so once for each question. Where there is no Runner, nobody minds.
func MayAsk(ctx context.Context, address string) (why string) {
	if may, ok := ctx.Value(mannersKey{}).(func(string) string); ok {
		return may(address)
	}
	return ""
}

// Behave makes the Runner keep m from now on. What was asked before counts.
func (r *Runner) Behave(m Manners) {
	workers := r.current()
	e := r.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	e.manners.Manners = m
	e.manners.forget(e.now())
	for _, w := range workers {
		w.curb = e.manners.curb(w.spec)
	}
}
