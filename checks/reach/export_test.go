package reach

import (
	"net/netip"
	"time"
)

// Remember makes a name one that the resolver gave at a time, and has not since.
func Remember(host string, a netip.Addr, good time.Time) {
	resolved.mu.Lock()
	defer resolved.mu.Unlock()
	e := resolved.entry(host, time.Now())
	e.addrs, e.good, e.asked, e.failed = []netip.Addr{a}, good, time.Now(), silentResolverOf(host)
}

func silentResolverOf(host string) *Fault {
	return Fail("not_resolved", "resolve", "%s: the resolver did not answer", host)
}
