package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// A tunnel that answers is degraded while something on this host keeps the LAN's
// traffic out of it; what is wrong elsewhere is not its fault.
func TestATunnelKnowsOfFaultsOnItsHost(t *testing.T) {
	faults := new(Faults)
	look := func(string, string) (tunnels.Status, error) { return tunnels.Status{Present: true}, nil }
	well := checks.Kind{New: func(checks.Target) (checks.Check, error) {
		return checks.Func(func(context.Context) checks.Result { return checks.Result{Verdict: checks.OK, Start: time.Now()} }), nil
	}}
	check, err := TunnelKind(look, faults, well).New(checks.Target{Network: "heron", Address: "100.64.64.2", Options: map[string]any{"hub": "hub-south"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		found why.Finding
		want  checks.Verdict
	}{
		{why.Finding{}, checks.OK},
		{why.Finding{Code: why.RuleForeign, Step: "rule", Text: "a rule of somebody else"}, checks.Degraded},
		{why.Finding{Code: why.HubSilent, Step: "handshake", Text: "hub-south does not answer"}, checks.OK},
		{why.Finding{WaitsFor: "filter", Step: "filter"}, checks.OK},
	} {
		faults.set(map[string]why.Finding{"heron/hub-south": tt.found})
		if r := check.Run(t.Context()); r.Verdict != tt.want || r.Valid() != nil {
			t.Errorf("%+v: %+v (%v), want %s", tt.found, r, r.Valid(), tt.want)
		}
	}
}

func TestTheClocksFloorIsKeptAndCorrected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock-floor")
	later := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	piece := timepiece{file: file}
	piece.saw(later)
	piece.saw(later.Add(-time.Hour)) // older: says nothing new
	if err := piece.keep(); err != nil {
		t.Fatal(err)
	}
	again := timepiece{file: file}
	if err := again.load(); err != nil || !again.now(nil).Floor.Equal(later) {
		t.Errorf("floor %v, %v; want %v", again.now(nil).Floor, err, later)
	}
	again.compared(300*time.Millisecond, 510*time.Millisecond)
	c := again.now(nil)
	if c.Floor.After(time.Now()) || c.Off != 300*time.Millisecond || c.Fine == 0 {
		t.Errorf("after the collector has said what time it is: %+v", c)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged := timepiece{file: file}
	if err := damaged.load(); err != nil || !damaged.now(nil).Floor.IsZero() {
		t.Errorf("a damaged file: %v, %v", damaged.now(nil).Floor, err)
	}
}

func TestSilencesCountFromTheLastSignOfLife(t *testing.T) {
	var s silences
	at := time.Now()
	look := func(after time.Duration, received, sent int64) silence {
		return s.since("heron/hub-south", tunnels.Seen{Received: received, Sent: sent}, at.Add(after))
	}
	look(0, 100, 100)
	look(time.Second, 200, 248)
	if got := look(9*time.Second, 200, 544); !got.at.Equal(at.Add(time.Second)) || got.sent != 248 {
		t.Errorf("%+v", got)
	}
	if got := look(10*time.Second, 0, 0); !got.at.Equal(at.Add(10 * time.Second)) {
		t.Errorf("after the device was made anew: %+v", got)
	}
}

// A status told between two findings has the code of what it says itself.
func TestACodeGoesWithItsDetail(t *testing.T) {
	for detail, want := range map[string]why.Code{
		"no such kind: banner":                                 why.NoSuchCheck,
		checks.QuarantinePrefix + "after 10 ends within 10m0s": why.Quarantined,
	} {
		for _, found := range []why.Code{why.NoSuchCheck, why.Quarantined} {
			a := &Agent{found: why.Findings{Checks: map[string]why.Finding{"greeting": {Code: found}}}}
			s := block.Snapshot{Checks: []block.CheckSnapshot{{Name: "greeting", State: checks.UnknownState, Reason: string(checks.NotRun), Detail: detail}}}
			a.explained(&s)
			if got := s.Checks[0].Code; got != string(want) {
				t.Errorf("%q while %s was found: %s, want %s", detail, found, got, want)
			}
		}
	}
}
