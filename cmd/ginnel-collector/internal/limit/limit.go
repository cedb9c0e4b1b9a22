// Package limit keeps one caller from taking what others need: so many requests
// at first, then one every so often.
package limit

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// most is how many callers are remembered; see forget.
const most = 1 << 16

// Buckets lets each caller through in a burst, and then one every so often. It
// is safe for concurrent use.
type Buckets struct {
	burst float64
	every time.Duration

	mu sync.Mutex
	of map[string]*bucket
}

// bucket is what a caller has left, as of a time.
type bucket struct {
	left float64
	at   time.Time
}

// New makes Buckets.
func New(burst int, every time.Duration) *Buckets {
	return &Buckets{burst: float64(burst), every: every, of: map[string]*bucket{}}
}

// Take takes one from a caller's bucket; 0: it may pass. Else nothing is taken,
// and it is how long until one is there.
func (b *Buckets) Take(caller string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.fill(caller, now)
	if wait := b.until(one); wait > 0 {
		return wait
	}
	one.left--
	return 0
}

// Wait is how long until a caller may pass, and takes nothing.
func (b *Buckets) Wait(caller string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of[caller] == nil {
		return 0
	}
	return b.until(b.fill(caller, now))
}

func (b *Buckets) until(one *bucket) time.Duration {
	if one.left >= 1 {
		return 0
	}
	return max(1, time.Duration((1-one.left)*float64(b.every)))
}

// fill adds what has become free; the caller holds mu.
func (b *Buckets) fill(caller string, now time.Time) *bucket {
	one := b.of[caller]
	if one == nil {
		if len(b.of) >= most {
			b.forget(now)
		}
		one = &bucket{left: b.burst, at: now}
		b.of[caller] = one
	}
	if gone := now.Sub(one.at); gone > 0 {
		one.left = min(b.burst, one.left+float64(gone)/float64(b.every))
	}
	one.at = now // also where the clock was set back
	return one
}

// forget drops callers that are as good as new, and, where that is not enough,
// all: whoever comes by that many names is not stopped by counting them.
func (b *Buckets) forget(now time.Time) {
	for name, one := range b.of {
		if one.left+float64(now.Sub(one.at))/float64(b.every) >= b.burst {
			delete(b.of, name)
		}
	}
	if len(b.of) >= most {
		clear(b.of)
	}
}

// Address is the caller of a request by its remote address: the address itself,
// of IPv6 its network of 64 bits, all of which one machine may use.
func Address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap(); a.Is6() {
		p, _ := a.WithZone("").Prefix(64) // of 64 bits there is always one
		return p.String()
	}
	return a.String()
}
