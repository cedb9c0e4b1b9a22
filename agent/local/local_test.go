package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/agent/block/report"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
)

// hinted is an error that says what to do.
type hinted struct{}

func (hinted) Error() string { return "no such pack" }
func (hinted) Hint() string  { return "ask for another" }

// gateway is an agent that answers as its fields say.
type gateway struct {
	endWatch atomic.Bool
	reload   error
	enrol    error
	renew    error
	pack     string

	apply, rollback error
}

func (g *gateway) Evidence(context.Context) ([]evidence.Entry, error) {
	return []evidence.Entry{{ID: "20261123T141502-9f3a01c7", Name: "echo"}}, nil
}

func (g *gateway) EvidenceOf(_ context.Context, id string) (*evidence.Bundle, error) {
	return &evidence.Bundle{ID: id}, nil
}

func (g *gateway) Snapshot() block.Snapshot {
	return block.Snapshot{Gateway: "avocet-1", State: checks.Up}
}
func (g *gateway) Why(_ context.Context, network string) (*why.Report, error) {
	if network == "wren" {
		return nil, &why.ErrNoNetwork{Name: network, Has: []string{"heron"}}
	}
	return &why.Report{Network: network, Code: why.HubSilent}, nil
}
func (g *gateway) Report(_ context.Context, p report.Period) (*report.Report, error) {
	return &report.Report{Site: "avocet", Month: fmt.Sprintf("%d-%02d", p.Year, p.Month)}, nil
}
func (g *gateway) RunCheck(_ context.Context, name string) (local.CheckRun, error) {
	if name != "records" {
		return local.CheckRun{}, errors.New("no such check")
	}
	return local.RunOf(checks.Spec{Name: name}, checks.Result{Verdict: checks.OK, RTT: []time.Duration{12 * time.Millisecond}}), nil
}
func (g *gateway) WatchCheck(ctx context.Context, name string, begun func(), tell func(local.CheckRun)) error {
	if name != "records" {
		return errors.New("no such check")
	}
	begun()
	for i := range 3 {
		tell(local.CheckRun{Check: name, Sent: i})
	}
	if g.endWatch.Load() {
		return nil
	}
	<-ctx.Done()
	return nil
}
func (g *gateway) History(_ context.Context, name string, since time.Time) (local.History, error) {
	return local.History{Name: name, From: since, Points: []local.HistoryPoint{{Sent: 5}}}, nil
}
func (g *gateway) Reload(context.Context) error { return g.reload }
func (g *gateway) Down(context.Context) error   { return nil }
func (g *gateway) Enrol(_ context.Context, pack []byte, progress func(local.Progress)) error {
	g.pack = string(pack)
	progress(local.Progress{Step: "device key", OK: true})
	return g.enrol
}

func (g *gateway) Apply(_ context.Context, bundle []byte, progress func(local.Progress)) error {
	g.pack = string(bundle)
	progress(local.Progress{Step: "trying", OK: true})
	return g.apply
}

func (g *gateway) Rollback(context.Context) error { return g.rollback }

func (g *gateway) Renew(_ context.Context, network string, progress func(local.Progress)) error {
	progress(local.Progress{Step: "gn-" + network, OK: true, Text: "0.1.0 -> 0.1.1"})
	return g.renew
}

// serve runs a server for g and gives its client, and what stops it.
func serve(t *testing.T, g *gateway) (local.Client, func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "agent.sock")
	ctx, cancel := context.WithCancel(t.Context())
	srv := &local.Server{Path: path, Agent: g}
	up, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- srv.Run(ctx, func() { close(up) }) }()
	select {
	case <-up:
	case err := <-done:
		t.Fatal(err)
	}
	stop := func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server stopped with %v", err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return local.Client{Path: path}, stop
}

// dead panics at whatever it is asked.
type dead struct{ local.Agent }

// TestPanicIsLogged: a fault of ours is an error in our log.
func TestPanicIsLogged(t *testing.T) {
	var log bytes.Buffer
	path := filepath.Join(t.TempDir(), "agent.sock")
	ctx, cancel := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	srv := &local.Server{Path: path, Agent: dead{}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	go func() { done <- srv.Run(ctx, func() { close(up) }) }()
	<-up
	if _, err := (local.Client{Path: path}).Snapshot(t.Context()); err == nil {
		t.Error("no error")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := log.String(); !strings.Contains(got, `level=ERROR msg="http: panic serving`) {
		t.Errorf("log: %q", got)
	}
}

func TestStatus(t *testing.T) {
	c, stop := serve(t, &gateway{})
	s, err := c.Snapshot(t.Context())
	if err != nil || s.Gateway != "avocet-1" || s.State != checks.Up {
		t.Errorf("snapshot = %+v, %v", s, err)
	}
	info, err := os.Stat(c.Path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket mode = %v, %v; want 0660", info.Mode(), err)
	}
	stop()
	if _, err := c.Snapshot(t.Context()); !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("after the stop: %v, want ErrNotRunning", err)
	}
}

func TestChecks(t *testing.T) {
	g := &gateway{}
	c, _ := serve(t, g)
	r, err := c.RunCheck(t.Context(), "records")
	if err != nil || r.Check != "records" || r.Verdict != checks.OK || !slices.Equal(r.RTT, []float64{0.012}) {
		t.Errorf("ran %+v, %v", r, err)
	}
	if _, err := c.RunCheck(t.Context(), "results"); err == nil || err.Error() != "no such check" {
		t.Errorf("a check that there is not: %v", err)
	}
	since := time.Date(2026, 11, 20, 14, 0, 0, 0, time.UTC)
	h, err := c.History(t.Context(), "kestrel/hub-north", since)
	if err != nil || h.Name != "kestrel/hub-north" || !h.From.Equal(since) || len(h.Points) != 1 {
		t.Errorf("history %+v, %v", h, err)
	}
	if err := c.WatchCheck(t.Context(), "results", nil); err == nil || err.Error() != "no such check" {
		t.Errorf("watching a check that there is not: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var seen []int
	err = c.WatchCheck(ctx, "records", func(r local.CheckRun) {
		if seen = append(seen, r.Sent); len(seen) == 3 {
			stop()
		}
	})
	if err != nil || !slices.Equal(seen, []int{0, 1, 2}) {
		t.Errorf("watched %v, %v", seen, err)
	}
	g.endWatch.Store(true)
	if err := c.WatchCheck(t.Context(), "records", func(local.CheckRun) {}); err == nil {
		t.Error("a watch that the agent ended says nothing")
	}
}

func TestReport(t *testing.T) {
	c, _ := serve(t, &gateway{})
	if r, err := c.Report(t.Context(), "2026-11"); err != nil || r.Month != "2026-11" || r.Site != "avocet" {
		t.Errorf("report = %+v, %v", r, err)
	}
	var answer *local.Error
	if _, err := c.Report(t.Context(), "November"); !errors.As(err, &answer) || answer.Hint() == "" {
		t.Errorf("report of November = %v, want an answer with a hint", err)
	}
}

func TestWhy(t *testing.T) {
	c, _ := serve(t, &gateway{})
	if r, err := c.Why(t.Context(), "heron"); err != nil || r.Network != "heron" || r.Code != why.HubSilent {
		t.Errorf("why = %+v, %v", r, err)
	}
	var answer *local.Error
	if _, err := c.Why(t.Context(), "wren"); !errors.As(err, &answer) || answer.Hint() != "there is heron" {
		t.Errorf("why of a network that is not there = %v", err)
	}
}

func TestRefusalCarriesItsHint(t *testing.T) {
	c, _ := serve(t, &gateway{reload: hinted{}})
	err := c.Reload(t.Context())
	var answer *local.Error
	if !errors.As(err, &answer) || answer.Text != "no such pack" || answer.Hint() != "ask for another" {
		t.Errorf("reload = %#v", err)
	}
	if err := c.Down(t.Context()); err != nil {
		t.Errorf("down = %v", err)
	}
	c, _ = serve(t, &gateway{reload: &local.LeftOut{Text: "x.toml: no"}})
	if left, ok := errors.AsType[*local.LeftOut](c.Reload(t.Context())); !ok || left.Text != "x.toml: no" {
		t.Errorf("reload with something left out = %+v", left)
	}
	c, _ = serve(t, &gateway{})
	if err := c.Reload(t.Context()); err != nil {
		t.Errorf("reload = %v", err)
	}
}

func TestEnrolTellsItsSteps(t *testing.T) {
	g := &gateway{}
	c, _ := serve(t, g)
	var steps []local.Progress
	tell := func(p local.Progress) { steps = append(steps, p) }
	if err := c.Enrol(t.Context(), []byte("pack"), tell); err != nil {
		t.Fatal(err)
	}
	if g.pack != "pack" || len(steps) != 1 || steps[0].Step != "device key" {
		t.Errorf("pack %q, steps %+v", g.pack, steps)
	}
	g.enrol = hinted{}
	var answer *local.Error
	if err := c.Enrol(t.Context(), nil, tell); !errors.As(err, &answer) || answer.Hint() == "" {
		t.Errorf("refused enrolment = %v", err)
	}
}

func TestRenewTellsEachDevice(t *testing.T) {
	g := &gateway{}
	c, _ := serve(t, g)
	var steps []local.Progress
	tell := func(p local.Progress) { steps = append(steps, p) }
	if err := c.Renew(t.Context(), "a b&c", tell); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 1 || steps[0].Step != "gn-a b&c" || steps[0].Text != "0.1.0 -> 0.1.1" {
		t.Errorf("steps %+v", steps)
	}
	g.renew = hinted{}
	var answer *local.Error
	if err := c.Renew(t.Context(), "", tell); !errors.As(err, &answer) || answer.Hint() == "" {
		t.Errorf("a failure = %v", err)
	}
}

func TestApplyAndRollback(t *testing.T) {
	g := &gateway{}
	c, _ := serve(t, g)
	steps := 0
	tell := func(local.Progress) { steps++ }
	if err := c.Apply(t.Context(), []byte("bundle"), tell); err != nil || g.pack != "bundle" || steps != 1 {
		t.Errorf("apply: %v, %q, %d steps", err, g.pack, steps)
	}
	g.apply, g.rollback = hinted{}, hinted{}
	var answer *local.Error
	if err := c.Apply(t.Context(), nil, tell); !errors.As(err, &answer) || answer.Hint() == "" {
		t.Errorf("a refused config = %v", err)
	}
	if err := c.Rollback(t.Context()); !errors.As(err, &answer) || answer.Hint() == "" {
		t.Errorf("a refused rollback = %v", err)
	}
	g.rollback = nil
	if err := c.Rollback(t.Context()); err != nil {
		t.Errorf("rollback = %v", err)
	}
}

func TestSocketIsTakenOverOnlyFromTheDead(t *testing.T) {
	c, _ := serve(t, &gateway{})
	second := &local.Server{Path: c.Path, Agent: &gateway{}}
	if err := second.Run(t.Context(), func() {}); err == nil {
		t.Error("a second agent took the socket of a living one")
	}

	path := filepath.Join(t.TempDir(), "agent.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close() // as a killed agent leaves it
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	third := &local.Server{Path: path, Agent: &gateway{}}
	if err := third.Run(ctx, cancel); err != nil {
		t.Errorf("the socket of a dead agent: %v", err)
	}
}
