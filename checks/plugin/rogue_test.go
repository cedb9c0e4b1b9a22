package plugin

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// misbehave does what a program must not, as its argument says.
func misbehave(how string) {
	switch how {
	case "prints first":
		fmt.Println("welcome to my plugin")
	case "prints no end":
		for {
			fmt.Print(strings.Repeat("x", 1024))
		}
	case "hangs first":
		time.Sleep(time.Hour)
	case "listens elsewhere":
		fmt.Println("1|1|unix|/run/ginnel/agent.sock|grpc")
		time.Sleep(time.Hour)
	case "two faces", "bad schema", "huge", "too many", "endless":
		goplugin.Serve(&goplugin.ServeConfig{HandshakeConfig: handshake, GRPCServer: goplugin.DefaultGRPCServer,
			VersionedPlugins: map[int]goplugin.PluginSet{protocolVersion: {service: &wire{server: &liar{how: how}}}}})
		os.Exit(0)
	}
}

// liar says untrue things of itself.
type liar struct {
	pb.UnimplementedChecksServer
	how string
}

func (l *liar) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	k := &pb.Kind{Name: "puppet", Doc: "a liar", Schema: map[string]*pb.Option{"a": {Type: "string", Doc: "an option"}}}
	switch l.how {
	case "two faces":
		k.Schema[fmt.Sprint("option", os.Getpid())] = &pb.Option{Type: "int"}
	case "bad schema":
		k.Schema["a"].Type = "float"
	case "huge":
		k.Doc = strings.Repeat("x", answerMost)
	case "endless":
		k.Schema["a"].Doc = strings.Repeat("x", docMost+1)
	case "too many":
		for i := range optionsMost {
			k.Schema[fmt.Sprint("o", i)] = &pb.Option{Type: "int"}
		}
	}
	return &pb.DescribeResponse{Kinds: []*pb.Kind{k}}, nil
}

// TestQuarantine has programs that misbehave at each start: they are left alone
// after a while, or at once where they lie, and the check says why.
func TestQuarantine(t *testing.T) {
	for how, want := range map[string]string{
		"dies":              "quarantined after 10 ends within 10m0s: PROGRAM: ended before it could be used (exit status 3)",
		"prints first":      `quarantined after 10 ends within 10m0s: PROGRAM: said "welcome to my plugin" on standard output where its handshake should be`,
		"prints no end":     "quarantined after 10 ends within 10m0s: PROGRAM: ",
		"listens elsewhere": `quarantined after 10 ends within 10m0s: PROGRAM: it listens on "unix" "/run/ginnel/agent.sock", not on a socket in its folder`,
		"bad schema":        `quarantined because of what it says of itself: PROGRAM: kind "puppet": option "a": type "float" is none of string, int, bool, duration, strings`,
		"huge":              "quarantined because of what it says of itself: PROGRAM: says more than 4194304 bytes of itself",
		"too many":          `quarantined because of what it says of itself: PROGRAM: kind "puppet": has 65 options; 64 is the most`,
		"endless":           `quarantined because of what it says of itself: PROGRAM: kind "puppet": option "a": its doc is not one line of at most 500 bytes`,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := set(t, "puppet", how)
			kinds, err := s.load(t, hasty())
			if err == nil || len(kinds) != 1 || !kinds[0].Late {
				t.Fatalf("%+v, %v", kinds, err)
			}
			until(t, "it is quarantined", func() bool { return kinds[0].Standing().State == checks.ProgramQuarantined })
			r := run(t, kinds[0], "")
			got := strings.ReplaceAll(r.Detail, s.program, "PROGRAM")
			if r.Verdict != checks.Unknown || r.Reason != checks.NotRun || !strings.HasPrefix(got, want) {
				t.Errorf("%+v", r)
			}
			if detail := kinds[0].Standing().Detail; detail != r.Detail {
				t.Errorf("its standing says %q", detail)
			}
		})
	}
}

// TestHangsFirst never says that it is there: the agent goes on without it.
func TestHangsFirst(t *testing.T) {
	t.Parallel()
	kinds, err := set(t, "puppet", "hangs first").load(t, options())
	if err == nil || !strings.Contains(err.Error(), errSlow.Error()) || len(kinds) != 1 || !kinds[0].Late {
		t.Fatalf("%+v, %v", kinds, err)
	}
	if r := run(t, kinds[0], ""); r.Verdict != checks.Unknown || r.Reason != checks.SelfFault {
		t.Errorf("%+v", r)
	}
}

// TestTwoFaces says another schema at its second start than at its first: the
// checks were validated with that.
func TestTwoFaces(t *testing.T) {
	kinds, err := set(t, "puppet", "two faces").load(t, hasty())
	if err != nil {
		t.Fatal(err)
	}
	p := processOf(t, kinds[0])
	s, _ := p.now()
	s.program.fail("enough")
	until(t, "it is quarantined", func() bool { return kinds[0].Standing().State == checks.ProgramQuarantined })
	if d := kinds[0].Standing().Detail; !strings.Contains(d, `kind "puppet": its options are not what they were when it was first started`) {
		t.Error(d)
	}
}

// processOf finds the process of a kind.
func processOf(t *testing.T, k checks.Kind) *process {
	t.Helper()
	c, err := k.New(checks.Target{Options: map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	return c.(*remoteCheck).process
}

// TestLeavesQuarantine touches the offer, and then offers another program.
func TestLeavesQuarantine(t *testing.T) {
	s := set(t, "puppet", "dies")
	kinds, _ := s.load(t, hasty())
	quarantined := func() bool { return kinds[0].Standing().State == checks.ProgramQuarantined }
	until(t, "it is quarantined", quarantined)
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(s.offer, later, later); err != nil {
		t.Fatal(err)
	}
	until(t, "it is tried again", func() bool { return !quarantined() })
	until(t, "it is quarantined again", quarantined)
	edit(t, s, `args = ["dies"]`, "args = []", 0)
	until(t, "the mended program runs", func() bool { return run(t, kinds[0], "").Verdict == checks.OK })
	if st := kinds[0].Standing(); st.State != checks.ProgramRunning || st.Detail != "" || !strings.HasPrefix(st.Weaker, "no systemd") {
		t.Errorf("%+v", st)
	}
}

// TestOfferChanges takes up a changed offer without a restart of the agent.
func TestOfferChanges(t *testing.T) {
	s := set(t, "puppet")
	kinds, err := s.load(t, options())
	if err != nil {
		t.Fatal(err)
	}
	edit(t, s, "args = []", `args = ["a new one"]`, 0)
	until(t, "it runs with the new argument", func() bool { return strings.HasSuffix(run(t, kinds[0], "args").Detail, "a new one") })
}

// TestFlood ends a program that writes without end, whichever way it does.
func TestFlood(t *testing.T) {
	for _, how := range []string{"flood", "flood stdout", "flood fd 1"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			log := &logged{}
			s := set(t, "puppet")
			o := options()
			o.Log = logTo(log)
			kinds, err := s.load(t, o)
			if err != nil {
				t.Fatal(err)
			}
			old := pidOf(t, kinds[0])
			if r := run(t, kinds[0], how); r.Verdict != checks.Unknown || r.Reason != checks.SelfFault {
				t.Errorf("%+v", r)
			}
			until(t, "it was ended", func() bool { return !alive(old) })
			until(t, "it is back", func() bool { return run(t, kinds[0], "").Verdict == checks.OK })
			if text := log.String(); !strings.Contains(text, "it floods its output") || len(text) > 300_000 {
				t.Errorf("the log has %d bytes: %.500s", len(text), text)
			}
		})
	}
}

// TestFork starts something in a session of its own, which goes with its plugin.
func TestFork(t *testing.T) {
	k := perform(t)
	child, err := strconv.Atoi(run(t, k, "fork").Detail)
	if err != nil || !alive(child) {
		t.Fatalf("process %d: %v", child, err)
	}
	if err := syscall.Kill(pidOf(t, k), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "what it started is gone", func() bool { return !alive(child) })
}

// TestEatsMemory is bounded in what it gets: that is what it says itself when it
// ends.
func TestEatsMemory(t *testing.T) {
	s := set(t, "puppet")
	script(t, s, "#!/bin/sh\nsleep 0.2\nexec tail /dev/zero\n") // the limit is there soon after the start
	log := &logged{}
	o := options()
	o.memory, o.Log = 64<<20, logTo(log)
	_, err := s.load(t, o)
	if err == nil || !strings.Contains(err.Error(), "ended before it could be used (") {
		t.Errorf("%v", err)
	}
	until(t, "it had no more memory", func() bool { return strings.Contains(log.String(), "memory exhausted") })
}

// script puts a script in place of the puppet.
func script(t *testing.T, s stage, text string) {
	t.Helper()
	if err := os.Remove(s.program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(s.offer)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(b), "sha256 = \"")
	s.write(t, head+"sha256 = \""+sumOf([]byte(text))+rest[64:])
}

// TestPastHandshake is told, though go-plugin has no ear for it any more.
func TestPastHandshake(t *testing.T) {
	log := &logged{}
	o := options()
	o.Log = logTo(log)
	kinds, err := set(t, "puppet").load(t, o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, kinds[0], "say fd 1")
	until(t, "the line is in the log", func() bool { return strings.Contains(log.String(), `line="a line past go-plugin"`) })
}

// TestAgreement holds back checks of what somebody must have agreed to.
func TestAgreement(t *testing.T) {
	s := set(t, "clinical")
	kinds, err := s.load(t, options())
	if err != nil || !kinds[0].NeedsAgreement {
		t.Fatalf("%+v, %v", kinds, err)
	}
	r := run(t, kinds[0], "")
	if want := "the owner of what it asks has not agreed: " + s.offer + " has no agreement"; r.Reason != checks.NotRun || r.Detail != want {
		t.Errorf("%+v", r)
	}
	edit(t, s, "args = []", `agreement = "Dr Example, imaging lead, 2026-11-20"`, 0)
	until(t, "it runs", func() bool { return run(t, kinds[0], "").Verdict == checks.OK })
}

func TestManyChecks(t *testing.T) {
	k := perform(t)
	results := make(chan checks.Result)
	const many = 200
	for i := range many {
		c := mustMake(t, k, "count", nil)
		go func() {
			var r checks.Result
			for range 1 + i%3 {
				r = c.Run(t.Context())
			}
			if r.Detail != strconv.Itoa(1+i%3) {
				r.Verdict = checks.Failed
			}
			results <- r
		}()
	}
	for range many {
		if r := <-results; r.Verdict != checks.OK {
			t.Errorf("%+v", r)
		}
	}
}

// TestOneShot is not remembered beside the checks that go on.
func TestOneShot(t *testing.T) {
	k := perform(t)
	c, err := k.Make(checks.Target{Address: "one shot", OneShot: true, Timeout: long})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r := c.Run(t.Context()); r.Detail != "true 1" {
			t.Errorf("%+v", r)
		}
	}
}
