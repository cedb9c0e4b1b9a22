package checks

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestCompare(t *testing.T) {
	ms := time.Millisecond
	good := Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{11200 * time.Microsecond}}
	slow := Result{Verdict: Degraded, Reason: Slow, Sent: 1, Received: 1, RTT: []time.Duration{90 * ms}}
	losing := Result{Verdict: Degraded, Reason: Loss, Sent: 3, Received: 1}
	silent := Result{Verdict: Failed, Reason: Timeout, Sent: 1}
	noWay := Result{Verdict: Failed, Reason: Unreachable, Sent: 1}
	refused := Result{Verdict: Failed, Reason: Refused, Sent: 1, Received: 1}
	wrong := Result{Verdict: Failed, Reason: Assertion, Sent: 1, Received: 1}
	lost := Result{Verdict: Failed, Reason: Loss, Sent: 3}
	fault := Result{Verdict: Unknown, Reason: SelfFault}
	for _, test := range []struct {
		name            string
		through, beside Result
		way             Way
		want            Blame
		text            string
	}{
		{"both well", good, good, WayLives, BlameNobody, ""},
		{"well, and no way beside it", good, silent, WayNotKnown, BlameNobody, ""},
		{"only the tunnel is silent", silent, good, WayLives, BlameTunnel, "beside the tunnel it is well in 11.2 ms"},
		{"the tunnel is silent, and the target says no beside it", silent, refused, WayNotKnown, BlameTunnel, "beside the tunnel it answers"},
		{"no way through the tunnel", noWay, good, WayDead, BlameTunnel, "beside the tunnel it is well in 11.2 ms"},
		{"refused through the tunnel only", refused, good, WayLives, BlameTunnel, "beside the tunnel it is well in 11.2 ms"},
		{"slow in the tunnel only", slow, good, WayLives, BlameTunnel, "beside the tunnel it is well in 11.2 ms"},
		{"loses in the tunnel only", losing, good, WayLives, BlameTunnel, "beside the tunnel it is well in 11.2 ms"},
		{"slow on both", slow, slow, WayLives, BlameNobody, "beside the tunnel as well: not the tunnel"},
		{"slow, and no way beside it", slow, silent, WayLives, BlameNobody, ""},
		{"both refuse", refused, refused, WayLives, BlameService, "beside the tunnel as well"},
		{"both answer wrongly", wrong, refused, WayNotKnown, BlameService, "beside the tunnel as well"},
		{"refuses, and no way beside it", refused, silent, WayDead, BlameService, ""},
		{"both silent, and the cable is out", silent, noWay, WayDead, BlameLine, "nothing leaves this site"},
		{"both silent, and the line is dead", silent, silent, WayDeadBeyond, BlameSupplier, "nothing answers over the line"},
		{"both silent, and others answer", silent, silent, WayLives, BlameService, "beside the tunnel as well, and others answer over the line"},
		{"both silent, and nothing else is known", silent, lost, WayNotKnown, BlameNobody, "beside the tunnel as well: the line or the service"},
		{"a fault of ours in the tunnel", fault, good, WayLives, BlameNobody, ""},
		{"a fault of ours beside it", silent, fault, WayLives, BlameNobody, ""},
	} {
		if blame, text := Compare(test.through, test.beside, test.way); blame != test.want || text != test.text {
			t.Errorf("%s: %q, %q; want %q, %q", test.name, blame, text, test.want, test.text)
		}
	}
}

// A panic of the way through the tunnel goes on to whoever logs it, once nothing of the
// pair runs any more; one beside the tunnel is a fault of ours there.
func TestPairPanics(t *testing.T) {
	var ended atomic.Bool
	well := Func(func(context.Context) Result {
		time.Sleep(10 * time.Millisecond)
		ended.Store(true)
		return Result{Verdict: OK}
	})
	bad := Func(func(context.Context) Result { panic("index out of range") })
	o := guarded(t.Context(), pairOf(bad, well))
	if o.Reason != SelfFault || !strings.Contains(string(o.stack), "TestPairPanics") || !ended.Load() {
		t.Errorf("got %+v, the other has ended: %v\n%s", o.Result, ended.Load(), o.stack)
	}
	if o = guarded(t.Context(), pairOf(well, bad)); o.Verdict != OK || o.Beside == nil || o.Beside.Reason != SelfFault {
		t.Errorf("beside: %+v", o.Result)
	}
}

// TestPairIsAskedAtOnce runs a check in the tunnel and its twin beside it, in
// both forms.
func TestPairIsAskedAtOnce(t *testing.T) {
	for _, starter := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			answer := func(target Target) Result {
				asked.Add(1)
				if target.Network == "" {
					if target.Address != "203.0.113.9:443" || target.Source != nil {
						t.Errorf("beside: %+v", target)
					}
					return Result{Verdict: OK, Sent: 1, Received: 1, RTT: []time.Duration{time.Millisecond}}
				}
				return Result{Verdict: Failed, Reason: Timeout, Detail: "no answer in time", Sent: 1}
			}
			kind := Kind{Name: "any", New: func(target Target) (Check, error) {
				if starter {
					return shared(func(_ context.Context, _ time.Time, done func(Result)) {
						r := answer(target)
						time.AfterFunc(time.Duration(r.Received+1)*time.Millisecond, func() { done(r) })
					}), nil
				}
				return Func(func(context.Context) Result { return answer(target) }), nil
			}}
			r, sink := newTestRunner(t, RunnerOptions{Way: func() Way { return WayLives }}, kind)
			s := Spec{Name: "records", Kind: "any", Interval: time.Second, Beside: "203.0.113.9:443", Target: Target{Network: "kestrel", Address: "198.51.100.20:443"}}
			r.Sync([]Spec{s})
			pass(5 * time.Second)
			got := sink.of("records")[0]
			if got.Blame != BlameTunnel || got.Detail != "no answer in time; beside the tunnel it is well in 1.0 ms" || got.Sent != 1 || got.Received != 0 {
				t.Errorf("got %+v", got)
			}
			if got.Beside == nil || got.Beside.Verdict != OK || len(got.Steps) != 1 || got.Steps[0].Took != time.Millisecond || got.Values[0].Name != "beside_rtt" {
				t.Errorf("got %+v", got)
			}
			if n := int64(len(sink.of("records"))); asked.Load() != 2*n {
				t.Errorf("asked %d times in %d runs", asked.Load(), n)
			}
			if st := r.Status()[0]; st.State != Down || st.Figures.Sent != len(sink.of("records")) {
				t.Errorf("status %+v", st)
			}
			if once := r.RunOnce(t.Context(), s); once.Blame != BlameTunnel {
				t.Errorf("once: %+v", once)
			}
		})
	}
}

func TestPairIsValidatedTwice(t *testing.T) {
	kind := Kind{Name: "any", New: func(target Target) (Check, error) {
		if !strings.Contains(target.Address, ":") {
			return nil, errors.New("no port")
		}
		return Func(nil), nil
	}}
	registry, err := NewRegistry(kind)
	if err != nil {
		t.Fatal(err)
	}
	s := Spec{Kind: "any", Beside: "203.0.113.9", Target: Target{Address: "198.51.100.20:443"}}
	if err := registry.Validate(s); err == nil || err.Error() != "beside: no port" {
		t.Errorf("got %v", err)
	}
}
