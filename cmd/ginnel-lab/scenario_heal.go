package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playHeal has somebody take each kind of object of one network's, again and
// again, while another network's tunnel carries traffic, and measures how long
// it takes until everything is as before. What others made on that host is the
// same before and after, byte by byte.
func playHeal(ctx context.Context, s *stage) error {
	h, err := newHealing(ctx, s)
	if err != nil {
		return err
	}
	defer h.close()
	other, err := startLoad(ctx, h.site.LAN, results)
	if err != nil {
		return err
	}
	took, err := h.rounds(ctx, removals, pick(s, 20, 2))
	if err := errors.Join(err, other.end()); err != nil {
		return err
	}
	s.tell(removals, took)
	if took, err = h.rounds(ctx, shared, pick(s, 20, 2)); err != nil {
		return err
	}
	s.back(shared[0].what, took[shared[0].what], shared[0].aim)
	s.unharmed(other, "heron")
	return h.unchanged(ctx)
}

// healing is avocet with the eye on it. Kestrel is taken from; heron is the
// other network.
type healing struct {
	victim
	stage   *stage
	county  *county.County
	want    seen
	before  string  // the host before us
	foreign string  // what of it is others'
	idle    float64 // the agent's share of a processor while nothing happens, in percent
}

// written are sysctls of others' links that our config makes us write.
var written = []string{"/conf/eth1/forwarding"}

// byTheModule is what the kernel's own WireGuard module clears when any device of
// its kind comes up (wg_open), and never sets again.
const byTheModule = "/conf/all/send_redirects"

func newHealing(ctx context.Context, s *stage) (*healing, error) {
	c, err := buildCounty(ctx, county.Whole().Only("avocet").ByHand(), "scenario-"+s.name)
	if err != nil {
		return nil, err
	}
	h := &healing{stage: s, county: c}
	if err := h.begin(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return h, nil
}

func (h *healing) begin(ctx context.Context) error {
	avocet := h.county.Site("avocet")
	// New links are strict about where packets come from, as on many hosts.
	if err := avocet.Node.Sysctl("net.ipv4.conf.default.rp_filter", "1"); err != nil {
		return err
	}
	// The LAN's link forwards because of us only.
	if err := avocet.Node.Sysctl("net.ipv4.conf.eth1.forwarding", "0"); err != nil {
		return err
	}
	if err := plantForeign(ctx, avocet.Node, "kestrel", "heron"); err != nil {
		return err
	}
	var err error
	if h.before, err = hostState(ctx, avocet.Node); err != nil {
		return err
	}
	if county.Backend == "kernel" && !slices.Contains(written, byTheModule) {
		written = append(written, byTheModule)
	}
	if h.foreign, err = foreignState(ctx, avocet.Node, written...); err != nil {
		return err
	}
	if err := bringUp(ctx, h.county); err != nil {
		return err
	}
	e, err := openEye(avocet.Node)
	if err != nil {
		return err
	}
	h.victim = newVictim(e, avocet, "kestrel")
	if err := avocet.AwaitPlanned(within(ctx, 30*time.Second)); err != nil {
		return err
	}
	h.want, err = e.look()
	return err
}

func (h *healing) close() {
	h.eye.close()
	h.county.Close()
}

// unchanged makes the row about what others made.
func (h *healing) unchanged(ctx context.Context) error {
	after, err := foreignState(ctx, h.node, written...)
	if err != nil {
		return err
	}
	left := differing(h.foreign, after)
	h.stage.zero("changed of what others made on this host", len(left), "lines",
		strings.Join(append([]string{fmt.Sprintf("%s lines compared", thousands(strings.Count(after, "\n")))}, left...), "\n"))
	return nil
}

// slot is how far removals are apart in the full form, at least: so far that no
// object is taken eight times within a minute. That would be a fight, in which
// the agent gives way; a device is taken in five of eighteen ways. again is how far
// apart those of one kind are.
const (
	slot  = 3 * time.Second
	again = 9 * time.Second
)

// rounds takes one of each kind, then one of each again, and says how long each
// was away.
func (h *healing) rounds(ctx context.Context, kinds []removal, times int) (map[string][]time.Duration, error) {
	took := map[string][]time.Duration{}
	next := time.Now()
	for turn := range times {
		for _, r := range kinds {
			why, err := r.missing(h.victim)
			if err != nil {
				return nil, err
			}
			if why != "" && turn == 0 {
				fmt.Printf("          %s: %s\n", r.what, why)
			}
			if why != "" {
				continue
			}
			sleep(ctx, time.Until(next))
			next = next.Add(pick(h.stage, max(slot, again/time.Duration(len(kinds))), 0))
			t, err := h.takeOnce(ctx, r, turn)
			for range 2 { // the agent may have been quicker than we could look
				if errors.Is(err, errNothingChanged) {
					t, err = h.takeOnce(ctx, r, turn)
				}
			}
			if err != nil {
				return nil, fmt.Errorf("%s, turn %d: %w", r.what, turn+1, err)
			}
			took[r.what] = append(took[r.what], t)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
	}
	return took, nil
}

// pause is how long nobody does anything before the next removal: it is to come
// when the agent rests, and in no step with its polls.
func (h *healing) pause() time.Duration {
	return 300*time.Millisecond + rand.N(pick(h.stage, 1200*time.Millisecond, 300*time.Millisecond))
}

// takeOnce takes something and says how long it was away.
func (h *healing) takeOnce(ctx context.Context, r removal, turn int) (time.Duration, error) {
	if err := h.settled(h.want); err != nil {
		return 0, fmt.Errorf("before it: %w", err)
	}
	sleep(ctx, h.pause())
	var echo sync.WaitGroup
	var echoed time.Duration
	var eerr error
	want := h.want
	if r.aim == byPoll {
		// A tunnel without its peer or key for seconds is dead, and its
		// routes are kept from it until it answers again.
		want = want.only(r.part)
	}
	took, err := h.undone(want, r.part, func() error {
		began := time.Now()
		err := r.take(h.victim, turn)
		if err == nil && r.echo {
			echo.Go(func() {
				var at time.Time
				at, eerr = firstEcho(within(ctx, hopelessly), h.site.LAN, h.site.Host().String(), records)
				echoed = at.Sub(began)
			})
		}
		return err
	})
	echo.Wait()
	return max(took, echoed), errors.Join(err, eerr)
}

// tell makes a row of each kind that was taken, and one of all that the kernel
// tells of.
func (s *stage) tell(kinds []removal, took map[string][]time.Duration) {
	var all []time.Duration
	for _, r := range kinds {
		if len(took[r.what]) == 0 {
			continue
		}
		if r.aim == byEvent {
			all = append(all, took[r.what]...)
		}
		s.back(r.what, took[r.what], r.aim)
	}
	s.back("all of these that the kernel tells of", all, byEvent)
}

// back makes the row of how long things were away.
func (s *stage) back(what string, took []time.Duration, aim time.Duration) {
	slices.Sort(took)
	p99 := percentile(took, 99)
	s.row(result{Name: "back, p99: " + what, Value: p99.Seconds(), Unit: "s", Aim: fmt.Sprintf("<= %g", aim.Seconds()), Met: p99 <= aim,
		Detail: fmt.Sprintf("%d times: p50 %.2f s, longest %.2f s", len(took), percentile(took, 50).Seconds(), took[len(took)-1].Seconds())})
}

// percentile of a sorted list, by nearest rank: of fewer than a hundred the 99th
// is the longest.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
