package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/tunnels"
)

// Bounds of what a rollout is called, in bytes.
const mostName = 200

// leap is how far above the present one the number of a config or of a list may
// be: gateways take no greater, and behind the last number there is none.
const leap = 1_000_000

// StartRollout records a push and begins it. The error is a *Refusal where
// the push, or the time, is not right.
func (s *Server) StartRollout(ctx context.Context, by store.By, n centre.NewRollout) (centre.Rollout, error) {
	if err := checkRollout(n); err != nil {
		return centre.Rollout{}, err
	}
	pushes, bundles, err := readPushes(n)
	if err != nil {
		return centre.Rollout{}, err
	}
	ctx = context.WithoutCancel(ctx) // what is begun is done, though whoever asked hangs up
	s.steer.work.Lock()
	defer s.steer.work.Unlock()
	if err := s.mayStart(n, pushes); err != nil {
		return centre.Rollout{}, err
	}
	all, err := s.o.Store.Rollouts(ctx)
	if err != nil {
		return centre.Rollout{}, err
	}
	now := s.o.Now()
	kept := store.Rollout{ID: strconv.Itoa(len(all) + 1), Name: n.Name, By: by.Name, Rings: n.Rings, Window: n.Window, Pause: n.Pause,
		Began: now.UTC().Truncate(time.Microsecond), State: centre.RolloutRunning, Live: true}
	if len(pushes) == 0 {
		kept.State, kept.Live, kept.Ended = centre.RolloutDone, false, kept.Began
	}
	act := store.Event{At: now, Actor: by.Name, From: by.From, Act: "rollout start", Object: kept.ID, Detail: n.Name, New: size(n)}
	if err := s.begin(ctx, kept, pushes, bundles, act, n.Wanted); err != nil {
		return centre.Rollout{}, err
	}
	s.decide(ctx)
	s.wake()
	return s.rollout(ctx, kept.ID)
}

func size(n centre.NewRollout) string {
	return fmt.Sprintf("%d gateways in rings %s", len(n.Pushes), strings.Join(n.Rings, ", "))
}

// begin keeps a rollout, and takes its gateways out of those that have ended;
// the caller holds work.
func (s *Server) begin(ctx context.Context, kept store.Rollout, pushes []store.Push, bundles []store.Bundle, act store.Event, wanted map[string][]string) error {
	if err := s.o.Store.AskKeys(ctx, wanted); err != nil {
		return err
	}
	asked, err := s.o.Store.AskedKeys(ctx)
	if err != nil {
		return err
	}
	l, err := newLive(kept, pushes)
	if err != nil {
		return err
	}
	// Nothing may fail between the store and the memory: a rollout that is in
	// the store only would not move, and let no other begin.
	if err := s.o.Store.StartRollout(ctx, kept, pushes, bundles, []store.Event{act}); err != nil {
		if errors.Is(err, store.ErrBusy) {
			return &Refusal{http.StatusConflict, "rollout_busy", err.Error(), ""}
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steer.asked = asked
	s.supersede(func(g string) bool { return l.push(g) != nil }, kept.Began)
	if kept.Live {
		s.steer.live = slices.Insert(s.steer.live, 0, l)
	}
	s.o.Log.Info("a rollout begins", "rollout", kept.ID, "name", kept.Name, "by", kept.By, "gateways", len(pushes))
	return nil
}

func badPush(format string, a ...any) error {
	return &Refusal{http.StatusBadRequest, "bad_rollout", fmt.Sprintf(format, a...), ""}
}

// checkRollout says what is wrong with the shape of a push.
func checkRollout(n centre.NewRollout) error {
	switch _, err := centre.ParseWindow(n.Window); {
	case err != nil:
		return badPush("%v", err)
	case len(n.Name) > mostName || strings.ContainsFunc(n.Name, unicode.IsControl):
		return badPush("the rollout's name is too long, or no single line")
	case len(n.Rings) == 0 || n.Rings[0] != "hubs":
		return badPush("the first ring is not %q", "hubs")
	case len(n.Pushes) == 0 && len(n.Wanted) == 0:
		return badPush("there is nothing to push")
	case n.Pause.Gateways < 0 || !(n.Pause.Share >= 0 && n.Pause.Share <= 1) || !(n.Pause.Within >= 0 && n.Pause.Within <= 7*24*3600):
		return badPush("the pause of %d gateways, %v of a ring, within %v s is none", n.Pause.Gateways, n.Pause.Share, n.Pause.Within)
	}
	at := map[string]centre.Push{}
	for _, p := range n.Pushes {
		if _, twice := at[p.Gateway]; twice {
			return badPush("gateway %s is there twice", p.Gateway)
		}
		if p.Ring < 0 || p.Ring >= len(n.Rings) {
			return badPush("gateway %s is in ring %d of %d", p.Gateway, p.Ring, len(n.Rings))
		}
		if _, err := centre.ParseWindow(p.Window); err != nil {
			return badPush("gateway %s: %v", p.Gateway, err)
		}
		at[p.Gateway] = p
	}
	for _, p := range n.Pushes { // else some would wait for each other for ever
		for _, name := range p.Needs {
			if q, ok := at[name]; ok && (q.Ring > p.Ring || len(q.Needs) > 0) {
				return badPush("gateway %s needs %s, which comes later, or needs others itself", p.Gateway, name)
			}
		}
	}
	return nil
}

// readPushes takes the bundles apart, on all processors. Whether their signers
// are to be believed the collector cannot tell: it knows none.
func readPushes(n centre.NewRollout) ([]store.Push, []store.Bundle, error) {
	pushes, bundles, errs := make([]store.Push, len(n.Pushes)), make([][]store.Bundle, len(n.Pushes)), make([]error, len(n.Pushes))
	var wg sync.WaitGroup
	share := len(n.Pushes)/runtime.GOMAXPROCS(0) + 1
	for from := 0; from < len(n.Pushes); from += share {
		wg.Go(func() {
			for i := from; i < min(from+share, len(n.Pushes)); i++ {
				pushes[i], bundles[i], errs[i] = readPush(n.Pushes[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	return pushes, slices.Concat(bundles...), nil
}

func readPush(p centre.Push) (store.Push, []store.Bundle, error) {
	kept := store.Push{Gateway: p.Gateway, Ring: p.Ring, Window: p.Window, Needs: p.Needs, Apart: p.Apart, Progress: []byte(`{}`)}
	there, c, err := readBundle(p.Gateway, p.Bundle)
	if err != nil {
		return kept, nil, err
	}
	kept.Config = there.ConfigRef
	// Whoever planned it: no two hubs of a network on trial at once.
	for _, n := range c.Networks {
		if word := "network " + n.Name; n.Role == tunnels.Hub && !slices.Contains(kept.Apart, word) {
			kept.Apart = append(slices.Clip(kept.Apart), word)
		}
	}
	if len(p.Back) == 0 {
		return kept, []store.Bundle{there}, nil
	}
	back, _, err := readBundle(p.Gateway, p.Back)
	if err != nil {
		return kept, nil, err
	}
	if back.Generation <= there.Generation {
		return kept, nil, badPush("gateway %s: the way back has generation %d, which is not above %d", p.Gateway, back.Generation, there.Generation)
	}
	kept.Back = back.ConfigRef
	return kept, []store.Bundle{there, back}, nil
}

// readBundle says what a bundle is, and that it is for the gateway.
func readBundle(gateway string, raw []byte) (store.Bundle, *config.Config, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return store.Bundle{}, nil, badPush("the config for %s: %v", gateway, err)
	}
	if _, err := b.Claimed(bundle.Config); err != nil {
		return store.Bundle{}, nil, badPush("the config for %s: %v", gateway, err)
	}
	c, err := config.Parse(gateway, b.Text)
	switch {
	case err != nil:
		return store.Bundle{}, nil, badPush("the config for %s: %v", gateway, err)
	case c.Gateway != gateway:
		return store.Bundle{}, nil, badPush("the config for %s is one of %s", gateway, c.Gateway)
	case c.Generation == 0:
		return store.Bundle{}, nil, badPush("the config for %s has no generation", gateway)
	}
	return store.Bundle{Gateway: gateway, ConfigRef: centre.ConfigRef{Generation: c.Generation, Hash: b.Hash()}, Bytes: raw}, c, nil
}

// mayStart says what stands in the way of a push now: another one, or what was
// wanted of its gateways since it was planned.
func (s *Server) mayStart(n centre.NewRollout, pushes []store.Push) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.free(); err != nil {
		return err
	}
	now := s.o.Now()
	var wrong []string
	for i, p := range pushes {
		over, g, w := n.Pushes[i].Over, s.steer.past[p.Gateway], s.steer.wanted[p.Gateway]
		if a := s.agents[p.Gateway]; a != nil {
			g = s.complete(p.Gateway, a.gateway(), now)
		}
		if most := max(w.Generation, g.Mark) + leap; p.Config.Generation > most || p.Back.Generation > most {
			return badPush("gateway %s: generation %d is above %d: not so far above %d", p.Gateway, max(p.Config.Generation, p.Back.Generation), most, most-leap)
		}
		ran := over.Hash != "" && over.Hash == g.Running.Hash && (w.Hash == "" || w.Stopped) // and is what counts there
		switch {
		case over.Hash != w.Hash && !ran:
			wrong = append(wrong, fmt.Sprintf("%s: %s is wanted there since %s, by rollout %s", p.Gateway, ref(w.ConfigRef), w.Since.UTC().Format(time.RFC3339), w.Rollout))
		case p.Config.Generation <= w.Generation:
			wrong = append(wrong, fmt.Sprintf("%s: generation %d is not above %d, which rollout %s wants there", p.Gateway, p.Config.Generation, w.Generation, w.Rollout))
		case p.Config.Generation <= g.Mark:
			wrong = append(wrong, fmt.Sprintf("%s: generation %d is not above %d, which it has accepted", p.Gateway, p.Config.Generation, g.Mark))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &Refusal{http.StatusConflict, "plan_outdated", "the plan is older than what was pushed since: " + few(wrong), "ginnelctl plan again, and push that"}
}

// free says whether a rollout may begin; the caller holds mu.
func (s *Server) free() error {
	for _, l := range s.steer.live {
		if l.busy() {
			return &Refusal{http.StatusConflict, "rollout_busy",
				fmt.Sprintf("rollout %s (%s), which %s started at %s, is %s", l.ID, l.Name, l.By, l.Began.UTC().Format(time.RFC3339), l.State),
				"wait for its end, or: ginnelctl rollout abort " + l.ID}
		}
	}
	return nil
}

// few is the first of many.
func few(all []string) string {
	const most = 5
	if len(all) > most {
		return strings.Join(all[:most], "; ") + fmt.Sprintf("; and %d more", len(all)-most)
	}
	return strings.Join(all, "; ")
}
