package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// world is a random fleet and a centre that follows Next's decisions. It looks
// at what gateways are handed, not at what was decided.
type world struct {
	t      *testing.T
	rnd    *rand.Rand
	r      Rollout
	freeze centre.Freeze
	now    time.Time
	gates  []*gate
	of     map[string]*gate
	story  []string
}

// gate is one gateway as it is, not as the centre knows it.
type gate struct {
	name    string
	online  bool
	flaky   bool
	health  checks.State
	running centre.ConfigRef
	mark    uint64
	offer   string
	state   block.ConfigState
	until   time.Time // of the trial that runs
	began   time.Time
	end     block.ConfigState // of the trial
	vague   bool              // the trial's end is inconclusive
	failed  map[string]bool   // hashes that failed, conclusively

	seen  time.Time // by the centre
	given string
	known Gateway // what it said last
	want  centre.ConfigRef
	stop  bool
}

var windows = []string{"", "", "Mon-Thu 19:00-23:00", "02:00-04:00", "Fri 22:00-02:00", "Sun 00:30-01:30"}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), of: map[string]*gate{},
		now: time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC).Add(time.Duration(seed%5) * 53 * 24 * time.Hour)}
	w.r = Rollout{State: centre.RolloutRunning, Rings: []string{"hubs", "canary", "rest"},
		Pause: centre.Pause{Gateways: 1 + w.rnd.IntN(3), Share: 0.2 * w.rnd.Float64(), Within: float64(w.rnd.IntN(900))}}
	hubs, sites := 1+w.rnd.IntN(4), w.rnd.IntN(12)
	for i := range hubs + sites {
		g := &gate{name: fmt.Sprintf("site-%d", i), online: w.rnd.IntN(6) > 0, flaky: w.rnd.IntN(8) == 0, health: checks.Up, mark: 1,
			running: centre.ConfigRef{Generation: 1, Hash: fmt.Sprint("old", i)}, failed: map[string]bool{}}
		g.want, g.seen = g.running, w.now
		p := Push{Ring: 1 + w.rnd.IntN(2), Config: centre.ConfigRef{Generation: 2, Hash: fmt.Sprint("new", i)}, Back: centre.ConfigRef{Generation: 3, Hash: fmt.Sprint("back", i)}}
		if i < hubs {
			g.name = fmt.Sprintf("hub-%d", i)
			p.Ring, p.Apart = 0, []string{fmt.Sprint("net", w.rnd.IntN(2)), fmt.Sprint("net", w.rnd.IntN(3))}
		} else if w.rnd.IntN(2) == 0 {
			p.Needs = []string{fmt.Sprintf("hub-%d", w.rnd.IntN(hubs)), "hub-elsewhere"}
		}
		p.Gateway = g.name
		var err error
		if p.Window, err = centre.ParseWindow(windows[w.rnd.IntN(len(windows))]); err != nil {
			t.Fatal(err)
		}
		w.r.Pushes, w.gates, w.of[g.name] = append(w.r.Pushes, p), append(w.gates, g), g
	}
	return w
}

func (w *world) push(name string) *Push {
	return &w.r.Pushes[slices.IndexFunc(w.r.Pushes, func(p Push) bool { return p.Gateway == name })]
}

// decide asks Next and does what it says.
func (w *world) decide() Decision {
	of := map[string]Gateway{}
	for _, g := range w.gates {
		k := g.known
		k.Seen, k.Silent = g.seen, w.now.Sub(g.seen) > 90*time.Second
		k.Wanted, k.Stopped = g.want, g.stop
		k.Given = g.given == w.push(g.name).Target().Hash
		of[g.name] = k
	}
	d := Next(w.r, of, w.freeze, w.now)
	for _, name := range d.Withdraw {
		if of[name].Given {
			w.fail("%s was handed it, and is taken it away", name)
		}
	}
	if d.State != w.r.State || len(d.Offer)+len(d.Withdraw)+len(d.Back) > 0 {
		w.tell("%s ring %d, offer %v, withdraw %v, back %v, %s", d.State, d.Ring, d.Offer, d.Withdraw, d.Back, d.Reason)
	}
	apply(&w.r, d)
	for _, c := range d.Changed {
		if ref, stop, ok := c.Wanted(); ok {
			w.of[c.Gateway].want, w.of[c.Gateway].stop = ref, stop
		}
	}
	return d
}

// hear is one message of a gateway, and the centre's answer.
func (w *world) hear(g *gate) {
	g.seen = w.now
	g.known = Gateway{Running: g.running, Mark: g.mark, Offer: g.offer, State: g.state, Health: g.health, Began: g.began,
		Inconclusive: g.vague && g.state == block.ConfigFailed, Reason: "x"}
	p := w.push(g.name)
	k := g.known
	k.Wanted, k.Stopped = g.want, g.stop
	if !w.r.Hand(*p, k, w.freeze, w.now) {
		return
	}
	w.handed(g, p)
	g.given = g.want.Hash
	if w.rnd.IntN(10) == 0 {
		return // the answer was lost
	}
	g.offer, g.state, g.mark, g.began = g.want.Hash, block.ConfigApplying, g.want.Generation, w.now
	g.until = w.now.Add(time.Duration(w.rnd.IntN(200)) * time.Second)
	g.end, g.vague = block.ConfigApplied, false
	switch w.rnd.IntN(12) {
	case 0:
		g.end = block.ConfigFailed
	case 1:
		g.end, g.vague = block.ConfigFailed, true
	case 2:
		g.end = block.ConfigUnconfirmed
	}
}

// handed is what holds whenever a gateway is handed a config.
func (w *world) handed(g *gate, p *Push) {
	back := g.want == p.Back
	w.tell("%s is handed %s", g.name, g.want.Hash)
	switch {
	case g.failed[g.want.Hash]:
		w.fail("%s is handed what failed there", g.name)
	case back && w.r.State != centre.RolloutBack && w.r.State != centre.RolloutUndone:
		w.fail("%s is sent back while it is %s", g.name, w.r.State)
	case !back && w.r.State != centre.RolloutRunning && w.r.State != centre.RolloutDone:
		w.fail("%s is handed a config while it is %s", g.name, w.r.State)
	case !back && !p.Window.Open(w.now):
		w.fail("%s is handed it outside %q", g.name, p.Window)
	case !back && w.now.Before(w.freeze.Until):
		w.fail("%s is handed it though all is frozen", g.name)
	}
	for i, q := range w.r.Pushes {
		other := w.gates[i]
		on := other != g && (other.state == block.ConfigApplying || other.state == block.ConfigUnconfirmed)
		if on && !q.Excused && slices.ContainsFunc(p.Apart, func(word string) bool { return slices.Contains(q.Apart, word) }) {
			w.fail("%s is handed it beside the trial at %s", g.name, other.name)
		}
		if !back && slices.Contains(p.Needs, other.name) && other.running != q.Config {
			w.fail("%s is handed it before %s runs its own", g.name, other.name)
		}
	}
}

// live is twenty seconds of a gateway's life.
func (w *world) live(g *gate, calm bool) {
	if !calm && w.rnd.IntN(400) == 0 || calm && !g.online {
		g.online = !g.online
	}
	if !calm && g.flaky && w.rnd.IntN(300) == 0 {
		g.health = []checks.State{checks.Up, checks.Down, checks.UnknownState}[w.rnd.IntN(3)]
	}
	if g.state == block.ConfigUnconfirmed && g.online {
		g.state = block.ConfigApplied // by a receipt
	}
	if g.state == block.ConfigApplying && !w.now.Before(g.until) {
		if g.state = g.end; g.state == block.ConfigFailed {
			g.failed[g.offer] = !g.vague
			w.tell("%s: %s failed, inconclusive %v", g.name, g.offer, g.vague)
		} else if p := w.push(g.name); g.offer == p.Back.Hash {
			g.running = p.Back
		} else {
			g.running = p.Config
		}
	}
	if g.online && w.rnd.IntN(5) > 0 {
		w.hear(g)
	}
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, w.now.Format("Mon 15:04:05 ")+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.story {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

// TestRandomFleets pushes to fleets in which anything happens, and in the end
// nothing more does.
func TestRandomFleets(t *testing.T) {
	ends := map[centre.RolloutState]int{}
	for seed := range uint64(60) {
		w := newWorld(t, seed)
		w.run()
		ends[w.r.State]++
	}
	t.Log(ends)
	if ends[centre.RolloutDone] == 0 || ends[centre.RolloutUndone] == 0 {
		t.Error("the fleets are not what they should be: some end well, some go back")
	}
}

func (w *world) run() {
	const days = 40
	pauses, calm := 0, w.now.Add(12*time.Hour)
	for end := w.now.Add(days * 24 * time.Hour); w.now.Before(end); {
		w.now = w.now.Add(20 * time.Second)
		quiet := w.now.After(calm)
		for _, g := range w.gates {
			w.live(g, quiet)
		}
		d := w.decide()
		switch w.r.State {
		case centre.RolloutPaused:
			if pauses++; pauses%50 == 0 {
				m := centre.MoveResume
				if w.rnd.IntN(3) == 0 {
					m = centre.MoveBack
				}
				w.move(m)
			}
		case centre.RolloutRunning:
			if !quiet && w.rnd.IntN(1500) == 0 {
				w.move([]centre.Move{centre.MovePause, centre.MoveBack}[w.rnd.IntN(2)])
			} else if !quiet && w.rnd.IntN(1500) == 0 {
				w.freeze.Until = w.now.Add(time.Hour)
			}
		case centre.RolloutDone, centre.RolloutUndone:
			if !d.Live || quiet && w.stuck() {
				return
			}
		}
		if idle := !d.Again.IsZero() && d.Again.Sub(w.now) > 20*time.Minute; idle && quiet {
			w.skip(d.Again)
		}
	}
	w.fail("after %d days it is %s, ring %d: %s", days, w.r.State, w.r.Ring, w.decide().Waits)
}

// stuck says whether all that waits needs a hub that will not have its config.
func (w *world) stuck() bool {
	return !slices.ContainsFunc(w.r.Pushes, func(p Push) bool {
		failed := func(name string) bool { return w.of[name] != nil && w.push(name).Stage == Failed }
		return p.onTrial() || p.Stage == Waiting && !slices.ContainsFunc(p.Needs, failed)
	})
}

// skip goes to when something is next to be decided, where nobody is on trial
// and nobody has still to fetch what it is to have.
func (w *world) skip(to time.Time) {
	for i, g := range w.gates {
		if g.state == block.ConfigApplying || w.r.Pushes[i].Stage == Offered {
			return
		}
	}
	w.now = to.Add(-time.Minute)
	for _, g := range w.gates {
		g.seen = w.now
	}
}

func (w *world) move(m centre.Move) {
	moved, err := Move(w.r, m, w.now)
	if err != nil {
		w.fail("%s: %v", m, err)
	}
	w.tell("an operator: %s", m)
	w.r = moved
}
