package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/tunnels"
)

// playLeak tries what must not pass, again and again, in each state that a site
// and its hubs can be in, with captures at every interface of the county. What
// may pass is tried as well, so that a network is told from a dead one, and in the
// end the filters are taken away, so that captures are told from blind ones.
func playLeak(ctx context.Context, s *stage) error {
	l, err := newLeak(ctx, s)
	if err != nil {
		return err
	}
	defer l.close()
	for _, st := range leakStates {
		if err := l.play(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	if err := l.blind(ctx); err != nil {
		return err
	}
	s.zero("packets that the captures had no room for", l.log.Missed(), "packets", "else a stray could be among them")
	return nil
}

// leakState is a state that a site can be in.
type leakState struct {
	name  string
	not   string                             // a sort of attempts that is not made; empty: all are
	act   func(*leak, context.Context) error // brings it about and stays in it; attempts go on meanwhile
	then  func(*leak, context.Context) error // mends it, when all has been judged; nil: nothing to mend
	alive func(probe) bool                   // which of the listed ones must pass
}

var leakStates = []leakState{
	{name: "booted with the guard only", act: (*leak).stay, alive: nothing},
	{name: "starting", act: (*leak).startAll, alive: nothing},
	{name: "up", act: (*leak).stay, alive: everything},
	{name: "hub dead", act: (*leak).cutHub, then: (*leak).healHub, alive: notBy("hub-north")},
	{name: "reconfiguring", act: (*leak).reconfigure, alive: everything},
	{name: "agent killed", act: (*leak).killAgents, then: (*leak).startAgents, alive: everything},
	// A device that comes again may have another port, and the old one is nobody's.
	{name: "data plane killed", act: (*leak).killDevices, alive: nothing, not: portFromLAN},
	{name: "stopped", act: (*leak).stopAgents, alive: everything},
	{name: "ginnel down", act: (*leak).down, alive: nothing, not: portFromLAN},
}

func nothing(probe) bool    { return false }
func everything(probe) bool { return true }

// notBy is what does not need a hub.
func notBy(hub string) func(probe) bool {
	return func(a probe) bool { return a.hub != hub }
}

// blind proves that the captures are not: without our filters, and then without
// our routes, every sort of attempt must be seen where it must not be.
func (l *leak) blind(ctx context.Context) error {
	for _, a := range l.agents() {
		if err := a.StartAgent(); err != nil {
			return err
		}
	}
	if err := l.awaitUp(ctx); err != nil {
		return err
	}
	if err := l.stopAll(ctx); err != nil {
		return err
	}
	l.not = ""
	caught := map[string]int{}
	for _, strip := range []func(context.Context, *county.Agent) error{dropTables, cleanUp} {
		for _, a := range l.agents() {
			if err := strip(ctx, a); err != nil {
				return err
			}
		}
		t, err := l.during(ctx, everything, func(ctx context.Context) error { return l.rounds(ctx, 3) })
		if err != nil {
			return err
		}
		for sort, n := range t.caught {
			caught[sort] += n
		}
	}
	var unseen, seen []string
	for _, sort := range l.sorts() {
		if caught[sort] == 0 {
			unseen = append(unseen, sort)
		} else {
			seen = append(seen, fmt.Sprintf("%d %s", caught[sort], sort))
		}
	}
	l.stage.zero("sorts of attempts that nobody would see: without us they are not caught", len(unseen), "sorts",
		strings.Join(append(unseen, "caught: "+strings.Join(seen, "; "), strings.Join(l.parts, ", ")), "\n"))
	return nil
}

// dropTables takes our nftables tables away, and leaves the rest.
func dropTables(ctx context.Context, a *county.Agent) error {
	_, err := a.Node.Run(ctx, "sh", "-ec",
		`for t in $(nft list tables inet | sed -n 's/^table inet \(`+strings.TrimSuffix(tunnels.FilterTable(""), "_")+`_.*\)/\1/p'); do nft delete table inet $t; done`)
	return err
}

func cleanUp(ctx context.Context, a *county.Agent) error {
	_, err := a.Node.Run(ctx, "ginnel", "cleanup")
	return err
}

// play plays one state and adds its rows.
func (l *leak) play(ctx context.Context, st leakState) error {
	ctx = within(ctx, 10*time.Minute)
	l.not = st.not
	t, err := l.during(ctx, st.alive, func(ctx context.Context) error { return st.act(l, ctx) })
	if err != nil {
		return err
	}
	l.rows(st.name, t)
	if st.then == nil {
		return nil
	}
	err = st.then(l, ctx)
	l.spent("mended")
	return err
}

// during makes attempts from before act until after it, and judges them.
func (l *leak) during(ctx context.Context, alive func(probe) bool, act func(context.Context) error) (*tally, error) {
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	l.spent("prepared")
	gen, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var fired error
	var pinged county.Pinged
	var perr error
	wg.Go(func() { fired = l.fire(gen, alive) })
	wg.Go(func() {
		pinged, perr = county.Ping(gen, l.county.Site("avocet").LAN, county.InternetAddress, 5*l.stage.pace(), 0)
	})
	began := time.Now()
	err := act(ctx)
	took := time.Since(began)
	stop()
	wg.Wait()
	l.spent("last round")
	if err := errors.Join(err, fired, perr); err != nil {
		return nil, err
	}
	t := l.judge(alive)
	l.spent("judged")
	t.took = took
	t.internet += pinged.Sent
	t.internetLost += pinged.Lost()
	return t, nil
}

// spent notes what took the time since it was noted last.
func (l *leak) spent(what string) {
	now := time.Now()
	l.parts = append(l.parts, fmt.Sprintf("%s %.1f s", what, now.Sub(l.since).Seconds()))
	l.since = now
}

// rows are those of one state.
func (l *leak) rows(state string, t *tally) {
	s := l.stage
	s.zero(state+": astray", t.astray, "packets", fmt.Sprintf("of %s attempts in %.1f s: %s%s",
		thousands(t.attempts), t.took.Seconds(), strings.Join(l.parts, ", "), t.strays))
	l.parts = nil
	s.zero(state+": forbidden connections", t.answered, "", fmt.Sprintf("%d were dialled besides%s", t.dialled, t.answers))
	s.zero(state+": lost to the internet", t.internetLost, "packets", fmt.Sprintf("of %s", thousands(t.internet)))
	s.zero(state+": lost of what is listed", t.lost, "packets", fmt.Sprintf("of %s that should pass in this state; %s passed in all%s",
		thousands(t.due), thousands(t.passed), t.losses))
}
