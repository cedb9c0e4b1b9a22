package uplink

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	p := pace{slowest: time.Minute}
	var longest, total time.Duration
	for i := range 500 {
		d := p.next(0, slot{})
		if d < leastPause || d > time.Minute || (i < 6 && d > firstPause<<i) {
			t.Fatalf("pause %d is %v", i, d)
		}
		longest, total = max(longest, d), total+d
	}
	if longest < 30*time.Second || total/500 < 15*time.Second {
		t.Errorf("pauses do not grow: longest %v, mean %v", longest, total/500)
	}
	if d := p.next(5*time.Minute, slot{}); d < 5*time.Minute || d > 6*time.Minute {
		t.Errorf("the collector's wish of 5 min became %v", d)
	}
	p.reset()
	if d := p.next(0, slot{}); d > firstPause {
		t.Errorf("after a success the first pause is %v", d)
	}
}

// Gateways that fail together do not come back together.
func TestPaceSpreads(t *testing.T) {
	buckets := map[time.Duration]int{}
	for range 1000 {
		p := pace{slowest: time.Minute, failures: 10}
		buckets[p.next(0, slot{})/(6*time.Second)]++
	}
	for i := range time.Duration(10) {
		if n := buckets[i]; n < 50 || n > 160 {
			t.Errorf("%d of 1000 in the %d. of ten parts of the minute", n, i+1)
		}
	}
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse()
		took := func(f func() bool) time.Duration {
			begin := time.Now()
			if !f() {
				t.Error("it says that the context ended")
			}
			return time.Since(begin)
		}
		ctx := t.Context()
		if d := took(func() bool { return p.rest(ctx, time.Minute) }); d != time.Minute {
			t.Errorf("rest without news: %v", d)
		}
		p.wake()
		p.wake()
		if d := took(func() bool { return p.rest(ctx, time.Minute) }); d != 0 {
			t.Errorf("rest with news: %v", d)
		}
		p.wake()
		if d := took(func() bool { return p.recover(ctx, time.Minute) }); d != time.Minute {
			t.Errorf("news cut a pause after a failure to %v", d)
		}
		p.heal()
		if d := took(func() bool { return p.recover(ctx, time.Minute) }); d != time.Minute {
			t.Errorf("a success before the failure cut the pause to %v", d)
		}
		time.AfterFunc(10*time.Second, p.heal)
		if d := took(func() bool { return p.recover(ctx, time.Minute) }); d != 10*time.Second {
			t.Errorf("the other loop's success ended the pause after %v", d)
		}
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		first := p.rest(ctx, time.Minute)
		if second := p.rest(ctx, time.Minute); first && second { // news may be left
			t.Error("an ended context was not noticed")
		}
	})
}
