package plugin

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// What the wire carries of one result; the rest is left out.
const (
	rttMax   = 10_000 // times, and packets
	stepsMax = 100    // steps, and values
	textMax  = 1000   // bytes of a text of a step or value
)

const (
	// countMost is the most that a plugin can have counted in one run.
	countMost = 1_000_000
	// unsharp is how much longer than a run a time in it may be: the two are taken
	// by different processes.
	unsharp = time.Second
)

func toResult(r checks.Result, arrived time.Time) *pb.RunResponse {
	out := &pb.RunResponse{Verdict: string(r.Verdict), Reason: string(r.Reason), Phase: string(r.Phase),
		Detail: clean(r.Detail), Sent: int64(r.Sent), Received: int64(r.Received), Stamps: string(r.Stamps), Path: clean(r.Path),
		Odd: &pb.Odd{Late: int64(r.Odd.Late), Duplicate: int64(r.Odd.Duplicate), Reordered: int64(r.Odd.Reordered),
			Corrupt: int64(r.Odd.Corrupt), Unsent: int64(r.Odd.Unsent), Dropped: int64(r.Odd.Dropped)}}
	if !r.Start.IsZero() {
		out.StartNs = int64(r.Start.Sub(arrived))
	}
	for _, d := range first(r.RTT, rttMax) {
		out.RttNs = append(out.RttNs, int64(d))
	}
	for _, p := range first(r.Packets, rttMax) {
		out.Packets = append(out.Packets, &pb.Packet{AtNs: int64(p.At), RttNs: int64(p.RTT), Fate: string(p.Fate)})
	}
	for _, s := range first(r.Steps, stepsMax) {
		out.Steps = append(out.Steps, &pb.Step{Phase: string(s.Phase), Name: clean(s.Name), TookNs: int64(s.Took), Detail: clean(s.Detail)})
	}
	for _, v := range first(r.Values, stepsMax) {
		out.Values = append(out.Values, &pb.Figure{Name: clean(v.Name), Number: v.Number, Unit: clean(v.Unit),
			Warn: clean(v.Warn), Crit: clean(v.Crit), Min: v.Min, Max: v.Max})
	}
	return out
}

// fromResult reads what a plugin answered to a request that we sent then. Words
// that are not of the closed lists are a fault of the plugin.
func fromResult(p *pb.RunResponse, sent time.Time) checks.Result {
	o := p.GetOdd()
	r := checks.Result{Verdict: checks.Verdict(p.GetVerdict()), Reason: checks.Reason(p.GetReason()),
		Phase: checks.Phase(p.GetPhase()), Detail: p.GetDetail(), Stamps: checks.Stamps(p.GetStamps()),
		Sent: int(p.GetSent()), Received: int(p.GetReceived()), Start: sent.Add(time.Duration(p.GetStartNs())), Path: short(p.GetPath()),
		Odd: checks.Odd{Late: int(o.GetLate()), Duplicate: int(o.GetDuplicate()), Reordered: int(o.GetReordered()),
			Corrupt: int(o.GetCorrupt()), Unsent: int(o.GetUnsent()), Dropped: int(o.GetDropped())}}
	for _, d := range first(p.GetRttNs(), rttMax) {
		r.RTT = append(r.RTT, time.Duration(d))
	}
	for _, q := range first(p.GetPackets(), rttMax) {
		r.Packets = append(r.Packets, checks.Packet{At: time.Duration(q.GetAtNs()), RTT: time.Duration(q.GetRttNs()), Fate: checks.Fate(q.GetFate())})
	}
	for _, s := range first(p.GetSteps(), stepsMax) {
		r.Steps = append(r.Steps, checks.Step{Phase: checks.Phase(s.GetPhase()), Name: short(s.GetName()),
			Took: time.Duration(s.GetTookNs()), Detail: short(s.GetDetail())})
	}
	for _, v := range first(p.GetValues(), stepsMax) {
		r.Values = append(r.Values, checks.Value{Name: short(v.GetName()), Number: v.GetNumber(), Unit: short(v.GetUnit()),
			Warn: short(v.GetWarn()), Crit: short(v.GetCrit()), Min: v.Min, Max: v.Max})
	}
	if fault := cmp.Or(notOfTheLists(r), impossible(r, sent, time.Now())); fault != "" {
		return selfFault(sent, "the plugin gave "+fault)
	}
	return r
}

// impossible says what of a result cannot have been in a run from sent to now;
// empty: nothing. Sums of it would be wrong for as long as they are kept.
func impossible(r checks.Result, sent, now time.Time) string {
	if r.Start.Before(sent.Add(-unsharp)) || r.Start.After(now.Add(unsharp)) {
		return fmt.Sprintf("a start %v after it was asked", r.Start.Sub(sent).Round(time.Millisecond))
	}
	times := slices.Clone(r.RTT)
	for _, p := range r.Packets {
		times = append(times, p.At, p.RTT)
	}
	for _, s := range r.Steps {
		times = append(times, s.Took)
	}
	for _, d := range times {
		if d < 0 || d > now.Sub(sent)+unsharp {
			return fmt.Sprintf("a time of %v, in a run of %v", d, now.Sub(sent).Round(time.Millisecond))
		}
	}
	for _, n := range []int{r.Sent, r.Odd.Late, r.Odd.Duplicate, r.Odd.Reordered, r.Odd.Corrupt, r.Odd.Unsent, r.Odd.Dropped} {
		if n < 0 || n > countMost {
			return fmt.Sprintf("a count of %d, in one run", n)
		}
	}
	return ""
}

// notOfTheLists says which word of a result is none that there is, or which
// figure is no number; empty: all is well.
func notOfTheLists(r checks.Result) string {
	if !slices.Contains(reasons, r.Reason) {
		return fmt.Sprintf("a reason that there is not: %q", r.Reason)
	}
	if !slices.Contains(phases, r.Phase) {
		return fmt.Sprintf("a phase that there is not: %q", r.Phase)
	}
	for _, s := range r.Steps {
		if !slices.Contains(phases, s.Phase) {
			return fmt.Sprintf("a phase that there is not: %q", s.Phase)
		}
	}
	for _, p := range r.Packets {
		if !slices.Contains(fates, p.Fate) {
			return fmt.Sprintf("a fate that there is not: %q", p.Fate)
		}
	}
	for _, v := range r.Values {
		for _, n := range []*float64{&v.Number, v.Min, v.Max} {
			if n != nil && (math.IsNaN(*n) || math.IsInf(*n, 0)) {
				return fmt.Sprintf("a value %q that is no number", v.Name)
			}
		}
	}
	return ""
}

// first is the beginning of a list, at most n long.
func first[T any](list []T, n int) []T { return list[:min(len(list), n)] }

// short bounds a text.
func short(s string) string {
	if len(s) > textMax {
		return clean(s[:textMax])
	}
	return s
}

var reasons = []checks.Reason{checks.NoReason, checks.Timeout, checks.Refused, checks.Unreachable, checks.NotResolved,
	checks.Certificate, checks.Protocol, checks.Assertion, checks.Slow, checks.Loss, checks.NoHandshake,
	checks.SelfFault, checks.Blocked, checks.NotRun, checks.ClockStepped}

var phases = []checks.Phase{checks.NoPhase, checks.PhaseResolve, checks.PhaseRoute, checks.PhaseConnect,
	checks.PhaseTLS, checks.PhaseRequest, checks.PhaseResponse, checks.PhaseAssert}

var fates = []checks.Fate{checks.Answered, checks.Lost, checks.Late, checks.Corrupt, checks.Denied, checks.Unsent}

// selfFault is a fault of ours: nothing is known of the target.
func selfFault(start time.Time, detail string) checks.Result {
	return checks.Result{Verdict: checks.Unknown, Reason: checks.SelfFault, Detail: detail, Start: start}
}

// notRun is for a run that we did not begin, or broke off.
func notRun(start time.Time, detail string) checks.Result {
	return checks.Result{Verdict: checks.Unknown, Reason: checks.NotRun, Detail: detail, Start: start}
}
