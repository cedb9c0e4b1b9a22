package reach

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// names remembers what names stand for, so that no run waits for a resolver but
// the first of its name: later ones go to the address that is known, while the
// resolver is asked again beside them. A resolver that does not answer leaves
// the last good address in place; one that says that there is no such name does
// not. It is safe for use by several goroutines.
type names struct {
	ask func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	known map[string]*name
}

// name is one of names.
type name struct {
	addrs  []netip.Addr  // the last good answer; none: there was none
	good   time.Time     // when that was
	asked  time.Time     // when the last look-up began
	used   time.Time     // when it was last wanted
	failed *Fault        // of the last look-up that ended; nil: it was good
	asking chan struct{} // closed when the look-up that is under way has ended; nil: none is
}

const (
	nameFresh  = 30 * time.Second // for so long an answer is not asked for again
	nameRetry  = 5 * time.Second  // for so long a failed look-up is not repeated, where there is a good one
	nameMost   = 5 * time.Second  // that a look-up may take; a run that has longer does not wait longer
	nameUnused = time.Hour        // after that it is forgotten
)

// resolved is the process's: checks of all kinds share it.
var resolved = &names{ask: lookup}

// find returns the addresses of host. since is when the resolver last gave them,
// where it has not answered from then on; else zero. An error is a *Fault.
func (n *names) find(ctx context.Context, host string) (addrs []netip.Addr, since time.Time, err error) {
	now := time.Now()
	n.mu.Lock()
	e := n.entry(host, now)
	known := len(e.addrs) > 0
	if e.asking == nil && (!known || now.Sub(e.good) >= nameFresh && now.Sub(e.asked) >= nameRetry) {
		n.refresh(host, e, now)
	}
	if known {
		defer n.mu.Unlock()
		if e.failed != nil {
			since = e.good
		}
		return e.addrs, since, nil
	}
	asking := e.asking
	n.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
		return nil, time.Time{}, silentResolver(ctx, host)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(e.addrs) == 0 && e.failed != nil {
		return nil, time.Time{}, e.failed
	}
	return e.addrs, time.Time{}, nil
}

// entry is that of host; it forgets what nobody wants any more.
func (n *names) entry(host string, now time.Time) *name {
	e := n.known[host]
	if e == nil {
		for h, old := range n.known {
			if now.Sub(old.used) > nameUnused {
				delete(n.known, h)
			}
		}
		if n.known == nil {
			n.known = make(map[string]*name)
		}
		e = &name{}
		n.known[host] = e
	}
	e.used = now
	return e
}

// refresh asks for host beside whoever wants it. The look-up ends by itself.
func (n *names) refresh(host string, e *name, now time.Time) {
	done := make(chan struct{})
	e.asking, e.asked = done, now
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), nameMost)
		defer cancel()
		addrs, err := n.ask(ctx, host)
		n.mu.Lock()
		defer n.mu.Unlock()
		e.asking = nil
		e.take(addrs, err, host)
	}()
}

// take is the end of a look-up.
func (e *name) take(addrs []netip.Addr, err error, host string) {
	if err == nil && len(addrs) > 0 {
		e.addrs, e.good, e.failed = addrs, time.Now(), nil
		return
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isDNS && dns.IsNotFound:
		e.addrs = nil
		e.failed = Fail(checks.NotResolved, checks.PhaseResolve, "%s: no such name", host)
	case err != nil:
		e.failed = Fail(checks.NotResolved, checks.PhaseResolve, "%s: the resolver did not answer", host)
	default:
		e.addrs = nil
		e.failed = Fail(checks.NotResolved, checks.PhaseResolve, "%s has no address", host)
	}
}

// silentResolver is about a run that ended before the first answer came.
func silentResolver(ctx context.Context, host string) *Fault {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Ours(checks.NotRun, checks.PhaseResolve, "resolving %s: broken off", host)
	}
	return Fail(checks.NotResolved, checks.PhaseResolve, "%s: the resolver did not answer", host)
}

// lookup asks the host's resolvers.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", host)
}
