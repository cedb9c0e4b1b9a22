package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// Aims: what the kernel tells of is back within healEvent, what has to be polled
// within healPoll, a data plane with its tunnel within healPlane.
const healEvent, healPoll, healPlane = 2 * time.Second, 5 * time.Second, 2 * time.Second

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
	foreign string
}

// written are sysctls of others' links that our config makes us write.
var written = []string{"/conf/eth1/forwarding"}

func newHealing(ctx context.Context, s *stage) (*healing, error) {
	c, err := buildCounty(ctx, county.Whole().Only("avocet"), "scenario-"+s.name)
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
	if err := plantForeign(ctx, avocet.Node, "kestrel", "heron"); err != nil {
		return err
	}
	var err error
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

// dataPlane is how its removal is called.
const dataPlane = "data plane killed"

// rounds takes one of each kind, then one of each again, and says how long each
// was away.
func (h *healing) rounds(ctx context.Context, kinds []removal, times int) (map[string][]time.Duration, error) {
	took := map[string][]time.Duration{}
	for turn := range times {
		for _, r := range kinds {
			if !r.there(h.victim) {
				continue
			}
			sleep(ctx, h.pause())
			t, err := h.undone(h.want, func() error { return r.do(h.victim, turn) }, 30*time.Second)
			if err != nil {
				return nil, fmt.Errorf("%s, turn %d: %w", r.what, turn+1, err)
			}
			took[r.what] = append(took[r.what], t)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
		}
		sleep(ctx, h.pause())
		t, err := h.killDataPlane(ctx)
		if err != nil {
			return nil, err
		}
		if t > 0 {
			took[dataPlane] = append(took[dataPlane], t)
		}
	}
	return took, nil
}

// pause is how long nobody does anything before the next removal: it is to come
// when the agent rests, and in no step with its polls.
func (h *healing) pause() time.Duration {
	return 300*time.Millisecond + rand.N(pick(h.stage, 2*time.Second, 300*time.Millisecond))
}

// killDataPlane ends the process of kestrel's device as nothing should, and says
// when a host on the LAN had an echo through the tunnel again; 0: there is no
// process.
func (h *healing) killDataPlane(ctx context.Context) (time.Duration, error) {
	planes, err := dataPlanes(h.node)
	pid := planes[h.device]
	if err != nil || pid == 0 {
		return 0, err
	}
	var wg sync.WaitGroup
	var took time.Duration
	var eerr error
	_, err = h.undone(h.want, func() error {
		began := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return err
		}
		wg.Go(func() {
			var at time.Time
			at, eerr = firstEcho(within(ctx, 30*time.Second), h.site.LAN, h.site.Host().String(), records)
			took = at.Sub(began)
		})
		for gone := false; !gone; { // the link goes with the process, a moment later
			part, _ := h.differs(h.want)
			gone = part != ""
		}
		return nil
	}, 30*time.Second)
	wg.Wait()
	if err := errors.Join(err, eerr); err != nil {
		return 0, fmt.Errorf("%s: %w", dataPlane, err)
	}
	return took, nil
}

// tell makes a row of each kind, and one of all that the kernel tells of.
func (s *stage) tell(kinds []removal, took map[string][]time.Duration) {
	var all []time.Duration
	for _, r := range kinds {
		aim := healEvent
		if r.polled {
			aim = healPoll
		} else {
			all = append(all, took[r.what]...)
		}
		if len(took[r.what]) == 0 {
			fmt.Printf("          %s: not ours on this host, so nobody can take it\n", r.what)
			continue
		}
		s.back(r.what, took[r.what], aim)
	}
	s.back("all of these that the kernel tells of", all, healEvent)
	if len(took[dataPlane]) > 0 {
		s.back(dataPlane+", until an echo passed", took[dataPlane], healPlane)
	} else {
		fmt.Printf("          %s: the tunnel is in the kernel, there is no process\n", dataPlane)
	}
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
