package builtin

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/checktest"
)

// The way of these tests, of IPv4 and of IPv6:
//
//	here 10 --- 1 first 1 --+-- 2 left  2 --+-- 10 target
//	                        +-- 2 right 2 --+
const (
	pathTarget  = "203.0.113.66"
	pathTarget6 = "2001:db8:4::10"
)

type pathNet struct{ first, left, right, target *node }

func newPathNet(t *testing.T) pathNet {
	t.Helper()
	n := pathNet{newNode(t), newNode(t), newNode(t), newNode(t)}
	join(t, "line", nil, n.first, 1500, []string{"203.0.113.10/28", "2001:db8:1::10/64"}, []string{"203.0.113.1/28", "2001:db8:1::1/64"})
	join(t, "l", n.first, n.left, 1500, []string{"203.0.113.17/28", "2001:db8:2::1/64"}, []string{"203.0.113.18/28", "2001:db8:2::2/64"})
	join(t, "r", n.first, n.right, 1500, []string{"203.0.113.33/28", "2001:db8:3::1/64"}, []string{"203.0.113.34/28", "2001:db8:3::2/64"})
	join(t, "lt", n.left, n.target, 1500, []string{"203.0.113.65/28", "2001:db8:4::1/64"}, []string{pathTarget + "/28", pathTarget6 + "/64"})
	join(t, "rt", n.right, n.target, 1500, []string{"203.0.113.81/28", "2001:db8:5::1/64"}, []string{"203.0.113.82/28", "2001:db8:5::10/64"})
	var here *node
	for _, r := range []struct {
		at *node
		to string
		by []string
	}{
		{here, "203.0.113.64/26", []string{"203.0.113.1"}}, {here, "2001:db8:4::/64", []string{"2001:db8:1::1"}},
		{n.first, pathTarget + "/32", []string{"203.0.113.18"}}, {n.first, pathTarget6 + "/128", []string{"2001:db8:2::2"}},
		{n.right, pathTarget + "/32", []string{"203.0.113.82"}}, {n.right, pathTarget6 + "/128", []string{"2001:db8:5::10"}},
		{n.left, "203.0.113.0/28", []string{"203.0.113.17"}}, {n.left, "2001:db8:1::/64", []string{"2001:db8:2::1"}},
		{n.right, "203.0.113.0/28", []string{"203.0.113.33"}}, {n.right, "2001:db8:1::/64", []string{"2001:db8:3::1"}},
		{n.target, "203.0.113.0/26", []string{"203.0.113.65"}}, {n.target, "2001:db8:1::/64", []string{"2001:db8:4::1"}},
	} {
		r.at.route(t, r.to, r.by...)
	}
	n.target.serve(t, pathTarget+":443", mute)
	n.target.serve(t, "["+pathTarget6+"]:443", mute)
	return n
}

func hopsOf(r checks.Result) string {
	var hops []string
	for _, s := range r.Steps {
		if s.Phase != checks.PhaseResolve {
			hops = append(hops, s.Name+" "+s.Detail)
		}
	}
	return strings.Join(hops, "; ")
}

func TestPath(t *testing.T) {
	n := newPathNet(t)
	// First, for a router that has told of dead packets just now may be silent (ip_error).
	r := check(t, Path(), checks.Target{Address: "203.0.113.100:443"}) // its router knows no way there
	expect(t, r, checks.Failed, checks.Unreachable, checks.PhaseRoute)
	if want := "203.0.113.1 says: network is unreachable"; r.Detail != want {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
	t.Run("suite", func(t *testing.T) {
		checktest.Run(t, checktest.Subject{
			Kind: Path(), Timed: true,
			Good:     checks.Target{Address: pathTarget + ":443"},
			Refusing: &checks.Target{Address: noWay + ":443"}, RefusingReason: checks.Unreachable,
			Silent: &checks.Target{Address: silentHost + ":443", Options: map[string]any{"wait": "900ms"}},
		})
	})
	const way4 = "hop 1 203.0.113.1; hop 2 203.0.113.18; hop 3 203.0.113.66 takes the connection"
	const way6 = "hop 1 2001:db8:1::1; hop 2 2001:db8:2::2; hop 3 2001:db8:4::10 takes the connection"
	here := []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:1::10")}
	for to, want := range map[string]string{pathTarget + ":443": way4, "[" + pathTarget6 + "]:443": way6,
		pathTarget + ":444": strings.Replace(way4, "takes", "refuses", 1)} {
		r := check(t, Path(), checks.Target{Address: to, Source: here})
		expect(t, r, checks.OK, "", "")
		if hops, _ := valueOf(r, "hops"); hops != 3 || hopsOf(r) != want || r.Path != "line" || r.Sent != 1 || r.Received != 1 || len(r.RTT) != 1 {
			t.Errorf("%s: %+v\nwant hops %s", to, r, want)
		}
	}
	r = check(t, Path(), checks.Target{Address: pathTarget + ":443", Options: map[string]any{"hops": int64(2)}})
	expect(t, r, checks.Degraded, checks.Assertion, checks.PhaseAssert)
	r = check(t, Path(), checks.Target{Address: pathTarget + ":443", Options: map[string]any{"max_hops": int64(2)}})
	expect(t, r, checks.Degraded, checks.Assertion, checks.PhaseAssert)
	if want := "203.0.113.66:443 answers, from further than the 2 hops that were looked at"; r.Detail != want {
		t.Errorf("detail %q, want %q", r.Detail, want)
	}
	t.Run("a target that is gone", func(t *testing.T) { pathEnds(t, n) })
	t.Run("routers that say nothing", func(t *testing.T) { pathIsSilent(t, n) })
	t.Run("an answer that is lost", func(t *testing.T) { pathIsSlow(t, n) })
	t.Run("a national host", func(t *testing.T) { pathAsksOnce(t, n) })
	t.Run("another way", func(t *testing.T) { pathChanges(t, n) })
	t.Run("one flow", func(t *testing.T) { pathIsOneFlow(t, n) })
}

// pathEnds: an address that nobody has, behind two routers.
func pathEnds(t *testing.T, n pathNet) {
	n.first.route(t, "203.0.113.70/32", "203.0.113.18")
	n.left.net.NeighAdd(neighbour(t, n.left, "lt", "203.0.113.70"))
	r := check(t, Path(), checks.Target{Address: "203.0.113.70:443", Options: map[string]any{"wait": "100ms"}})
	expect(t, r, checks.Failed, checks.Timeout, checks.PhaseConnect)
	if want := "no answer from 203.0.113.70:443; the last router that was heard is 203.0.113.18, hop 2"; r.Detail != want || r.Sent != 1 || r.Received != 0 {
		t.Errorf("got %+v, want %q", r, want)
	}
}

// pathIsSilent: routers that send nothing back are no fault, and no loss.
func pathIsSilent(t *testing.T, n pathNet) {
	for _, x := range []*node{n.first, n.left} {
		x.set(t, "ipv4/icmp_ratelimit", "3600000")
		x.set(t, "ipv4/icmp_ratemask", fmt.Sprint(1<<11))
		defer x.set(t, "ipv4/icmp_ratelimit", "0")
	}
	check(t, Path(), checks.Target{Address: pathTarget + ":443", Options: map[string]any{"wait": "100ms"}}) // takes the only answer
	var r checks.Result
	for range 8 { // the first of a bucket may pass
		r = check(t, Path(), checks.Target{Address: pathTarget + ":443", Options: map[string]any{"wait": "100ms"}})
	}
	expect(t, r, checks.OK, "", "")
	if want := "hop 1 says nothing; hop 2 says nothing; hop 3 203.0.113.66 takes the connection"; hopsOf(r) != want || r.Sent != 1 || r.Received != 1 {
		t.Errorf("got %+v, want %s", r, want)
	}
}

// pathIsSlow: the target's answer is lost, and comes at a question for further.
func pathIsSlow(t *testing.T, n pathNet) {
	c, err := Path().Make(checks.Target{Address: pathTarget + ":443", Options: map[string]any{"wait": "100ms"}})
	if err != nil {
		t.Fatal(err)
	}
	route := func() { n.target.route(t, "203.0.113.0/26", "203.0.113.65") }
	n.target.route(t, "203.0.113.0/26", "203.0.113.70") // nobody is there
	back := time.AfterFunc(400*time.Millisecond, route)
	defer back.Stop()
	r := c.Run(t.Context())
	expect(t, r, checks.OK, "", "")
	if want := "hop 1 203.0.113.1; hop 2 203.0.113.18; hop 3 203.0.113.66 takes the connection"; hopsOf(r) != want {
		t.Errorf("got %s, want %s", hopsOf(r), want)
	}
}

// pathAsksOnce: a national host behind three routers that say nothing is connected
// to once in a run, by which it is not known from how far it answers.
func pathAsksOnce(t *testing.T, n pathNet) {
	const host = "203.0.113.98"
	far := newNode(t)
	join(t, "tf", n.target, far, 1500, []string{"203.0.113.97/28"}, []string{host + "/28"})
	far.route(t, "203.0.113.0/26", "203.0.113.97")
	for _, r := range []struct {
		at *node
		by string
	}{{nil, "203.0.113.1"}, {n.first, "203.0.113.18"}, {n.left, "203.0.113.66"}} {
		r.at.route(t, host+"/32", r.by)
	}
	for _, x := range []*node{n.first, n.left, n.target} {
		x.set(t, "ipv4/icmp_ratelimit", "3600000")
		x.set(t, "ipv4/icmp_ratemask", fmt.Sprint(1<<11))
		defer x.set(t, "ipv4/icmp_ratelimit", "0")
	}
	var taken atomic.Int32
	far.serve(t, host+":443", func(net.Conn) { taken.Add(1) })
	kinds, err := checks.NewRegistry(Path())
	if err != nil {
		t.Fatal(err)
	}
	spec := checks.Spec{Name: "way", Kind: "path", Interval: 10 * time.Minute, Target: checks.Target{Address: host + ":443", Options: map[string]any{"wait": "100ms"}}}
	const runs = 6 // as above
	ask := func(m checks.Manners) (last checks.Result, connections int32) {
		taken.Store(0)
		for range runs {
			runner := checks.NewRunner(checks.RunnerOptions{Registry: kinds})
			runner.Behave(m)
			last = runner.RunOnce(t.Context(), spec)
			runner.Close()
		}
		time.Sleep(200 * time.Millisecond) // the listener is behind the kernel
		return last, taken.Load()
	}
	r, connections := ask(checks.Manners{})
	expect(t, r, checks.OK, "", "")
	if hops, _ := valueOf(r, "hops"); connections <= runs || hops != 4 {
		t.Errorf("a host like others has %d connections: %+v", connections, r)
	}
	r, connections = ask(checks.Manners{National: []string{host}})
	expect(t, r, checks.OK, "", "")
	const want = "it answers, and is not asked again from how far: 203.0.113.98 is national, and was asked "
	if connections != runs || !strings.HasPrefix(r.Detail, want) || r.Sent != 1 || r.Received != 1 || len(r.RTT) != 1 {
		t.Errorf("a national host has %d connections: %+v", connections, r)
	}
}

// pathChanges: the second hop is another one than at the run before.
func pathChanges(t *testing.T, n pathNet) {
	c, err := Path().Make(checks.Target{Address: pathTarget + ":444"})
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Run(t.Context()); r.Verdict != checks.OK || r.Detail != "" {
		t.Errorf("got %+v", r)
	}
	n.first.route(t, pathTarget+"/32", "203.0.113.34")
	r := c.Run(t.Context())
	expect(t, r, checks.OK, "", "")
	if want := "the path has changed: hop 2 is 203.0.113.34, before 203.0.113.18"; r.Detail != want {
		t.Errorf("got %+v, want %q", r, want)
	}
	if r = c.Run(t.Context()); r.Detail != "" {
		t.Errorf("told twice: %q", r.Detail)
	}
}

// pathIsOneFlow: where a router spreads flows over two ways, one check sees one of
// them, and many checks both. The port refuses, so that no connection is left over
// which would keep its ports for a minute.
func pathIsOneFlow(t *testing.T, n pathNet) {
	n.first.route(t, pathTarget+"/32", "203.0.113.18", "203.0.113.34")
	n.first.route(t, pathTarget6+"/128", "2001:db8:2::2", "2001:db8:3::2")
	for _, to := range []string{pathTarget + ":444", "[" + pathTarget6 + "]:444"} {
		ways := map[string]int{}
		for range 12 {
			c, err := Path().Make(checks.Target{Address: to})
			if err != nil {
				t.Fatal(err)
			}
			first := hopsOf(c.Run(t.Context()))
			ways[first]++
			for range 4 {
				if r := c.Run(t.Context()); hopsOf(r) != first || r.Detail != "" {
					t.Errorf("now %s, %q; before %s", hopsOf(r), r.Detail, first)
				}
			}
		}
		if len(ways) != 2 {
			t.Errorf("%s: 12 checks saw %d ways: %v", to, len(ways), ways)
		}
	}
}

func TestPathNews(t *testing.T) {
	a := func(text string) hop {
		h := hop{kind: router}
		if text != "" {
			h.by = netip.MustParseAddr(text)
		}
		return h
	}
	way := func(port uint16, hops ...hop) trace {
		return trace{to: netip.MustParseAddr(pathTarget), port: port, hops: hops, last: hop{distance: len(hops) + 1, kind: reached}}
	}
	one, two, none := a("203.0.113.1"), a("203.0.113.2"), a("")
	for name, test := range map[string]struct {
		now, before trace
		want        string
	}{
		"the first":            {way(1, one), trace{}, ""},
		"the same":             {way(1, one, two), way(1, one, two), ""},
		"silent now":           {way(1, none, two), way(1, one, two), ""},
		"another flow":         {way(2, two), way(1, one), ""},
		"another router":       {way(1, one, one), way(1, one, two), "the path has changed: hop 2 is 203.0.113.1, before 203.0.113.2"},
		"longer by one":        {way(1, one, two), way(1, one), "the path has changed: 3 hops, before 2"},
		"not known to the end": {trace{hops: []hop{two}}, way(1, one), ""},
	} {
		if got := test.now.news(test.before); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestPathIsSeldom: a connection each few seconds to each hop is no manners.
func TestPathIsSeldom(t *testing.T) {
	registry, err := checks.NewRegistry(Path())
	if err != nil {
		t.Fatal(err)
	}
	s := checks.Spec{Name: "way", Kind: "path", Target: checks.Target{Address: "192.0.2.80:443"}}
	if err, want := registry.Validate(s), "an interval of 30s is too short for a path check, which may run once in 2m0s"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	s.Interval = 2 * time.Minute
	if err := registry.Validate(s); err != nil {
		t.Error(err)
	}
}
