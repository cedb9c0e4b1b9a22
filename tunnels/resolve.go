package tunnels

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Resolver asks for the addresses of a name. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Cache keeps the last good answers across restarts, so that a site whose
// resolver is behind its tunnel, or dead, still finds its hubs.
type Cache interface {
	Load() (map[string][]netip.Addr, error)
	Save(map[string][]netip.Addr) error
}

const (
	askAgain      = 5 * time.Minute  // after an answer
	askUrgently   = 30 * time.Second // while a hub of that name does not answer
	askPatience   = 10 * time.Second // for one answer
	firstAskWait  = 2 * time.Second  // after a failure
	longestAsking = time.Minute
)

// names knows the addresses of endpoint names. It asks in the background, one
// question a name, so that a dead name delays no other and no look; the last
// good answer is kept for as long as there is no better one.
type names struct {
	resolver Resolver
	cache    Cache
	log      *slog.Logger
	changed  func() // called after an answer that differs

	saving sync.Mutex // so that the newest list is saved last
	mu     sync.Mutex
	loaded bool
	known  map[string]*name
}

type name struct {
	addrs  []netip.Addr // last good answer
	asking bool
	asked  time.Time
	next   time.Time
	tries  int    // in a row that failed
	err    string // of the last one; empty: it was answered
}

func newNames(r Resolver, c Cache, log *slog.Logger, changed func()) *names {
	return &names{resolver: r, cache: c, log: log, changed: changed, known: map[string]*name{}}
}

// endpoints is what Want asks.
func (n *names) endpoints(hostport string) []netip.AddrPort {
	if a, err := netip.ParseAddrPort(hostport); err == nil {
		return []netip.AddrPort{a}
	}
	host, port, ok := splitPort(hostport)
	if !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []netip.AddrPort
	if k := n.known[host]; k != nil {
		for _, a := range k.addrs {
			list = append(list, netip.AddrPortFrom(a, port))
		}
	}
	return list
}

// splitPort takes "host:port" apart; ok is false for anything else, and for an
// address, which needs no asking.
func splitPort(hostport string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(hostport, ':')
	if i <= 0 || strings.ContainsAny(hostport[:i], ":[]") {
		return "", 0, false
	}
	p, err := strconv.ParseUint(hostport[i+1:], 10, 16)
	if _, isAddr := netip.ParseAddr(hostport[:i]); isAddr == nil {
		return "", 0, false
	}
	return hostport[:i], uint16(p), err == nil
}

// load reads the cache once.
func (n *names) load() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded || n.cache == nil {
		return
	}
	n.loaded = true
	list, err := n.cache.Load()
	if err != nil {
		n.log.Warn("remembered endpoint addresses cannot be read; they are asked for", "err", err)
	}
	for host, addrs := range list {
		n.entry(host).addrs = addrs
	}
}

func (n *names) entry(host string) *name {
	if n.known[host] == nil {
		n.known[host] = &name{}
	}
	return n.known[host]
}

// refresh asks for the names that are due. wanted says of each host name in use
// whether its hub does not answer. Names not in use are forgotten.
func (n *names) refresh(ctx context.Context, wg *sync.WaitGroup, wanted map[string]bool) {
	if n.resolver == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for host, silent := range wanted {
		k := n.entry(host)
		due := !now.Before(k.next) || silent && k.err == "" && now.Sub(k.asked) >= askUrgently
		if k.asking || !due {
			continue
		}
		k.asking, k.asked = true, now
		wg.Go(func() { n.ask(ctx, host) })
	}
	if len(wanted) == 0 { // no Spec yet: what was loaded is still needed
		return
	}
	maps.DeleteFunc(n.known, func(host string, k *name) bool {
		_, used := wanted[host]
		return !used && !k.asking
	})
}

// anyKnown reports whether a name was ever answered.
func (n *names) anyKnown() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range n.known {
		if len(k.addrs) > 0 {
			return true
		}
	}
	return false
}

// askOnce asks for what was never answered, and waits at most patience.
func (n *names) askOnce(ctx context.Context, patience time.Duration, wanted map[string]bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var unknown sync.WaitGroup
	n.mu.Lock()
	for host := range wanted {
		if k := n.entry(host); n.resolver != nil && k.addrs == nil && !k.asking {
			k.asking, k.asked = true, time.Now()
			unknown.Go(func() { n.ask(ctx, host) })
		}
	}
	n.mu.Unlock()
	unknown.Wait()
}

// ask asks for one name and keeps the answer.
func (n *names) ask(ctx context.Context, host string) {
	one, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	addrs, err := n.resolver.LookupNetIP(one, "ip", host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	if err == nil && len(addrs) == 0 {
		err = fmt.Errorf("%s has no address", host)
	}
	if n.answered(host, addrs, err, ctx.Err() != nil) {
		n.save()
		n.changed()
	}
}

// answered notes what came of a question; true if the addresses are others than
// before.
func (n *names) answered(host string, addrs []netip.Addr, err error, stopped bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.entry(host)
	k.asking = false
	if stopped && err != nil {
		return false
	}
	if err != nil {
		k.next = time.Now().Add(min(firstAskWait<<min(k.tries, 10), longestAsking))
		k.tries++
		if k.err == "" {
			n.log.Warn("endpoint name is not answered; the last good addresses are kept",
				"name", host, "err", err, "addresses", k.addrs)
		}
		k.err = err.Error()
		return false
	}
	if k.err != "" {
		n.log.Info("endpoint name is answered again", "name", host, "addresses", addrs)
	}
	k.tries, k.err, k.next = 0, "", time.Now().Add(askAgain)
	if sameAddrs(k.addrs, addrs) {
		return false
	}
	k.addrs = addrs
	return true
}

// sameAddrs is true whatever the order: a resolver that turns its answers round
// moves no tunnel.
func sameAddrs(a, b []netip.Addr) bool {
	return slices.Equal(slices.SortedFunc(slices.Values(a), netip.Addr.Compare),
		slices.SortedFunc(slices.Values(b), netip.Addr.Compare))
}

func (n *names) save() {
	if n.cache == nil {
		return
	}
	n.saving.Lock()
	defer n.saving.Unlock()
	n.mu.Lock()
	list := map[string][]netip.Addr{}
	for host, k := range n.known {
		if len(k.addrs) > 0 {
			list[host] = slices.Clone(k.addrs)
		}
	}
	n.mu.Unlock()
	if err := n.cache.Save(list); err != nil {
		n.log.Warn("endpoint addresses could not be remembered; a restart will ask for them", "err", err)
	}
}
