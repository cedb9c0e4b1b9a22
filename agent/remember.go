package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/internal/durable"
	"github.com/ginnel/ginnel/agent/spool"
	"github.com/ginnel/ginnel/checks"
)

// A restart of the agent is no change of a tunnel: for a person, what was up
// since Tuesday is up since Tuesday when an upgrade took half a second, and a
// county that is upgraded does not turn unknown. So the states that were shown
// last are shown on until a check has been run often enough to say otherwise.
// They are shown only: in the record the time between is unknown.

// forgetAfter is how long the agent may have been away.
const forgetAfter = 2 * time.Minute

// memory is what was shown last.
type memory struct {
	Gateway string           `json:"gateway"`
	Config  string           `json:"config"` // its hash: another config says nothing of this one's checks
	Site    shown            `json:"site"`
	Tunnels map[string]shown `json:"tunnels"`
	Checks  map[string]shown `json:"checks"`
}

// shown is one state.
type shown struct {
	State  checks.State `json:"state"`
	Since  time.Time    `json:"since"`
	Reason string       `json:"reason,omitempty"`
	Detail string       `json:"detail,omitempty"`
}

// keep notes a state that was measured.
func keep(m map[string]shown, name string, s shown) {
	if s.State == checks.Up || s.State == checks.DegradedState || s.State == checks.Down {
		m[name] = s
	}
}

// of gives the states of a class.
func (m memory) of(c block.Class) map[string]shown {
	if c == block.TunnelClass {
		return m.Tunnels
	}
	return m.Checks
}

// recall reads what the agent before showed, unless it has been gone for long.
func (a *Agent) recall(kept *spool.Spool) error {
	now := time.Now()
	fresh := false
	for b, err := range kept.Blocks(now.Add(-forgetAfter), now) {
		if err != nil {
			return err
		}
		fresh = fresh || (b.Sequence < kept.Stats().NextSequence && b.End().After(now.Add(-forgetAfter)))
	}
	if !fresh {
		return nil
	}
	text, err := os.ReadFile(a.o.Paths.States())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("read %s: %w", a.o.Paths.States(), err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.Gateway == a.name {
		a.before, a.remembered = m, text
	}
	return nil
}

// remember writes down what is shown, where that is not what was written last.
func (a *Agent) remember(s block.Snapshot, now condition) error {
	a.mu.Lock()
	m := memory{Gateway: a.name, Site: shown{State: now.State, Since: a.sinceOf(s, now)}, Tunnels: map[string]shown{}, Checks: map[string]shown{}}
	if a.config != nil {
		m.Config = a.config.Hash
	}
	a.mu.Unlock()
	for _, t := range s.Tunnels {
		keep(m.Tunnels, tunnelName(t.Network, t.Hub), shown{State: t.State, Since: t.Since, Detail: t.Reason})
	}
	for _, c := range s.Checks {
		keep(m.Checks, c.Name, shown{State: c.State, Since: c.Since, Reason: c.Reason, Detail: c.Detail})
	}
	if a.isDown() { // by hand: the next start brings them up
		m.Tunnels, m.Site = nil, shown{}
	}
	text, err := json.Marshal(m)
	if err != nil || bytes.Equal(text, a.remembered) {
		return err
	}
	if err := durable.WriteFile(a.o.Paths.States(), text, 0o640); err != nil {
		return err
	}
	a.remembered = text
	return nil
}

func (a *Agent) isDown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.down.IsZero()
}

// carried shows checks in the state of before while they have not been run often
// enough to say, and lets a state that is the same have begun when it did. What
// has failed since is not shown as up.
func (a *Agent) carried(list []checks.Status) []checks.Status {
	for i := range list {
		a.carry(&list[i])
	}
	return list
}

// carry is carried of one.
func (a *Agent) carry(c *checks.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil || a.config.Hash != a.before.Config {
		return
	}
	before := a.before.of(subjectOf(c.Spec).Class)
	was, ok := before[c.Spec.Name]
	switch runs := c.Counts.OK + c.Counts.Degraded + c.Counts.Failed + c.Counts.Unknown; {
	case !ok:
	case c.Err != nil:
		delete(before, c.Spec.Name)
	case c.State == checks.UnknownState && runs < uint64(c.Spec.Down) && (was.State != checks.Up || c.Counts.Failed == 0):
		c.State, c.Since = was.State, was.Since
		c.Last.Reason, c.Last.Detail = checks.Reason(was.Reason), was.Detail
	case c.State == was.State:
		c.Since = was.Since
	default:
		delete(before, c.Spec.Name)
	}
}
