package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// benches measure against a peer or a limit, in the same namespaces.
var benches = []scenario{
	{"throughput", "TCP from site to hub, beside the plain wireguard-go program", benchThroughput},
	{"networks", "TCP from a site with three networks, beside the plain program with one", benchNetworks},
	{"forward", "TCP through site and hub, beside the same without our tables", benchForward},
	{"memory", "TCP from site to hub as on a machine with 512 MB, beside without a ceiling", benchMemory},
	{"start", "start of `ginnel run` to the first ping answered, beside wg-quick", benchStart},
	{"cold", "a hub with 1,000 sites from nothing, beside wg setconf", benchCold},
	{"change", "one site of a hub with 1,000 and 10,000 changed, beside wg syncconf", benchChange},
	{"idle", "CPU and memory of an idle agent with 10,000 sites", benchIdle},
	{"footprint", "memory and CPU of an agent with 3 networks and 20 checks", benchFootprint},
	{"restart", "packets lost over 20 restarts and 20 kill -9", playRestart},
	{"probes", "CPU and memory of an agent with 1,000 echo checks, beside fping, pro-bing, smokeping_prober, blackbox_exporter", benchProbes},
	{"few", "CPU of an agent with 50 echo checks, and with none, beside fping and pro-bing", benchFew},
	{"rtt", "reported RTT beside a capture on the wire, 1,000 targets, beside fping, pro-bing, blackbox_exporter", benchRTT},
	{"loss", "loss that an agent tells of 1,000 echo checks, beside what the line lost", benchLoss},
	{"connects", "CPU of an agent with 500 TCP checks a second, beside blackbox_exporter", benchConnects},
	{"surgery", "CPU and bytes a day of a usual surgery's gateway with 20 checks, with a real collector", benchSurgery},
}

func benchCommand() cli.Command {
	return storyCommand("bench", "measure beside peers, in the same namespaces")
}

// spread is a figure of which there are several: the median, and the interval
// that holds the true median with at least 95 % (by ranks: no assumption is made
// about how the figures are spread).
type spread struct{ Median, Low, High float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	mid := func() float64 {
		if n%2 == 1 {
			return v[n/2]
		}
		return (v[n/2-1] + v[n/2]) / 2
	}
	k := rank(n)
	return spread{mid(), v[k], v[n-1-k]}
}

// rank is how many of n values may be left out at each end so that the rest
// still holds the median with at least 95 %: the largest k with P(Binomial(n,
// 1/2) <= k-1) <= 2.5 %. 0 where n is too small for that.
func rank(n int) int {
	p, sum, k := math.Pow(0.5, float64(n)), 0.0, 0
	for sum+p <= 0.025 {
		sum += p
		p *= float64(n-k) / float64(k+1)
		k++
	}
	return k
}

// inTurn measures both of a pair; every other pair begins with theirs, so that
// going second helps nobody.
func inTurn(pair int, ours, theirs func() (float64, error)) (us, them float64, err error) {
	first, second, a, b := ours, theirs, &us, &them
	if pair%2 == 1 {
		first, second, a, b = theirs, ours, &them, &us
	}
	if *a, err = first(); err == nil {
		*b, err = second()
	}
	return us, them, err
}

// inPairs measures pairs in turn, and prints each.
func inPairs(s *stage, unit string, ours, theirs func() (float64, error)) (us, them []float64, err error) {
	for i := range pick(s, 20, 3) {
		a, b, err := inTurn(i, ours, theirs)
		if err != nil {
			return nil, nil, err
		}
		us, them = append(us, a), append(them, b)
		fmt.Printf("  pair %2d  %8.4g  %8.4g %s\n", i+1, a, b, unit)
	}
	return us, them, nil
}

// aim is what a ratio should be. Its median decides, however wide the interval
// beside it: that only says how sure it is.
type aim struct {
	text string
	met  func(median float64) bool
}

func atLeast(x float64) aim {
	return aim{fmt.Sprintf(">= %g", x), func(r float64) bool { return r >= x }}
}

func atMost(x float64) aim {
	return aim{fmt.Sprintf("<= %g", x), func(r float64) bool { return r <= x }}
}

// beside makes the row of a figure that was measured in alternation with a
// peer's: value and beside are medians, the ratio is that of each pair.
func beside(name, unit, peer string, aim aim, ours, theirs []float64) result {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / theirs[i]
	}
	r := spreadOf(ratios)
	return result{
		Name: name, Value: spreadOf(ours).Median, Unit: unit, Beside: new(spreadOf(theirs).Median), Ratio: &r.Median,
		Aim: aim.text, Met: aim.met(r.Median),
		Detail: fmt.Sprintf("beside %s: %.4g %s; ratio %.3f, interval %.3f to %.3f, of %d pairs in alternation",
			peer, spreadOf(theirs).Median, unit, r.Median, r.Low, r.High, len(ours)),
	}
}
