package tunnels_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// answers is a Resolver and a Cache of the test's own.
type answers struct {
	mu    sync.Mutex
	addrs map[string][]netip.Addr
	hangs map[string]bool
	err   error
	asked map[string]int
	saved map[string][]netip.Addr
}

func newAnswers() *answers {
	return &answers{asked: map[string]int{}, hangs: map[string]bool{}, addrs: map[string][]netip.Addr{
		"hub-north.example.net": {netip.MustParseAddr("192.0.2.10")},
		"hub-south.example.net": {netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("2001:db8::20")},
	}}
}

func (a *answers) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	a.mu.Lock()
	a.asked[host]++
	hangs, err, addrs := a.hangs[host], a.err, append([]netip.Addr(nil), a.addrs[host]...)
	a.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return addrs, err
}

func (a *answers) Load() (map[string][]netip.Addr, error) { return a.saved, nil }

func (a *answers) Save(m map[string][]netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.saved = m
	return nil
}

func (a *answers) hang(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hangs[host] = true
}

func (a *answers) set(err error, host string, addrs ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err, a.addrs[host] = err, nil
	for _, x := range addrs {
		a.addrs[host] = append(a.addrs[host], netip.MustParseAddr(x))
	}
}

func (a *answers) count(host string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[host]
}

func (a *answers) endpoints(hostport string) []netip.AddrPort {
	host, port, _ := strings.Cut(hostport, ":")
	var list []netip.AddrPort
	for _, x := range a.addrs[host] {
		list = append(list, netip.AddrPortFrom(x, netip.MustParseAddrPort("192.0.2.1:"+port).Port()))
	}
	return list
}

// logBook keeps what was logged.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBook) count(text string) int { return strings.Count(l.String(), text) }

func (l *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// shake makes every peer of the host have shaken hands just now.
func shake(h *tunnelstest.Host) {
	now := time.Now()
	h.Change(func(s *tunnels.State) {
		for i := range s.Devices {
			for j := range s.Devices[i].Peers {
				s.Devices[i].Peers[j].Seen.LastHandshake = now
			}
		}
	})
}

func endpoint(h *tunnelstest.Host, device string) string {
	for _, d := range h.State().Devices {
		if d.Name == device {
			return d.Peers[0].Endpoint.String()
		}
	}
	return "no device"
}

func TestDeadNameHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &tunnelstest.Host{}
		h.SetFacts(facts())
		dns := newAnswers()
		dns.hang("hub-north.example.net")
		r := &running{host: h, dns: dns, log: &logBook{}}
		r.Manager = &tunnels.Manager{Host: h, Resolver: dns, Log: r.log.logger()}
		r.Set(site())
		begin := time.Now()
		r.run(t)
		defer r.stop()
		pass(time.Second)
		if got := endpoint(h, "gn-heron-s"); got != "192.0.2.20:51821" {
			t.Errorf("after %v heron's endpoint is %s", time.Since(begin), got)
		}
		if len(h.State().Devices) != 3 || !r.up {
			t.Errorf("%d devices, ready %v", len(h.State().Devices), r.up)
		}
		pass(time.Hour)
		if n := dns.count("hub-north.example.net"); n < 40 || n > 80 {
			t.Errorf("the dead name was asked %d times in an hour, want about one a minute", n)
		}
		if n := r.log.count("endpoint name is not answered"); n != 1 {
			t.Errorf("told %d times:\n%s", n, r.log)
		}
	})
}

func TestNamesAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		pass(time.Second)
		quiet := func(d time.Duration) { // with handshakes all the while
			for range d / (10 * time.Second) {
				shake(r.host)
				pass(10 * time.Second)
			}
		}
		quiet(time.Minute)
		before := r.dns.count("hub-north.example.net")
		quiet(20 * time.Minute)
		if n := r.dns.count("hub-north.example.net") - before; n < 3 || n > 5 {
			t.Errorf("a name that is well was asked %d times in 20 minutes, want 4", n)
		}

		r.dns.set(errors.New("server misbehaving"), "hub-north.example.net")
		quiet(20 * time.Minute)
		if got := endpoint(r.host, "gn-kestrel-n"); got != "192.0.2.10:51820" {
			t.Errorf("with a dead resolver the endpoint became %s", got)
		}

		r.host.Take()
		r.dns.set(nil, "hub-north.example.net", "192.0.2.11")
		quiet(6 * time.Minute)
		if got := lines(r.host.Take()); got != "kestrel: ~ peer hub-north endpoint 192.0.2.10:51820 -> 192.0.2.11:51820\n" {
			t.Errorf("a new answer made\n%s", got)
		}

		r.dns.set(nil, "hub-south.example.net", "2001:db8::20", "192.0.2.20")
		quiet(10 * time.Minute)
		if steps := r.host.Take(); len(steps) != 0 {
			t.Errorf("a turned answer made\n%s", lines(steps))
		}

		before = r.dns.count("hub-north.example.net")
		pass(4 * time.Minute) // no handshakes: it is urgent after three
		r.dns.set(nil, "hub-north.example.net", "192.0.2.12")
		pass(40 * time.Second)
		if got := endpoint(r.host, "gn-kestrel-n"); got != "192.0.2.12:51820" {
			t.Errorf("40 s after a silent hub moved, the endpoint is %s", got)
		}
		if n := r.dns.count("hub-north.example.net") - before; n > 10 {
			t.Errorf("a silent hub's name was asked %d times in 4 minutes", n)
		}
	})
}

func TestNamesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := newAnswers()
		h := &tunnelstest.Host{}
		h.SetFacts(facts())
		r := &running{host: h, dns: dns, log: &logBook{}}
		r.Manager = &tunnels.Manager{Host: h, Resolver: dns, Cache: dns}
		r.Set(site())
		r.run(t)
		pass(time.Second)
		r.stop()
		if len(dns.saved) != 2 {
			t.Fatalf("remembered %v", dns.saved)
		}

		dead := &tunnelstest.Host{}
		dead.SetFacts(facts())
		r = &running{host: dead, dns: dns}
		dns.hang("hub-north.example.net")
		dns.hang("hub-south.example.net")
		r.Manager = &tunnels.Manager{Host: dead, Resolver: dns, Cache: dns}
		r.run(t) // the Spec comes later
		pass(time.Minute)
		r.Set(site())
		pass(time.Second)
		defer r.stop()
		if got := endpoint(dead, "gn-kestrel-n"); got != "192.0.2.10:51820" {
			t.Errorf("started with a dead resolver, the endpoint is %s", got)
		}
	})
}

func TestRoamedPeerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		pass(time.Second)
		r.host.Take()
		roam := func() {
			r.host.Change(func(s *tunnels.State) {
				for i := range s.Devices {
					s.Devices[i].Peers[0].Endpoint = netip.MustParseAddrPort("203.0.113.9:1024")
				}
			})
		}
		roam()
		shake(r.host)
		pass(time.Minute)
		if steps := r.host.Take(); len(steps) != 0 {
			t.Errorf("peers that roamed and answer were moved:\n%s", lines(steps))
		}
		pass(4 * time.Minute) // they answer no more
		if got := endpoint(r.host, "gn-kestrel-n"); got != "192.0.2.10:51820" {
			t.Errorf("a silent peer was left at %s", got)
		}
	})
}
