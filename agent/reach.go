package agent

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/uplink"
)

// Beside is how a trial finds out what our own routes do to the way to the
// collector.
type Beside interface {
	// OwnWay is how a packet of this host to an address would go, in words.
	OwnWay(to netip.Addr) string
	// Beside lets sockets that mark has seen pass our tables by.
	Beside(ctx context.Context, pass func(ctx context.Context, mark func(network, address string, c syscall.RawConn) error) error) error
}

// reach is the way to the collector, as a trial sees it.
type reach struct{ a *Agent }

var _ trial.Centre = (*reach)(nil)

// reach is nil where there is no collector.
func (a *Agent) reach() *reach {
	if !a.identity.Enrolled() {
		return nil
	}
	return &reach{a}
}

func (r *reach) uplink() *uplink.Uplink {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	return r.a.uplink
}

// Fresh has later messages go over a new connection, and at once.
func (r *reach) Fresh() {
	if up := r.uplink(); up != nil {
		up.Fresh()
		up.Wake()
	}
}

// Heard is when the collector answered last.
func (r *reach) Heard() time.Time {
	if up := r.uplink(); up != nil {
		return up.Heard()
	}
	return time.Time{}
}

// urls are the collectors, or the proxy that leads to all of them.
func (r *reach) urls() []string {
	if p := r.a.o.Host.Proxy; p != "" {
		return []string{p}
	}
	if up := r.uplink(); up != nil {
		return up.Collectors()
	}
	return r.a.identity.Collector()
}

// lookupTime bounds one question for a name.
const lookupTime = 3 * time.Second

// Ways are the look-ups of the collectors and the resolvers. The addresses of
// before are looked up again, also when the name has no answer any more.
func (r *reach) Ways(ctx context.Context) []string {
	if r.a.o.Beside == nil {
		return nil
	}
	var lines []string
	way := func(what string, to netip.Addr) {
		line := fmt.Sprintf("the way to %s %s: %s", what, to, r.a.o.Beside.OwnWay(to))
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for _, n := range lookUpAll(ctx, r.urls()) {
		if n.line != "" {
			lines = append(lines, n.line)
		}
		for _, to := range n.addrs {
			way("collector", to)
		}
	}
	for _, line := range r.a.pilot.trial.Record().Ways {
		text, ok := strings.CutPrefix(line, "the way to collector ")
		text, _, _ = strings.Cut(text, ": ")
		if to, err := netip.ParseAddr(text); ok && err == nil {
			way("collector", to)
		}
	}
	for _, to := range resolvers("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf") {
		way("resolver", to)
	}
	return lines
}

// lookedUp is the host of a collector: its addresses, and in words what its name
// stands for; no words where it is an address, or where nobody answered.
type lookedUp struct {
	addrs []netip.Addr
	line  string
}

// lookUpAll asks for the hosts of all collectors at once: names that nobody answers
// for take no longer together than one.
func lookUpAll(ctx context.Context, urls []string) []lookedUp {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found := make([]lookedUp, len(urls))
	var wg sync.WaitGroup
	for i, raw := range urls {
		wg.Go(func() { found[i] = lookUpHost(ctx, hostOf(raw)) })
	}
	wg.Wait()
	return found
}

func lookUpHost(ctx context.Context, host string) lookedUp {
	if to, err := netip.ParseAddr(host); err == nil {
		return lookedUp{addrs: []netip.Addr{to.Unmap()}}
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return lookedUp{}
	}
	var words []string
	for i := range list {
		list[i] = list[i].Unmap()
	}
	slices.SortFunc(list, netip.Addr.Compare)
	for _, to := range list {
		words = append(words, to.String())
	}
	return lookedUp{list, fmt.Sprintf("the name %s: %s", host, strings.Join(words, ", "))}
}

// resolvers are the name servers of a resolv.conf. Where this host asks itself they
// are those of upstream too, which systemd-resolved(8) writes: it is on the way to
// them that a change can cut the names off.
func resolvers(file, upstream string) (list []netip.Addr) {
	for _, to := range nameservers(file) {
		if !to.IsLoopback() {
			list = append(list, to)
		} else if upstream != "" {
			list, upstream = append(list, resolvers(upstream, "")...), ""
		}
	}
	return list
}

// nameservers are those of a resolv.conf, as they stand there.
func nameservers(file string) (list []netip.Addr) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if to, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, to.Unmap())
		}
	}
	return list
}

// answerTime bounds one try to reach a collector.
const answerTime = 4 * time.Second

// Answers tries a connection of its own. Whatever a collector answers will do,
// as long as its certificate is the collector's.
func (r *reach) Answers(ctx context.Context, beside bool) bool {
	if !beside {
		return r.answers(ctx, nil)
	}
	if r.a.o.Beside == nil {
		return false
	}
	answered := false
	err := r.a.o.Beside.Beside(ctx, func(ctx context.Context, mark func(network, address string, c syscall.RawConn) error) error {
		answered = r.answers(ctx, mark)
		return nil
	})
	if err != nil {
		r.a.o.Log.WarnContext(ctx, "it cannot be tried whether the collector answers beside our tables", "err", err)
	}
	return answered
}

func (r *reach) answers(ctx context.Context, mark func(network, address string, c syscall.RawConn) error) bool {
	var extra []byte
	if file := r.a.o.Host.ExtraCA; file != "" {
		extra, _ = os.ReadFile(file) // the uplink says what is wrong with it
	}
	tls, err := r.a.identity.TLSConfig(extra)
	if err != nil {
		return false
	}
	// The resolver is asked by marked sockets too.
	resolver := &net.Resolver{PreferGo: mark != nil, Dial: (&net.Dialer{Control: mark}).DialContext}
	rt := &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true,
		DialContext: (&net.Dialer{Control: mark, Resolver: resolver, Timeout: answerTime}).DialContext}
	if proxy, err := url.Parse(r.a.o.Host.Proxy); err == nil && proxy.Host != "" {
		rt.Proxy = http.ProxyURL(proxy)
	}
	defer rt.CloseIdleConnections()
	up := r.uplink()
	if up == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for _, base := range up.Collectors() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
		if err != nil {
			continue
		}
		if resp, err := rt.RoundTrip(req); err == nil {
			resp.Body.Close()
			return true
		}
	}
	return false
}
