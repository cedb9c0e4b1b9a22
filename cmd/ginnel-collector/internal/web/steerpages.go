package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// badge is a state of a rollout, or of a gateway in one, as shown: sort is its
// colour, and mark its sign, so that colour is never the only one.
type badge struct{ Word, Mark, Sort string }

func badgeOf(state string) badge {
	switch state {
	case string(centre.RolloutDone), "applied":
		return badge{state, "●", "good"}
	case string(centre.RolloutRunning), "applying", "offered":
		return badge{state, "▶", "busy"}
	case string(centre.RolloutPaused), "unconfirmed":
		return badge{state, "▲", "warn"}
	case "failed":
		return badge{state, "✕", "bad"}
	case string(centre.RolloutBack), string(centre.RolloutUndone):
		return badge{state, "◀", "warn"}
	case "waiting":
		return badge{state, "…", "plain"}
	}
	return badge{cmp.Or(state, "unknown"), "■", "plain"}
}

// steerFrame is what the pages of rollouts have.
type steerFrame struct {
	frozen
	List centre.List
	Shut []bundle.Denial
}

// frozen is a frame, and what keeps rollouts from going on.
type frozen struct {
	frame
	Freeze centre.Freeze
	Frozen bool
}

func (s *Server) frozen(r *http.Request, title string) (frozen, error) {
	p := frozen{frame: s.frame(r, title)}
	if s.steer == nil {
		return p, nil
	}
	var err error
	p.Freeze, err = s.steer.Freeze(r.Context())
	p.Frozen = p.Freeze.Until.After(p.Now)
	return p, err
}

func (s *Server) steerFrame(r *http.Request, title string) (steerFrame, error) {
	f, err := s.frozen(r, title)
	p := steerFrame{frozen: f}
	if err != nil {
		return p, err
	}
	if p.List, err = s.steer.List(r.Context()); err != nil {
		return p, err
	}
	if len(p.List.Bundle) > 0 {
		list, err := listOf(p.List.Bundle)
		if err != nil {
			return p, fmt.Errorf("read the list in force: %w", err)
		}
		p.Shut = list.Denials
	}
	return p, nil
}

// What says in a few words what a denial shuts out.
func (steerFrame) What(d bundle.Denial) string {
	if d.Kind == bundle.Revoke {
		return strings.Join(d.Gateways, ", ") + ", the device of then"
	}
	return strings.Join(slices.Concat(d.Networks, d.Gateways), ", ")
}

type rolloutsPage struct {
	steerFrame
	Rollouts []centre.Rollout
}

func (s *Server) pageRollouts(w http.ResponseWriter, r *http.Request) {
	f, err := s.steerFrame(r, "Rollouts")
	p := rolloutsPage{steerFrame: f}
	if err == nil {
		p.Rollouts, err = s.rollouts(r)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, http.StatusOK, "rollouts.html", p)
}

// Progress sums a rollout up: "12 of 40 applied, 1 failed".
func (rolloutsPage) Progress(r centre.Rollout) string {
	var sum centre.RingState
	for _, ring := range r.Rings {
		sum.All += ring.All
		sum.Applied += ring.Applied
		sum.Failed += ring.Failed
		sum.Unconfirmed += ring.Unconfirmed
		sum.Worse += ring.Worse
	}
	text := fmt.Sprintf("%d of %d applied", sum.Applied, sum.All)
	for _, part := range []struct {
		n    int
		word string
	}{{sum.Failed, "failed"}, {sum.Worse, "got worse"}, {sum.Unconfirmed, "unconfirmed"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.word)
		}
	}
	return text
}

type rolloutPage struct {
	steerFrame
	Rollout centre.Rollout
	Trouble []centre.PushState // failed, got worse or unconfirmed
	Rest    []centre.PushState
	sites   map[string]drift
}

// Site is the site of a gateway; empty: it is not known any more.
func (p rolloutPage) Site(gateway string) string { return p.sites[gateway].GatewayState.Site }

func (s *Server) pageRollout(w http.ResponseWriter, r *http.Request) {
	one, err := s.rollout(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	f, err := s.steerFrame(r, fmt.Sprintf("%s, %s", one.Name, one.State))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := rolloutPage{steerFrame: f, Rollout: one}
	if p.sites, err = s.drifts(r); err != nil {
		s.fail(w, r, err)
		return
	}
	for _, g := range one.Gateways {
		if g.State == "failed" || g.State == "unconfirmed" || g.Worse != "" {
			p.Trouble = append(p.Trouble, g)
		} else {
			p.Rest = append(p.Rest, g)
		}
	}
	s.render(w, http.StatusOK, "rollout.html", p)
}

// drift is how what a gateway runs stands to what the centre wants.
type drift struct {
	centre.GatewayState
	Differs bool
	Words   string // "as the centre wants it"; empty: nothing is wanted
}

func driftOf(g centre.GatewayState) drift {
	d := drift{GatewayState: g, Differs: true}
	want := fmt.Sprintf("generation %d", g.Desired.Generation)
	reason := ""
	if g.Trial != nil && g.Trial.Reason != "" {
		reason = ": " + g.Trial.Reason
	}
	switch {
	case g.Desired.Hash == "":
		d.Differs = false
	case g.Desired.Hash == g.Running.Hash && g.State == block.ConfigUnconfirmed:
		d.Differs, d.Words = false, "as the centre wants it, unconfirmed"+reason
	case g.Desired.Hash == g.Running.Hash:
		d.Differs, d.Words = false, "as the centre wants it"
	case g.Mark > g.Desired.Generation:
		d.Words = fmt.Sprintf("it has accepted generation %d, and the centre knows %d at most: restored from an old backup?", g.Mark, g.Desired.Generation)
	case g.State == block.ConfigApplying:
		d.Words = want + " is on trial"
	case g.State == block.ConfigFailed:
		d.Words = "gone back from " + want + reason
	case g.State == block.ConfigOverridden:
		d.Words = "a technician went back by hand; the centre wants " + want
	case g.Silent:
		d.Words = "takes " + want + " when it comes back"
	default:
		d.Words = "the centre wants " + want
	}
	return d
}

// drifts gives how each gateway that the operator may see stands, by name.
func (s *Server) drifts(r *http.Request) (map[string]drift, error) {
	if s.steer == nil {
		return nil, nil
	}
	fleet, err := s.fleet(r)
	of := map[string]drift{}
	for _, g := range fleet {
		of[g.Name] = driftOf(g)
	}
	return of, err
}

// notes are what the page of all sites says of configs and clones.
func notes(site centre.Site, of map[string]drift) []string {
	var all []string
	for _, g := range site.Gateways {
		d := of[g.Name]
		if d.Differs {
			all = append(all, fmt.Sprintf("%s config: %s", g.Name, d.Words))
		}
		if len(d.Clones) > 1 {
			all = append(all, fmt.Sprintf("%d machines call themselves %s", len(d.Clones), g.Name))
		}
	}
	return all
}

// Until is a time to come.
func (f frame) Until(t time.Time) string {
	return t.In(f.Now.Location()).Format("Mon 2 Jan 2006 15:04")
}
