package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func TestWindowFreezeAndComingBack(t *testing.T) {
	r, of := sites()
	w, err := centre.ParseWindow("Mon-Thu 19:00-23:00")
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Pushes {
		r.Pushes[i].Window = w
	}
	silent("curlew-1")(of)
	next(t, &r, of, t0.Add(-2*time.Hour), "running||||window Mon 19:00")
	d := Next(r, of, centre.Freeze{Until: t0.Add(time.Hour)}, t0)
	if d.Waits != "frozen until "+t0.Add(time.Hour).Format("Mon 2 Jan")+" 21:00" || len(d.Offer) > 0 || !d.Again.Equal(t0.Add(time.Hour)) {
		t.Errorf("frozen: %+v", d)
	}
	next(t, &r, of, t0, "running|avocet-1 bittern-1|||")
	says(of, "avocet-1", 15, block.ConfigApplied)
	// bittern-1 has not fetched its config when the window shuts.
	next(t, &r, of, t0.Add(3*time.Hour), "running||bittern-1||window Tue 19:00")
	next(t, &r, of, t0.Add(24*time.Hour), "running|bittern-1|||")
	says(of, "bittern-1", 15, block.ConfigApplied)
	next1(&r, of, t0.Add(24*time.Hour))
	if d := next(t, &r, of, t0.Add(25*time.Hour), "done||||"); !d.Live {
		t.Error("curlew-1 has still to come back")
	}
	g := of["curlew-1"]
	g.Silent = false
	of["curlew-1"] = g
	next(t, &r, of, t0.Add(38*time.Hour), "done||||window Wed 19:00")
	next(t, &r, of, t0.Add(48*time.Hour), "done|curlew-1|||")
}

func TestNeeds(t *testing.T) {
	r, of := county()
	r.Pause.Gateways = 3
	r.Pushes[4].Needs = []string{"hub-north", "hub-elsewhere"}
	silent("hub-north")(of)
	next1(&r, of, t0)
	says(of, "hub-south", 15, block.ConfigApplied)
	next1(&r, of, t0)
	next(t, &r, of, t0.Add(10*time.Minute), "running|avocet-1|||")
	says(of, "avocet-1", 15, block.ConfigApplied)
	next1(&r, of, t0.Add(10*time.Minute))
	next(t, &r, of, t0.Add(20*time.Minute), "running|bittern-1|||curlew-1 waits for hub-north")
	says(of, "bittern-1", 15, block.ConfigApplied)
	next1(&r, of, t0.Add(20*time.Minute))
	next(t, &r, of, t0.Add(30*time.Minute), "done||||curlew-1 waits for hub-north")
	g := of["hub-north"]
	g.Silent = false
	of["hub-north"] = g
	next(t, &r, of, t0.Add(40*time.Minute), "done|hub-north|||curlew-1 waits for hub-north")
	says(of, "hub-north", 15, block.ConfigApplied)
	next(t, &r, of, t0.Add(41*time.Minute), "done|curlew-1|||")
}

func TestSilentHubStopsTheOther(t *testing.T) {
	r, of := county()
	r.Pause.Gateways = 3
	next1(&r, of, t0)
	says(of, "hub-north", 15, block.ConfigApplying)
	silent("hub-north")(of)
	next(t, &r, of, t0, "paused||||")
	if !strings.Contains(r.Reason, "hub-south must not change beside it") {
		t.Errorf("reason %q", r.Reason)
	}
	move(t, &r, centre.MoveResume)
	next(t, &r, of, t0, "running|hub-south|||") // an operator said so
}

// What an older rollout has on trial still counts.
func TestApartFromOtherRollouts(t *testing.T) {
	r, of := county()
	r.Pushes = r.Pushes[1:2] // hub-south
	r.Beside = map[string]string{"kestrel": "hub-north"}
	next(t, &r, of, t0, "running||||one after the other: hub-south waits for hub-north")
	r.Beside["kestrel"] = "hub-south" // its own older trial, which this ends
	next(t, &r, of, t0, "running|hub-south|||")
}

// A gateway that is there and does not take its config does not hold up all.
func TestNotTaken(t *testing.T) {
	r, of := sites()
	r.Pause.Gateways = 2
	next(t, &r, of, t0, "running|avocet-1 bittern-1 curlew-1|||")
	for name, after := range map[string]time.Duration{"avocet-1": untaken, "bittern-1": untaken + 1} {
		g := of[name]
		g.Seen = t0.Add(after)
		of[name] = g
	}
	says(of, "curlew-1", 15, block.ConfigApplied)
	next(t, &r, of, t0.Add(6*time.Minute), "running||||")
	for i, want := range []Stage{Offered, Failed, Applied} {
		if p := r.Pushes[i]; p.Stage != want {
			t.Errorf("%s: %q, want %q", p.Gateway, p.Stage, want)
		}
	}
	r.State = centre.RolloutPaused
	later := t0.Add(time.Hour)
	resumed, err := Move(r, centre.MoveResume, later)
	if err != nil || !resumed.Pushes[0].Since.Equal(later) || !resumed.Pushes[1].Excused {
		t.Errorf("after a pause: %+v, %v", resumed.Pushes[:2], err)
	}
}

func TestMovesThatCannotBe(t *testing.T) {
	for state, moves := range map[centre.RolloutState][]centre.Move{
		centre.RolloutRunning: {centre.MoveResume, "stop"},
		centre.RolloutPaused:  {centre.MovePause},
		centre.RolloutDone:    {centre.MovePause, centre.MoveResume, centre.MoveAbort},
		centre.RolloutUndone:  {centre.MovePause, centre.MoveResume, centre.MoveAbort, centre.MoveBack},
		centre.RolloutBack:    {centre.MovePause, centre.MoveResume, centre.MoveBack},
	} {
		for _, m := range moves {
			if _, err := Move(Rollout{State: state}, m, t0); err == nil {
				t.Errorf("%s of one that is %s: done", m, state)
			}
		}
	}
}

func TestNothingToPush(t *testing.T) {
	r := Rollout{Rings: []string{"hubs"}, State: centre.RolloutRunning}
	next(t, &r, nil, t0, "done||||")
}

func TestMayAndHand(t *testing.T) {
	w, err := centre.ParseWindow("Mon 19:00-21:00")
	if err != nil {
		t.Fatal(err)
	}
	p := Push{Ring: 1, Window: w, Config: centre.ConfigRef{Generation: 15, Hash: "15"}, Progress: Progress{Stage: Offered}}
	running := Rollout{State: centre.RolloutRunning, Ring: 1}
	g := Gateway{Running: centre.ConfigRef{Generation: 14, Hash: "14"}, Mark: 14, Wanted: p.Config}
	for _, tt := range []struct {
		name   string
		change func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time)
		want   bool
	}{
		{"good", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {}, true},
		{"paused", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {
			r.State = centre.RolloutPaused
		}, false},
		{"a later ring", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { r.Ring = 0 }, false},
		{"frozen", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { f.Until = now.Add(1) }, false},
		{"not frozen any more", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { f.Until = *now }, true},
		{"outside", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { *now = now.Add(time.Hour) }, false},
		{"back, though outside and frozen", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {
			*now, p.Returning, r.State = now.Add(time.Hour), true, centre.RolloutBack
			f.Until, p.Back = now.Add(1), p.Config
		}, true},
		{"applied before, and lost", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {
			r.State, p.Stage, g.Running, g.Mark = centre.RolloutPaused, Applied, centre.ConfigRef{}, 0
		}, true},
		{"runs it", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { g.Running = p.Config }, false},
		{"tries it", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {
			g.Offer, g.State = "15", block.ConfigApplying
		}, false},
		{"has had it, and lost the offer", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { g.Mark = 15 }, true},
		{"has had newer", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { g.Mark = 16 }, false},
		{"failed", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {
			g.Offer, g.State, g.Inconclusive = "15", block.ConfigFailed, true
		}, false},
		{"failed, and is to be tried again", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) {
			g.Offer, g.State, g.Inconclusive, p.Tries = "15", block.ConfigFailed, true, 1
		}, true},
		{"stopped", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { g.Stopped = true }, false},
		{"nothing wanted", func(r *Rollout, p *Push, g *Gateway, f *centre.Freeze, now *time.Time) { g.Wanted = centre.ConfigRef{} }, false},
	} {
		r, p, g, f, now := running, p, g, centre.Freeze{}, t0
		tt.change(&r, &p, &g, &f, &now)
		if got := r.Hand(p, g, f, now); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
