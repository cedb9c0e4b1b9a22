package trial_test

import (
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/trial"
)

// part is a tunnel that the change touches, was good, and is still wanted.
func part(now trial.State) trial.Part {
	return trial.Part{Name: "kestrel/hub-north", Touched: true, Wanted: true, Before: trial.Good, Now: now}
}

func with(p trial.Part, change func(*trial.Part)) trial.Part {
	change(&p)
	return p
}

// The rows of design.md 8, "The trial", and of the issue.
func TestVerdict(t *testing.T) {
	receipt, away := &trial.Reach{Receipt: true, Answers: true}, &trial.Reach{}
	moved := &trial.Reach{Moved: []string{"192.0.2.40: by eth0 -> by gn-kestrel-n"}}
	beside := &trial.Reach{Beside: true}
	busy := &trial.Reach{Answers: true}
	good, dead, unsure := part(trial.Good), part(trial.Dead), part(trial.Unsure)
	untouched := with(dead, func(p *trial.Part) { p.Touched = false })
	unwanted := with(dead, func(p *trial.Part) { p.Wanted = false })
	never := with(dead, func(p *trial.Part) { p.Before = trial.Dead })
	unmeasured := with(dead, func(p *trial.Part) { p.Before = trial.Unsure })
	proven := with(dead, func(p *trial.Part) { p.Proven = true })
	type row struct {
		name    string
		reach   *trial.Reach
		tunnels []trial.Part
		checks  []trial.Part
		// before the end, at the end, and once it was held
		early, end, held trial.Act
		reason           string // a part of it, at the end
	}
	const wait, confirm, hold, back = trial.Wait, trial.Confirm, trial.Hold, trial.Back
	for _, r := range []row{
		{"receipt, touched tunnel good", receipt, []trial.Part{good}, nil, confirm, confirm, confirm, ""},
		{"receipt, nothing touched", receipt, nil, nil, confirm, confirm, confirm, ""},
		{"receipt, touched tunnel dead", receipt, []trial.Part{good, dead}, nil, wait, back, back, "kestrel/hub-north was good and is dead"},
		{"receipt, touched tunnel not measured", receipt, []trial.Part{unsure}, nil, wait, hold, hold, "cannot be told how kestrel/hub-north"},
		{"receipt, one dead and one not measured", receipt, []trial.Part{unsure, dead}, nil, wait, back, back, "dead"},
		{"receipt, untouched tunnel dies", receipt, []trial.Part{good, untouched}, nil, confirm, confirm, confirm, ""},
		{"receipt, tunnel that is not wanted any more", receipt, []trial.Part{unwanted}, nil, confirm, confirm, confirm, ""},
		{"receipt, tunnel that was dead before", receipt, []trial.Part{never}, nil, confirm, confirm, confirm, ""},
		{"receipt, tunnel of which nothing was known", receipt, []trial.Part{unmeasured}, nil, confirm, confirm, confirm, ""},
		{"receipt, tunnel proven before the hold dies", receipt, []trial.Part{proven}, nil, confirm, confirm, confirm, ""},
		{"receipt, required check good", receipt, nil, []trial.Part{good}, confirm, confirm, confirm, ""},
		{"receipt, required check fails", receipt, []trial.Part{good}, []trial.Part{dead}, wait, back, back, "dead"},
		{"receipt, required check not measured", receipt, []trial.Part{good}, []trial.Part{unsure}, wait, hold, hold, "cannot be told"},
		{"receipt, required check behind what is not touched fails", receipt, []trial.Part{good}, []trial.Part{untouched}, confirm, confirm, confirm, ""},
		{"receipt, although look-ups differ", &trial.Reach{Receipt: true, Moved: moved.Moved}, []trial.Part{good}, nil, confirm, confirm, confirm, ""},

		{"collector away, look-ups equal", away, []trial.Part{good}, nil, wait, hold, hold, "ways to it are as before"},
		{"collector away, look-ups equal, tunnel not measured", away, []trial.Part{unsure}, nil, wait, hold, hold, "ways to it are as before"},
		{"collector away, look-ups differ", moved, []trial.Part{good}, nil, wait, back, hold, "the way to it has changed"},
		{"collector away, look-ups differ, nothing touched", moved, nil, nil, wait, back, hold, "the way to it has changed"},
		{"collector answers beside our tables", beside, []trial.Part{good}, nil, wait, back, hold, "beside our tables only"},
		{"collector away, touched tunnel dead", away, []trial.Part{dead}, nil, wait, back, hold, "is dead"},
		{"collector away, untouched tunnel dies", away, []trial.Part{good, untouched}, nil, wait, hold, hold, "as before"},
		{"collector answers without a receipt", busy, []trial.Part{good}, nil, wait, hold, hold, "signed no receipt"},

		{"no collector, touched tunnel good", nil, []trial.Part{good}, nil, confirm, confirm, confirm, ""},
		{"no collector, nothing touched", nil, nil, nil, confirm, confirm, confirm, ""},
		{"no collector, touched tunnel dead", nil, []trial.Part{dead}, nil, wait, back, back, "dead"},
		{"no collector, touched tunnel not measured", nil, []trial.Part{unsure}, nil, wait, hold, hold, "cannot be told"},
		{"no collector, required check fails", nil, nil, []trial.Part{dead}, wait, back, back, "dead"},
		{"no collector, untouched tunnel dies", nil, []trial.Part{untouched}, nil, confirm, confirm, confirm, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			e := trial.Evidence{Reach: r.reach, Tunnels: r.tunnels, Checks: r.checks}
			if d := trial.Verdict(e); d.Act != r.early {
				t.Errorf("before the end: %v (%s), want %v", d.Act, d.Reason, r.early)
			}
			e.Over = true
			d := trial.Verdict(e)
			if d.Act != r.end || !strings.Contains(d.Reason, r.reason) || (d.Reason == "") != (r.end == confirm) {
				t.Errorf("at the end: %v (%s), want %v (%s)", d.Act, d.Reason, r.end, r.reason)
			}
			if len(d.Evidence) == 0 {
				t.Error("at the end: no evidence")
			}
			e.Held = true
			if d := trial.Verdict(e); d.Act != r.held {
				t.Errorf("while held: %v (%s), want %v", d.Act, d.Reason, r.held)
			}
		})
	}
}

func TestEvidenceIsInWords(t *testing.T) {
	e := trial.Evidence{Over: true, Reach: &trial.Reach{Beside: true, Moved: []string{"192.0.2.40: by eth0 -> by gn-kestrel-n"}}, Tunnels: []trial.Part{
		with(part(trial.Dead), func(p *trial.Part) { p.Was, p.Is = "up since Tue 08:02", "hub-north does not answer" }),
		with(part(trial.Dead), func(p *trial.Part) { p.Name, p.Touched = "heron/hub-south", false }),
		with(part(trial.Good), func(p *trial.Part) { p.Name, p.Touched = "wren/hub-south", false }),
	}}
	want := `collector: no answer; it does answer on a socket that passes our tables by
192.0.2.40: by eth0 -> by gn-kestrel-n
kestrel/hub-north: was good (up since Tue 08:02), is dead (hub-north does not answer)
heron/hub-south: was good, is dead; the change does not touch it`
	if got := strings.Join(trial.Verdict(e).Evidence, "\n"); got != want {
		t.Errorf("evidence:\n%s\nwant:\n%s", got, want)
	}
}

func TestEvidenceOfABigHubIsBounded(t *testing.T) {
	e := trial.Evidence{Over: true, Reach: &trial.Reach{Receipt: true}}
	for range 500 {
		e.Tunnels = append(e.Tunnels, part(trial.Dead))
	}
	d := trial.Verdict(e)
	if d.Act != trial.Back || len(d.Evidence) != 41 || d.Evidence[40] != "and 461 more" || len(d.Reason) > 120 {
		t.Errorf("%v, %q, %d lines, the last %q", d.Act, d.Reason, len(d.Evidence), d.Evidence[len(d.Evidence)-1])
	}
}
