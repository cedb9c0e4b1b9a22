package limit

import (
	"fmt"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	b, now := New(3, 10*time.Second), time.Unix(1e9, 0)
	for i := range 3 {
		if w := b.Take("a", now); w != 0 {
			t.Errorf("request %d waits %v", i, w)
		}
	}
	if w := b.Take("a", now); w != 10*time.Second {
		t.Errorf("after the burst: %v, want 10s", w)
	}
	if w := b.Take("b", now); w != 0 {
		t.Errorf("another caller waits %v", w)
	}
	now = now.Add(4 * time.Second)
	if w := b.Wait("a", now); w != 6*time.Second {
		t.Errorf("4 s later: %v, want 6s", w)
	}
	now = now.Add(6 * time.Second)
	if w := b.Wait("a", now) + b.Take("a", now); w != 0 {
		t.Errorf("10 s later: %v", w)
	}
	now = now.Add(time.Hour)
	for i := range 4 {
		if w := b.Take("a", now); (w != 0) != (i == 3) {
			t.Errorf("an hour later, request %d: %v", i, w)
		}
	}
	if w := b.Take("a", now.Add(-time.Hour)); w != 10*time.Second {
		t.Errorf("clock set back: %v", w)
	}
}

func TestCallersAreForgotten(t *testing.T) {
	b, now := New(1, time.Second), time.Unix(1e9, 0)
	for i := range most {
		b.Take(fmt.Sprint(i), now)
	}
	b.Take("late", now.Add(2*time.Second))
	if len(b.of) != 1 {
		t.Errorf("%d remembered, want the last only", len(b.of))
	}
	for i := range 2 * most {
		b.Take(fmt.Sprint(i), now.Add(2*time.Second))
	}
	if len(b.of) > most {
		t.Errorf("%d remembered, at most %d", len(b.of), most)
	}
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{"192.0.2.1:99": "192.0.2.1", "[::ffff:192.0.2.1]:99": "192.0.2.1",
		"[2001:db8:1:2:3::4]:99": "2001:db8:1:2::/64", "[fe80::1%eth0]:99": "fe80::/64", "@": "@", "x:1": "x"} {
		if got := Address(remote); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}
