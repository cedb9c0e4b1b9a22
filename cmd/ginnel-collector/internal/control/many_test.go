package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/rollout"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// alone is a server without a listener, whose store may be made ill.
func alone(t *testing.T) (*Server, *illStore) {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ill := &illStore{Store: st}
	s, err := New(Options{Store: ill, Dir: t.TempDir(), URL: "https://192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, ill
}

type illStore struct {
	Store
	err     error  // of SaveRollout
	started func() // called when a rollout was kept
}

func (s *illStore) StartRollout(ctx context.Context, r store.Rollout, pushes []store.Push, bundles []store.Bundle, acts []store.Event) error {
	err := s.Store.StartRollout(ctx, r, pushes, bundles, acts)
	if s.started != nil {
		s.started()
	}
	return err
}

func (s *illStore) SaveRollout(ctx context.Context, r store.Rollout, changed []store.Push, wanted []store.Wanted, acts []store.Event) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.SaveRollout(ctx, r, changed, wanted, acts)
}

// heard makes a gateway that was just heard, and takes configs.
func (s *Server) heard(gateway string) *session {
	a := &session{Agent: Agent{Gateway: gateway, Seen: s.o.Now()}}
	a.accepts, a.reported = true, true
	a.said = rollout.Gateway{Health: checks.Up, Seen: a.Seen}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[gateway] = a
	return a
}

func (s *Server) handed(a *session) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hand(a, s.o.Now())
}

// While the store cannot be written nothing new is offered, and nothing is
// forgotten.
func TestNothingIsOfferedThatIsNotSaved(t *testing.T) {
	s, ill := alone(t)
	a := s.heard("avocet-1")
	ill.err = errors.New("disk full")
	raw := desired("avocet-1", 15)
	began, err := s.StartRollout(t.Context(), alice, centre.NewRollout{Rings: []string{"hubs", "all"}, Pushes: []centre.Push{{Gateway: "avocet-1", Ring: 1, Bundle: raw}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.handed(a); got != "" {
		t.Errorf("handed %s", got)
	}
	s.step(t.Context())
	ill.err = nil
	s.step(t.Context())
	if got := s.handed(a); got != hashOf(t, raw) {
		t.Errorf("handed %q when the store is well again", got)
	}
	w, err := ill.Wanted(t.Context())
	if err != nil || len(w) != 1 || w[0].Hash != hashOf(t, raw) {
		t.Errorf("kept %+v, %v", w, err)
	}
	offered := 0
	acts, err := s.o.Store.(*illStore).Store.(*sqlite.Store).Events(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range acts {
		if e.Act == "config offered" && e.Detail == "rollout "+began.ID {
			offered++
		}
	}
	if offered != 1 {
		t.Errorf("%d acts tell of the offer", offered)
	}
	// A pause holds before it is saved.
	ill.err = errors.New("disk full")
	if _, err := s.MoveRollout(t.Context(), alice, began.ID, centre.MovePause); codeOf(err) != "not_saved" {
		t.Errorf("a pause that a restart would forget: %v", err)
	}
	if got := s.handed(a); got != "" {
		t.Errorf("handed %s in a pause", got)
	}
}

// The last step of a rollout is saved in the end, or no other could begin.
func TestEndIsSaved(t *testing.T) {
	s, ill := alone(t)
	a := s.heard("avocet-1")
	raw := desired("avocet-1", 15)
	n := centre.NewRollout{Rings: []string{"hubs", "all"}, Pushes: []centre.Push{{Gateway: "avocet-1", Ring: 1, Bundle: raw}}}
	began, err := s.StartRollout(t.Context(), alice, n)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	a.said.Offer, a.said.State, a.said.Mark, a.said.Running = hashOf(t, raw), block.ConfigApplied, 15, centre.ConfigRef{Generation: 15, Hash: hashOf(t, raw)}
	s.mu.Unlock()
	ill.err = errors.New("disk full")
	s.step(t.Context())
	ill.err = nil
	s.step(t.Context())
	if r, err := ill.Rollout(t.Context(), began.ID); err != nil || r.State != centre.RolloutDone {
		t.Errorf("kept as %+v, %v", r, err)
	}
	n.Pushes[0].Bundle, n.Pushes[0].Over = desired("avocet-1", 16), centre.ConfigRef{Generation: 15, Hash: hashOf(t, raw)}
	if _, err := s.StartRollout(t.Context(), alice, n); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// Whoever pushed hangs up as soon as the rollout is kept: it goes on.
func TestPushIsDoneThoughItsOperatorHangsUp(t *testing.T) {
	s, ill := alone(t)
	a := s.heard("avocet-1")
	ctx, hangUp := context.WithCancel(t.Context())
	ill.started = hangUp
	raw := desired("avocet-1", 15)
	if _, err := s.StartRollout(ctx, alice, centre.NewRollout{Rings: []string{"hubs", "all"}, Pushes: []centre.Push{{Gateway: "avocet-1", Ring: 1, Bundle: raw}}}); err != nil {
		t.Error(err)
	}
	s.step(t.Context())
	if got := s.handed(a); got != hashOf(t, raw) {
		t.Errorf("handed %q", got)
	}
}

// Of two operators who push at once one wins, and the other is told who did.
func TestTwoPushAtOnce(t *testing.T) {
	s, _ := alone(t)
	s.heard("avocet-1")
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, name := range []string{"alice", "bob"} {
		n := centre.NewRollout{Name: name + "'s", Rings: []string{"hubs", "all"}, Pushes: []centre.Push{{Gateway: "avocet-1", Ring: 1, Bundle: desired("avocet-1", uint64(15+i))}}}
		wg.Go(func() { _, errs[i] = s.StartRollout(t.Context(), store.By{Name: name}, n) })
	}
	wg.Wait()
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	lost, ok := errors.AsType[*Refusal](errs[1-winner])
	if !ok || errs[winner] != nil || lost.Status != 409 {
		t.Fatalf("%v", errs)
	}
	name := []string{"alice", "bob"}[winner]
	if want := fmt.Sprintf("rollout 1 (%s's), which %s started", name, name); lost.Reason[:len(want)] != want || lost.Advice != "wait for its end, or: ginnelctl rollout abort 1" {
		t.Errorf("told %q, %q", lost.Reason, lost.Advice)
	}
}

// A collector that was off does not take its own silence for the gateways'.
func TestSilenceBeginsWithTheCollector(t *testing.T) {
	_, ill := alone(t)
	if err := ill.SaveSnapshots(t.Context(), []store.Heard{{Gateway: "avocet-1", Snapshot: block.Snapshot{State: checks.Up}, At: time.Now().Add(-time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s, err := New(Options{Store: ill, Dir: t.TempDir(), URL: "https://192.0.2.1", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for after, want := range map[time.Duration]bool{0: false, 89 * time.Second: false, 91 * time.Second: true} {
		s.mu.Lock()
		if got := s.known(now.Add(after))["avocet-1"].Silent; got != want {
			t.Errorf("%v after the start: silent %v", after, got)
		}
		s.mu.Unlock()
	}
}

// TestTenThousand measures the largest fleet: how long a push takes to begin,
// and a step while all gateways report.
func TestTenThousand(t *testing.T) {
	const many = 10_000
	s, _ := alone(t)
	n := centre.NewRollout{Name: "all", Rings: []string{"hubs", "all"}}
	for i := range many {
		name := fmt.Sprintf("site%d-1", i)
		n.Pushes = append(n.Pushes, centre.Push{Gateway: name, Ring: 1, Bundle: desired(name, 15), Back: desired(name, 16)})
		s.heard(name)
	}
	began := time.Now()
	if _, err := s.StartRollout(t.Context(), alice, n); err != nil {
		t.Fatal(err)
	}
	start := time.Since(began)
	s.mu.Lock()
	for name, a := range s.agents {
		a.said.Offer, a.said.State = s.steer.wanted[name].Hash, block.ConfigApplied
		a.said.Running = s.steer.wanted[name].ConfigRef
	}
	s.mu.Unlock()
	began = time.Now()
	s.step(t.Context())
	all := time.Since(began)
	began = time.Now()
	s.step(t.Context())
	t.Logf("%d gateways: a push begins in %v; they all report: %v; nothing new: %v", many, start.Round(time.Millisecond), all.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	r, err := s.Rollout(t.Context(), "1")
	if err != nil || r.State != centre.RolloutDone || r.Rings[1].Applied != many {
		t.Errorf("%s, %+v, %v", r.State, r.Rings, err)
	}
}

// hub is a signed config of a hub of kestrel.
func hub(t *testing.T, gateway string, generation uint64, address string) []byte {
	t.Helper()
	head, _, _ := strings.Cut(string(desired(gateway, generation)), "-----BEGIN")
	return signedText(head+fmt.Sprintf("[[network]]\nname = \"kestrel\"\nrole = \"hub\"\naddress = [%q]\nlisten_port = 51820\n", address), bundle.Config)
}

// No two hubs of a network are on trial at once, whoever pushed them and however
// they are planned.
func TestOneHubAtATime(t *testing.T) {
	s, _ := alone(t)
	north, south := s.heard("hub-north"), s.heard("hub-south")
	push := func(all ...centre.Push) centre.Rollout {
		t.Helper()
		r, err := s.StartRollout(t.Context(), alice, centre.NewRollout{Rings: []string{"hubs"}, Pushes: all})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := hub(t, "hub-north", 15, "100.64.0.1/32")
	began := push(centre.Push{Gateway: "hub-north", Bundle: first}, centre.Push{Gateway: "hub-south", Bundle: hub(t, "hub-south", 15, "100.64.0.2/32")})
	if a, b := s.handed(north), s.handed(south); a == "" || b != "" {
		t.Fatalf("planned by somebody else, handed %q and %q", a, b)
	}
	if _, err := s.MoveRollout(t.Context(), alice, began.ID, centre.MoveAbort); err != nil {
		t.Fatal(err)
	}
	push(centre.Push{Gateway: "hub-south", Bundle: hub(t, "hub-south", 16, "100.64.0.2/32")})
	if got := s.handed(south); got != "" {
		t.Errorf("handed %s beside a trial of the rollout before", got)
	}
	s.mu.Lock()
	north.said.Offer, north.said.State, north.said.Mark = hashOf(t, first), block.ConfigApplied, 15
	s.mu.Unlock()
	s.step(t.Context())
	if s.handed(south) == "" {
		t.Error("handed nothing when that is over")
	}
}

// Who planned before something was pushed does not undo it, though the gateway has
// not taken that yet.
func TestPlanOfBefore(t *testing.T) {
	s, _ := alone(t)
	a := s.heard("avocet-1")
	ran := centre.ConfigRef{Generation: 14, Hash: strings.Repeat("ab", 32)}
	s.mu.Lock()
	a.said.Running, a.said.Mark = ran, 14
	s.mu.Unlock()
	push := func(generation uint64, over centre.ConfigRef) (centre.Rollout, error) {
		return s.StartRollout(t.Context(), alice, centre.NewRollout{Rings: []string{"hubs", "all"},
			Pushes: []centre.Push{{Gateway: "avocet-1", Ring: 1, Bundle: desired("avocet-1", generation), Over: over}}})
	}
	first, err := push(15, ran) // applied there by hand
	if err != nil {
		t.Fatal(err)
	}
	if s.handed(a) == "" {
		t.Fatal("it is not handed over")
	}
	if _, err := s.MoveRollout(t.Context(), alice, first.ID, centre.MoveAbort); err != nil {
		t.Fatal(err)
	}
	if _, err := push(18, ran); codeOf(err) != "plan_outdated" {
		t.Errorf("over what it ran before: %v", err)
	}
	s.mu.Lock()
	a.said.Offer, a.said.State, a.said.Mark = hashOf(t, desired("avocet-1", 15)), block.ConfigFailed, 15
	s.mu.Unlock()
	s.step(t.Context())
	if _, err := push(18, ran); err != nil {
		t.Errorf("when that has failed: %v", err)
	}
}
