package block_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// script is edges of a site with two networks, one a line:
//
//	1:00 tunnel heron/hub-south down no_handshake hub-south does not answer|centre
func script(t *testing.T, lines string) *block.Record {
	t.Helper()
	b := &block.Block{Gateway: "avocet-1", Epoch: 1, Sequence: 1, Start: noon, Length: 3 * time.Hour}
	for _, s := range []block.Subject{
		{Class: block.SiteClass, Name: "avocet-1"},
		{Class: block.TunnelClass, Name: "kestrel/hub-north", Network: "kestrel"},
		{Class: block.TunnelClass, Name: "heron/hub-south", Network: "heron"},
		{Class: block.CheckClass, Name: "records", Network: "kestrel", StandsFor: "Patient records"},
		{Class: block.CheckClass, Name: "results", Network: "heron", StandsFor: "Hospital results"},
		{Class: block.CheckClass, Name: "images", Network: "heron", StandsFor: "Images"},
		{Class: block.CheckClass, Name: "internet"},
	} {
		s.State = checks.Up
		b.Subjects = append(b.Subjects, s)
	}
	for text := range strings.Lines(lines) {
		f := strings.Fields(text)
		e := block.Edge{At: at(f[0]), Class: block.Class(f[1]), Name: f[2], From: checks.Up, To: checks.State(f[3])}
		if len(f) > 4 {
			e.Reason = checks.Reason(f[4])
			e.Text, e.Owner, _ = strings.Cut(strings.Join(f[5:], " "), "|")
		}
		b.Edges = append(b.Edges, e)
	}
	r := block.NewRecord(noon, noon.Add(3*time.Hour))
	r.Add(b)
	return r
}

func TestOutages(t *testing.T) {
	tests := []struct {
		name, script string
		want         []string // from-to, down, what stopped, why, whose
	}{
		{"a tunnel and the checks that wait for it", `
			1:00 tunnel heron/hub-south down no_handshake hub-south does not answer|centre
			1:40 check results unknown blocked waits for heron
			1:55 check images unknown blocked waits for heron
			31:00 tunnel heron/hub-south up
			31:10 check results up
			31:20 check images up`, []string{"1:00-31:00 30m0s results, images: hub-south does not answer (centre)"}},
		{"the checks fail before the tunnel is found dead", `
			1:00 check results down timeout 203.0.113.40:443: no answer|service
			1:10 check images down timeout 203.0.113.41:443: no answer|service
			3:00 tunnel heron/hub-south down no_handshake hub-south does not answer|centre
			3:30 check results unknown blocked waits for heron
			3:30 check images unknown blocked waits for heron
			9:00 tunnel heron/hub-south up
			9:00 check results up
			9:00 check images up`, []string{"1:00-9:00 8m0s results, images: hub-south does not answer (centre)"}},
		{"two services of their own", `
			1:00 check results down refused results refused|service
			2:00 check records down timeout records are slow|service
			4:00 check results up
			5:00 check records up`, []string{"1:00-4:00 3m0s results: results refused (service)", "2:00-5:00 3m0s records: records are slow (service)"}},
		{"down together with one cause", `
			1:00 check results down timeout the data centre is off|centre
			1:30 check records down timeout the data centre is off|centre
			4:00 check results up
			5:00 check records up`, []string{"1:00-5:00 4m0s records, results: the data centre is off (centre)"}},
		{"the line, and the site knows it", `
			1:00 site avocet-1 down unreachable no link on the WAN port|line
			1:05 tunnel kestrel/hub-north down no_handshake hub-north does not answer|centre
			1:05 tunnel heron/hub-south down no_handshake hub-south does not answer|centre
			1:05 check records unknown blocked
			1:05 check results unknown blocked
			1:05 check images unknown blocked
			1:10 check internet down timeout
			5:00 site avocet-1 up
			5:00 tunnel kestrel/hub-north up
			5:00 tunnel heron/hub-south up
			5:00 check records up
			5:00 check results up
			5:00 check images up
			5:00 check internet up`, []string{"1:00-5:00 4m0s everything: no link on the WAN port (line)"}},
		{"all tunnels, and the site only sums it up", `
			1:00 tunnel kestrel/hub-north down no_handshake hub-north does not answer|centre
			1:02 tunnel heron/hub-south down no_handshake hub-south does not answer|centre
			1:02 site avocet-1 down  kestrel is down since 12:01: hub-north does not answer.
			1:05 check records unknown blocked
			1:05 check results unknown blocked
			1:05 check images unknown blocked
			5:00 site avocet-1 up
			5:00 tunnel kestrel/hub-north up
			5:00 tunnel heron/hub-south up
			5:00 check records up
			5:00 check results up
			5:00 check images up`, []string{"1:00-5:00 4m0s records, results, images: hub-north does not answer (centre)"}},
		{"it comes and goes", `
			1:00 check internet down timeout no answer|line
			2:00 check internet up
			3:00 check internet down timeout no answer|line
			4:00 check internet up
			30:00 check internet down timeout no answer|line
			31:00 check internet up`, []string{"1:00-4:00 2m0s internet: no answer (line) 2 times", "30:00-31:00 1m0s internet: no answer (line)"}},
		{"blocked, though nothing is known to be down", `
			1:00 check results unknown blocked
			5:00 check results up`, nil},
		{"unknown for another reason", `
			1:00 tunnel heron/hub-south down no_handshake hub-south does not answer|centre
			1:00 check results unknown self_fault
			5:00 tunnel heron/hub-south up
			5:00 check results up`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := script(t, strings.TrimSpace(tt.script))
			var got []string
			for _, o := range r.Outages(r.Services()) {
				what := strings.Join(o.Stopped, ", ")
				if o.All {
					what = "everything"
				}
				clock := func(t time.Time) string {
					return fmt.Sprintf("%d:%02d", int(t.Sub(noon).Minutes()), int(t.Sub(noon).Seconds())%60)
				}
				text := fmt.Sprintf("%s-%s %v %s: %s (%s)", clock(o.From), clock(o.To), o.Down, what, o.Text, o.Owner)
				if o.Times > 1 {
					text += fmt.Sprintf(" %d times", o.Times)
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestServices: checks that stand for the same words are one service.
func TestServices(t *testing.T) {
	b := &block.Block{Gateway: "avocet-1", Epoch: 1, Sequence: 1, Start: noon, Length: 10 * time.Minute, Subjects: []block.Subject{
		{Class: block.TunnelClass, Name: "heron/hub-north", Network: "heron", State: checks.Down},
		{Class: block.TunnelClass, Name: "heron/hub-south", Network: "heron", State: checks.Up},
		{Class: block.CheckClass, Name: "records", StandsFor: "Patient records", State: checks.Up},
		{Class: block.CheckClass, Name: "records-tls", StandsFor: "Patient records", State: checks.UnknownState},
	}, Edges: []block.Edge{
		{At: at("2:00"), Class: block.CheckClass, Name: "records-tls", From: checks.UnknownState, To: checks.Down},
		{At: at("3:00"), Class: block.CheckClass, Name: "records-tls", From: checks.Down, To: checks.DegradedState},
		{At: at("4:00"), Class: block.CheckClass, Name: "records", From: checks.Up, To: checks.UnknownState, Reason: checks.SelfFault},
		{At: at("5:00"), Class: block.CheckClass, Name: "records-tls", From: checks.DegradedState, To: checks.UnknownState},
		{At: at("6:00"), Class: block.TunnelClass, Name: "heron/hub-south", From: checks.Up, To: checks.Down},
	}}
	r := block.NewRecord(noon, noon.Add(10*time.Minute))
	r.Add(b)
	want := []string{
		"Patient records, records: 0:00 up, 2:00 down, 3:00 degraded, 5:00 unknown, 10:00",
		"Network heron, heron: 0:00 up, 6:00 down, 10:00",
	}
	var got []string
	for _, s := range r.Services() {
		got = append(got, fmt.Sprintf("%s, %s: %s", s.Name, s.Short, show(s.Spans, r.To)))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
