package web

import (
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

func TestRolloutPages(t *testing.T) {
	d, s := two(t)
	d.server.gate.Header = "" // on this machine: of all organisations
	p := d.page("/rollouts", 200)
	p.sound()
	p.want("rows", "▶ running - fleet 2 2 sam 1 of 2 applied -", p.rows())
	main := text(p.all("main")[0])
	p.want("page", "Nothing is revoked or isolated.", []string{main})
	if strings.Contains(main, "Frozen") {
		t.Error(main)
	}

	s.freeze = centre.Freeze{Until: now.Add(48 * time.Hour), Why: "winter " + nasty, By: "sam"}
	s.list = centre.List{Number: 7, Since: now, By: "kim", Reached: 3, All: 4, Bundle: signed(`number = 7

[[deny]]
kind = "isolate"
networks = ["heron"]
why = "<b>ransom</b>"
by = "kim"
at = 2026-11-24T13:00:00Z
`, bundle.List).Bytes()}
	s.rollouts[0].State, s.rollouts[0].Reason, s.rollouts[0].Waits = centre.RolloutPaused, "1 of 2 gateways of canary got worse", "window Mon 19:00"
	s.rollouts[0].Name, s.rollouts[0].Gateways[1].Reason = nasty, "hub-south is dead since the change"
	s.rollouts[0].Gateways = append(s.rollouts[0].Gateways, centre.PushState{Gateway: "avocet-1", Ring: "canary", State: "applied", Worse: "records is down " + nasty})
	p = d.page("/rollouts", 200)
	p.sound()
	p.want("rows", "▲ paused - "+nasty+" 2 sam 1 of 2 applied 1 of 2 gateways of canary got worse; waits: window Mon 19:00", p.rows())
	p.want("rows", "isolate heron <b>ransom</b> kim 13:00", p.rows())
	main = text(p.all("main")[0])
	p.want("page", "Frozen until Thu 26 Nov 2026 14:12 by sam: winter "+nasty, []string{main})
	p.want("page", "List 7 of kim, in force since 14:12; 3 of 4 gateways have said so.", []string{main})

	p.want("page", "Frozen until", []string{text(d.page("/", 200).all("main")[0])})

	p = d.page("/rollouts/2", 200)
	p.sound()
	rows := p.rows()
	p.want("rows", "canary 2 1 0 0 0 0 0", rows)
	p.want("rows", "✕ failed - egret-1 canary hub-south is dead since the change hub-south dead", rows)
	p.want("rows", "● applied - avocet-1 canary got worse: records is down "+nasty, rows)
	p.want("rows", "● applied - curlew-1 canary generation 0", rows)
	if strings.Index(strings.Join(rows, "\n"), "curlew-1") < strings.Index(strings.Join(rows, "\n"), "egret-1") {
		t.Error("what went well stands before what did not")
	}
	if n := len(p.all("script")); n != 1 {
		t.Errorf("%d scripts", n)
	}
	d.page("/rollouts/nobody", 404).sound()
	s.rollouts = nil
	p = d.page("/rollouts", 200)
	p.want("page", "Nothing has been pushed yet", []string{text(p.all("main")[0])})
}

func TestDriftIsShown(t *testing.T) {
	d, s := two(t)
	d.server.gate.Header = ""
	s.fleet[0].Desired.Generation, s.fleet[0].State = 16, block.ConfigFailed
	s.fleet[0].Trial = &block.TrialSnapshot{Reason: "at fault", Evidence: []string{"hub-north: answered before, silent since", nasty}}
	s.fleet[1].Desired = centre.ConfigRef{Generation: 14, Hash: "h"}
	s.fleet[1].Running = s.fleet[1].Desired
	s.fleet[2].Clones = []centre.Copy{{Boot: "b1", From: "192.0.2.1", Seen: now.Add(-4 * time.Second)}, {Boot: "b2", From: nasty, Seen: now}}
	p := d.page("/", 200)
	p.sound()
	rows := strings.Join(p.rows(), "\n")
	for _, want := range []string{"avocet-1 config: gone back from generation 16: at fault", "2 machines call themselves egret-1"} {
		p.want("rows", want, []string{rows})
	}
	if strings.Contains(rows, "curlew-1 config") {
		t.Error(rows)
	}
	p.want("page", "1 gateway does not run what the centre wants", []string{text(p.all("main")[0])})
	p = d.page("/sites/avocet", 200)
	p.sound()
	main := text(p.all("main")[0])
	p.want("page", "by hand, gone back from generation 16: at fault", []string{main})
	p.want("page", "Why the config was not kept hub-north: answered before, silent since "+nasty, []string{main})
	p.want("page", "as the centre wants it", []string{text(d.page("/sites/curlew", 200).all("main")[0])})
	p = d.page("/sites/egret", 200)
	p.sound()
	p.want("page", "2 machines call themselves egret-1: a disk was copied", []string{text(p.all("main")[0])})
	p.want("page", "boot b1 , from 192.0.2.1, last heard 4 s ago boot b2 , from "+nasty, []string{text(p.all("main")[0])})
}

func TestDriftInWords(t *testing.T) {
	want, old := centre.ConfigRef{Generation: 16, Hash: "n"}, centre.ConfigRef{Generation: 14, Hash: "o"}
	for words, g := range map[string]centre.GatewayState{
		"":                                    {Running: old},
		"as the centre wants it":              {Desired: want, Running: want},
		"as the centre wants it, unconfirmed": {Desired: want, Running: want, State: block.ConfigUnconfirmed},
		"generation 16 is on trial":           {Desired: want, Running: old, State: block.ConfigApplying},
		"gone back from generation 16":        {Desired: want, Running: old, State: block.ConfigFailed},
		"a technician went back by hand; the centre wants generation 16":                               {Desired: want, Running: old, State: block.ConfigOverridden},
		"takes generation 16 when it comes back":                                                       {Desired: want, Running: old, Silent: true},
		"the centre wants generation 16":                                                               {Desired: want},
		"it has accepted generation 20, and the centre knows 16 at most: restored from an old backup?": {Desired: want, Running: old, Mark: 20},
	} {
		d := driftOf(g)
		if d.Words != words || d.Differs != (words != "" && !strings.HasPrefix(words, "as the")) {
			t.Errorf("%q, differs %v, want %q", d.Words, d.Differs, words)
		}
	}
}

// TestBadgesSayTheirState holds that a badge is never told by colour alone.
func TestBadgesSayTheirState(t *testing.T) {
	signs := map[string]string{}
	for _, s := range []string{"running", "paused", "going back", "done", "aborted", "back", "waiting", "offered", "applying", "applied", "unconfirmed", "failed", "from the future"} {
		b := badgeOf(s)
		if b.Word != s || b.Mark == "" {
			t.Errorf("%s: %+v", s, b)
		}
		if other, ok := signs[b.Sort]; ok && other != b.Mark && b.Sort == "bad" {
			t.Errorf("%s has two signs", b.Sort)
		}
		signs[b.Sort] = b.Mark
	}
}
