package main

import (
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/marks"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

func TestJudge(t *testing.T) {
	const own, gate, far = "lan:eth0", "gateway:eth1", "gateway:gn-x"
	one := probe{sort: "a port", from: &netns.Node{Name: "lan"}, origin: own, arrives: "host:eth0", may: []string{own, gate},
		packet: marks.Packet{Protocol: "tcp", Src: netip.MustParseAddr("192.168.10.20"), Dst: netip.MustParseAddr("198.51.100.20"), Port: 80}}
	listed := one
	listed.listed, listed.may = true, []string{own, gate, far, "host:*"}
	udp := listed
	udp.packet.Protocol = "udp"
	beside := listed
	beside.sort = internet
	forged := one
	forged.forged = true
	rogue := one
	rogue.told = []string{"gateway:lo"}
	both := marks.Question | marks.Answer
	for _, c := range []struct {
		name  string
		probe probe
		seen  map[string]marks.Kind
		alive func(probe) bool
		want  tally
	}{
		{"refused", one, map[string]marks.Kind{own: marks.Question, gate: marks.Question | marks.Refusal}, everything, tally{}},
		{"astray", one, map[string]marks.Kind{own: marks.Question, far: marks.Question}, everything, tally{astray: 1}},
		{"told of elsewhere", one, map[string]marks.Kind{"gateway:eth0": marks.Refusal}, everything, tally{astray: 1}},
		{"told to whom was named", forged, map[string]marks.Kind{"gateway:eth0": marks.Refusal}, everything, tally{}},
		{"told to whose source it has", rogue, map[string]marks.Kind{"gateway:lo": marks.Refusal}, everything, tally{}},
		{"told to others", rogue, map[string]marks.Kind{"gateway:eth0": marks.Refusal}, everything, tally{astray: 1}},
		{"not only told", rogue, map[string]marks.Kind{"gateway:lo": marks.Refusal | marks.Question}, everything, tally{astray: 1}},
		{"answered", one, map[string]marks.Kind{own: both}, everything, tally{answered: 1}},
		{"in the stack", one, map[string]marks.Kind{own: marks.Question, "gateway:in": marks.Question}, everything, tally{astray: 1}},
		{"passes", listed, map[string]marks.Kind{own: both, far: both, "host:eth0": both}, everything, tally{due: 1, passed: 1}},
		{"lost", listed, map[string]marks.Kind{own: marks.Question, far: marks.Question}, everything, tally{due: 1, lost: 1}},
		{"lost where nothing must pass", listed, map[string]marks.Kind{own: marks.Question}, nothing, tally{}},
		{"listed and astray", listed, map[string]marks.Kind{own: both, "gateway:eth0": both}, everything, tally{astray: 1, due: 1, passed: 1}},
		{"not answered, and need not be", udp, map[string]marks.Kind{own: marks.Question, "host:eth0": marks.Question}, everything, tally{due: 1, passed: 1}},
		{"lost to the internet", beside, map[string]marks.Kind{own: marks.Question}, nothing, tally{internet: 1, internetLost: 1}},
	} {
		got := tally{caught: map[string]int{}, strays: samples{}, answers: samples{}, losses: samples{}}
		got.judge(c.probe, c.seen, c.alive)
		for what, pair := range map[string][2]int{
			"astray": {got.astray, c.want.astray}, "answered": {got.answered, c.want.answered}, "due": {got.due, c.want.due},
			"passed": {got.passed, c.want.passed}, "lost": {got.lost, c.want.lost},
			"to the internet": {got.internet, c.want.internet}, "lost to it": {got.internetLost, c.want.internetLost},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %s is %d, want %d", c.name, what, pair[0], pair[1])
			}
		}
	}
}
