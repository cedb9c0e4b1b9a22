package agent

import (
	"log/slog"
	"testing"

	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/tunnels"
)

// While a trial is open, what it took away and the next config has again is a
// part of the next: trial.Run knows how it was before. Else what is new is not.
func TestNewTunnelsArePartsWhileATrialIsOpen(t *testing.T) {
	network := func(name string) tunnels.Network {
		return tunnels.Network{Name: name, Devices: []tunnels.Tunnel{{Hub: "hub-north"}}}
	}
	former := tunnels.Spec{Networks: []tunnels.Network{network("kestrel")}}
	next := tunnels.Spec{Networks: []tunnels.Network{network("kestrel"), network("heron")}}
	for phase, want := range map[trial.Phase]int{trial.Trying: 2, trial.Held: 2, trial.Kept: 1, trial.Failed: 1} {
		a := &Agent{o: Options{Paths: DefaultPaths(t.TempDir()), Log: slog.New(slog.DiscardHandler), Tunnels: new(tunnels.Manager)}}
		if err := a.o.Paths.Journal().Write(trial.Record{Phase: phase, Generation: 2, Hash: "2"}); err != nil {
			t.Fatal(err)
		}
		parts := newPilot(a).gauges.tunnelsBefore(former, next, map[string]bool{"heron/hub-north": true})
		if len(parts) != want {
			t.Fatalf("%s: %+v, want %d", phase, parts, want)
		}
		if heron := parts[want-1]; want == 2 && (heron.Name != "heron/hub-north" || !heron.Touched || !heron.Wanted || heron.Before != trial.Unsure) {
			t.Errorf("%s: %+v", phase, heron)
		}
	}
}
