package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// t0 is a Monday, 20:00 in London.
var t0 = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)

// county is a rollout of two hubs and three sites, all heard and up.
func county() (Rollout, map[string]Gateway) {
	r := Rollout{Rings: []string{"hubs", "canary", "rest"}, State: centre.RolloutRunning,
		Pause: centre.Pause{Gateways: 1, Share: 0.02, Within: 600}}
	of := map[string]Gateway{}
	for i, name := range []string{"hub-north", "hub-south", "avocet-1", "bittern-1", "curlew-1"} {
		p := Push{Gateway: name, Config: centre.ConfigRef{Generation: 15, Hash: name + "/15"}, Back: centre.ConfigRef{Generation: 16, Hash: name + "/16"}}
		switch {
		case i < 2:
			p.Apart = []string{"kestrel"}
		case i == 2:
			p.Ring = 1
		default:
			p.Ring = 2
		}
		r.Pushes = append(r.Pushes, p)
		old := centre.ConfigRef{Generation: 14, Hash: name + "/14"}
		of[name] = Gateway{Running: old, Wanted: old, Mark: 14, Health: checks.Up, Seen: t0}
	}
	return r, of
}

// apply is what whoever asks does with a decision.
func apply(r *Rollout, d Decision) {
	r.State, r.Reason, r.Ring = d.State, d.Reason, d.Ring
	r.Pushes = slices.Clone(r.Pushes)
	for _, c := range d.Changed {
		r.Pushes[slices.IndexFunc(r.Pushes, func(p Push) bool { return p.Gateway == c.Gateway })] = c
	}
}

// says has a gateway report on generation n of its configs.
func says(of map[string]Gateway, name string, n uint64, state block.ConfigState) {
	g := of[name]
	ref := centre.ConfigRef{Generation: n, Hash: fmt.Sprintf("%s/%d", name, n)}
	g.Given, g.Offer, g.State, g.Mark = true, ref.Hash, state, max(g.Mark, n)
	if state == block.ConfigApplied {
		g.Running = ref
	}
	of[name] = g
}

func next(t *testing.T, r *Rollout, of map[string]Gateway, now time.Time, want string) Decision {
	t.Helper()
	d := Next(*r, of, centre.Freeze{}, now)
	apply(r, d)
	got := strings.Join([]string{string(d.State), strings.Join(d.Offer, " "), strings.Join(d.Withdraw, " "), strings.Join(d.Back, " "), d.Waits}, "|")
	if got != want {
		t.Fatalf("at %s: %s\nwant %s\nreason %q", now.Format("15:04"), got, want, d.Reason)
	}
	if same := Next(*r, of, centre.Freeze{}, now); len(same.Changed)+len(same.Offer)+len(same.Withdraw)+len(same.Back) > 0 || same.State != d.State {
		t.Fatalf("asked twice, it decides something else: %+v", same)
	}
	return d
}

func TestRings(t *testing.T) {
	r, of := county()
	next(t, &r, of, t0, "running|hub-north|||one after the other: hub-south waits for hub-north")
	says(of, "hub-north", 15, block.ConfigApplying)
	next(t, &r, of, t0, "running||||one after the other: hub-south waits for hub-north")
	says(of, "hub-north", 15, block.ConfigApplied)
	next(t, &r, of, t0.Add(time.Minute), "running|hub-south|||")
	says(of, "hub-south", 15, block.ConfigApplied)
	d := next(t, &r, of, t0.Add(2*time.Minute), "running||||ring hubs is watched until Mon 20:11")
	if want := t0.Add(11 * time.Minute); !d.Again.Equal(want) {
		t.Errorf("looks again %v, want %v", d.Again, want)
	}
	next(t, &r, of, t0.Add(12*time.Minute), "running|avocet-1|||")
	says(of, "avocet-1", 15, block.ConfigApplied)
	next(t, &r, of, t0.Add(13*time.Minute), "running||||ring canary is watched until Mon 20:23")
	next(t, &r, of, t0.Add(23*time.Minute), "running|bittern-1 curlew-1|||")
	says(of, "bittern-1", 15, block.ConfigApplied)
	says(of, "curlew-1", 15, block.ConfigApplied)
	next(t, &r, of, t0.Add(24*time.Minute), "running||||ring rest is watched until Mon 20:34")
	if d := next(t, &r, of, t0.Add(34*time.Minute), "done||||"); d.Live {
		t.Error("it is still live, though nothing more can become of it")
	}
}

func TestFailurePausesAndBackUndoes(t *testing.T) {
	r, of := county()
	for _, hub := range []string{"hub-north", "hub-south"} {
		next1(&r, of, t0)
		says(of, hub, 15, block.ConfigApplied)
	}
	next1(&r, of, t0)
	next(t, &r, of, t0.Add(10*time.Minute), "running|avocet-1|||")
	g := of["avocet-1"]
	g.Reason, g.Evidence = "the collector answers beside our tables only", []string{"route 198.51.100.0/24 was there, is not"}
	of["avocet-1"] = g
	says(of, "avocet-1", 15, block.ConfigFailed)
	d := next(t, &r, of, t0.Add(12*time.Minute), "paused||||")
	if want := "1 of 1 gateways of ring canary got worse: avocet-1: the collector answers beside our tables only"; d.Reason != want {
		t.Errorf("reason %q, want %q", d.Reason, want)
	}
	if ref, stopped, ok := r.Pushes[2].Wanted(); !stopped || !ok || ref != r.Pushes[2].Config || len(r.Pushes[2].Evidence) != 1 {
		t.Errorf("wanted %v, stopped %v, %v; %+v", ref, stopped, ok, r.Pushes[2])
	}
	next(t, &r, of, t0.Add(time.Hour), "paused||||")
	move(t, &r, centre.MoveResume)
	next(t, &r, of, t0.Add(time.Hour), "running|bittern-1 curlew-1|||") // avocet-1 is excused, and not offered again
	says(of, "bittern-1", 15, block.ConfigApplied)
	next(t, &r, of, t0.Add(61*time.Minute), "running||||")
	move(t, &r, centre.MoveBack)
	// curlew-1 has not been handed it; hubs have nobody that needs them here.
	next(t, &r, of, t0.Add(62*time.Minute), "going back||curlew-1|hub-north bittern-1|one after the other: hub-south waits for hub-north")
	says(of, "hub-north", 16, block.ConfigApplied)
	says(of, "bittern-1", 16, block.ConfigApplied)
	next(t, &r, of, t0.Add(63*time.Minute), "going back|||hub-south|")
	says(of, "hub-south", 16, block.ConfigApplied)
	next(t, &r, of, t0.Add(64*time.Minute), "back||||")
	for i, want := range []Stage{Gone, Gone, Failed, Gone, Waiting} {
		if got := r.Pushes[i].Stage; got != want {
			t.Errorf("%s: %q, want %q", r.Pushes[i].Gateway, got, want)
		}
	}
	if ref, _, _ := r.Pushes[4].Wanted(); ref != of["curlew-1"].Wanted {
		t.Errorf("curlew-1 is wanted to run %v", ref)
	}
}

func next1(r *Rollout, of map[string]Gateway, now time.Time) {
	apply(r, Next(*r, of, centre.Freeze{}, now))
}

func move(t *testing.T, r *Rollout, m centre.Move) {
	t.Helper()
	moved, err := Move(*r, m, t0)
	if err != nil {
		t.Fatal(err)
	}
	*r = moved
}

// sites leaves the hubs out and puts all in one ring.
func sites() (Rollout, map[string]Gateway) {
	r, of := county()
	r.Rings, r.Pushes = []string{"hubs", "rest"}, r.Pushes[2:]
	for i := range r.Pushes {
		r.Pushes[i].Ring = 1
	}
	return r, of
}

func TestWhatPauses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pause  centre.Pause
		change func(of map[string]Gateway)
		after  time.Duration
		want   string // reason; empty: goes on
	}{
		{"nothing", centre.Pause{Gateways: 1, Within: 600}, func(map[string]Gateway) {}, time.Minute, ""},
		{"worse health", centre.Pause{Gateways: 1, Within: 600}, health("avocet-1", checks.Down), time.Minute, "avocet-1: down, was up: x"},
		{"worse health, later", centre.Pause{Gateways: 1, Within: 60}, health("avocet-1", checks.Down), 2 * time.Minute, ""},
		{"no better health", centre.Pause{Gateways: 1, Within: 600}, health("bittern-1", checks.Down), time.Minute, ""},
		{"unknown is not worse", centre.Pause{Gateways: 1, Within: 600}, health("avocet-1", checks.UnknownState), time.Minute, ""},
		{"fewer than it takes", centre.Pause{Gateways: 2, Within: 600}, health("avocet-1", checks.Down), time.Minute, ""},
		{"fewer than the share", centre.Pause{Gateways: 1, Share: 0.5, Within: 600}, health("avocet-1", checks.Down), time.Minute, ""},
		{"a measure of nothing is one", centre.Pause{Within: 600}, health("avocet-1", checks.Down), time.Minute, "avocet-1: down, was up: x"},
		{"silence", centre.Pause{Gateways: 1, Within: 600}, silent("avocet-1"), time.Minute, "avocet-1: silent since it was given its config"},
		{"silence of most", centre.Pause{Gateways: 1, Within: 600}, silent("avocet-1", "bittern-1", "curlew-1"), time.Minute, ""},
		{"by hand", centre.Pause{Gateways: 1, Within: 600}, func(of map[string]Gateway) { says(of, "avocet-1", 15, block.ConfigOverridden) }, time.Minute, "avocet-1: a technician went back by hand"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, of := sites()
			r.Pause = tt.pause
			g := of["bittern-1"]
			g.Health = checks.Down
			of["bittern-1"] = g
			next1(&r, of, t0)
			for _, p := range r.Pushes {
				says(of, p.Gateway, 15, block.ConfigApplied)
			}
			next1(&r, of, t0)
			tt.change(of)
			next1(&r, of, t0.Add(tt.after))
			if paused := r.State == centre.RolloutPaused; paused != (tt.want != "") || !strings.Contains(r.Reason, tt.want) {
				t.Errorf("%s: %q, want %q", r.State, r.Reason, tt.want)
			}
		})
	}
}

func health(name string, s checks.State) func(map[string]Gateway) {
	return func(of map[string]Gateway) {
		g := of[name]
		g.Health, g.Headline = s, "x"
		of[name] = g
	}
}

func silent(names ...string) func(map[string]Gateway) {
	return func(of map[string]Gateway) {
		for _, name := range names {
			g := of[name]
			g.Silent = true
			of[name] = g
		}
	}
}

// A measure that is larger than a ring still stops behind one that is bad
// altogether.
func TestRingThatIsBadAltogether(t *testing.T) {
	r, of := county()
	r.Pause.Gateways, r.Ring = 3, 1
	r.Pushes = r.Pushes[2:]
	next1(&r, of, t0)
	says(of, "avocet-1", 15, block.ConfigFailed)
	next(t, &r, of, t0, "paused||||")
}

func TestInconclusiveIsTriedAgain(t *testing.T) {
	r, of := sites()
	r.Pushes = r.Pushes[:1]
	now := t0
	for try := range maxTries {
		next(t, &r, of, now, "running|avocet-1|||") // what it said of the last try is no news
		g := of["avocet-1"]
		g.Inconclusive, g.Reason, g.Began = true, "inconclusive", t0.Add(time.Duration(try)*time.Hour)
		of["avocet-1"] = g
		says(of, "avocet-1", 15, block.ConfigFailed)
		if try < maxTries-1 {
			now = next(t, &r, of, now, "running||||avocet-1 is tried again "+clock(now.Add(retryAfter))).Again
		}
	}
	next(t, &r, of, now, "paused||||")
	if r.Pushes[0].Stage != Failed {
		t.Errorf("after %d tries: %+v", maxTries, r.Pushes[0].Progress)
	}
}

func TestOlderThanTheFleet(t *testing.T) {
	r, of := sites()
	g := of["bittern-1"]
	g.Mark = 18
	of["bittern-1"] = g
	next(t, &r, of, t0, "paused||||")
	if want := "bittern-1: it has accepted generation 18 already, this is 15; is the collector's store an older copy?"; r.Reason != want {
		t.Errorf("reason %q, want %q", r.Reason, want)
	}
	move(t, &r, centre.MoveResume)
	next(t, &r, of, t0, "running|avocet-1 curlew-1|||")
}
