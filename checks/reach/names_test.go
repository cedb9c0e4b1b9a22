package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// resolver answers as it is told, and counts.
type resolver struct {
	addr   string        // of the answer
	err    error         // instead
	wait   time.Duration // before either
	asked  int
	cutOff int // by their deadline
}

func (r *resolver) ask(ctx context.Context, host string) ([]netip.Addr, error) {
	r.asked++
	select {
	case <-time.After(r.wait):
	case <-ctx.Done():
		r.cutOff++
		return nil, &net.DNSError{Err: "timeout", Name: host, IsTimeout: true}
	}
	if r.err != nil {
		return nil, r.err
	}
	return []netip.Addr{netip.MustParseAddr(r.addr)}, nil
}

var errNoName = &net.DNSError{Err: "no such host", IsNotFound: true}

// found is what a run with a second to wait gets, as text, and what it waited.
func found(n *names) (string, time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	begin := time.Now()
	addrs, since, err := n.find(ctx, "records.example.net")
	took := time.Since(begin)
	synctest.Wait()
	if f, ok := errors.AsType[*Fault](err); ok {
		return fmt.Sprint(f.Verdict, " ", f.Reason, " ", f.Detail), took
	}
	if since.IsZero() {
		return addrs[0].String(), took
	}
	return fmt.Sprintf("%s of %v ago", addrs[0], time.Since(since)), took
}

// TestNames goes through the life of a name. A step is some time that passes,
// then what the resolver does, then what two runs find, the second a moment
// later.
func TestNames(t *testing.T) {
	const silent = time.Hour
	for _, step := range []struct {
		name    string
		pass    time.Duration
		does    resolver
		first   string
		waits   time.Duration
		second  string
		asked   int
		already string // address from before; empty: none
	}{
		{"the first waits", 0, resolver{addr: "192.0.2.1", wait: 300 * time.Millisecond}, "192.0.2.1", 300 * time.Millisecond, "192.0.2.1", 1, ""},
		{"a silent resolver at first", 0, resolver{wait: silent}, "failed not_resolved records.example.net: the resolver did not answer", time.Second, "failed not_resolved records.example.net: the resolver did not answer", 1, ""},
		{"no such name", 0, resolver{err: errNoName}, "failed not_resolved records.example.net: no such name", 0, "failed not_resolved records.example.net: no such name", 2, ""},
		{"fresh", 29 * time.Second, resolver{addr: "192.0.2.2"}, "192.0.2.1", 0, "192.0.2.1", 0, "192.0.2.1"},
		{"old: asked beside", time.Minute, resolver{addr: "192.0.2.2"}, "192.0.2.1", 0, "192.0.2.2", 1, "192.0.2.1"},
		{"old, slow resolver", time.Minute, resolver{addr: "192.0.2.2", wait: 4 * time.Second}, "192.0.2.1", 0, "192.0.2.1", 1, "192.0.2.1"},
		{"old, dead resolver", time.Minute, resolver{err: errors.New("refused")}, "192.0.2.1", 0, "192.0.2.1 of 1m0s ago", 1, "192.0.2.1"},
		{"old, no such name any more", time.Minute, resolver{err: errNoName}, "192.0.2.1", 0, "failed not_resolved records.example.net: no such name", 2, "192.0.2.1"},
	} {
		t.Run(step.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &names{ask: (&resolver{addr: step.already}).ask}
				if step.already != "" {
					found(n)
				}
				n.ask = step.does.ask
				time.Sleep(step.pass)
				first, waited := found(n)
				second, _ := found(n)
				if first != step.first || waited != step.waits || second != step.second || step.does.asked != step.asked {
					t.Errorf("first %q after %v, then %q, asked %d times\nwant  %q after %v, then %q, asked %d times",
						first, waited, second, step.does.asked, step.first, step.waits, step.second, step.asked)
				}
				time.Sleep(time.Minute) // for what is under way
			})
		})
	}
}

// TestDeadResolver: ten minutes without one delay nobody who has an address, and
// it is asked all the while, not more often than every 5 s.
func TestDeadResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{ask: (&resolver{addr: "192.0.2.1"}).ask}
		found(n)
		dead := &resolver{wait: time.Hour}
		n.ask = dead.ask
		for range 600 {
			time.Sleep(time.Second)
			if _, took := found(n); took != 0 {
				t.Fatalf("a run waited %v", took)
			}
		}
		if got, _ := found(n); got != "192.0.2.1 of 10m0s ago" {
			t.Errorf("found %q", got)
		}
		if dead.asked < 90 || dead.asked > 120 {
			t.Errorf("asked %d times", dead.asked)
		}
		refusing := &resolver{err: errors.New("connection refused")}
		n.ask = refusing.ask
		for range 600 {
			time.Sleep(time.Second)
			found(n)
		}
		if refusing.asked < 90 || refusing.asked > 120 {
			t.Errorf("one that refuses was asked %d times", refusing.asked)
		}
		n.ask = (&resolver{addr: "192.0.2.9"}).ask
		time.Sleep(10 * time.Second)
		found(n)
		if got, _ := found(n); got != "192.0.2.9" {
			t.Errorf("when it is back: %q", got)
		}
		time.Sleep(time.Minute)
	})
}

// TestNamesAreForgotten: a name that no check has any more takes no room.
func TestNamesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{ask: (&resolver{addr: "192.0.2.1"}).ask}
		for i := range 100 {
			n.find(t.Context(), fmt.Sprintf("host-%d.example.net", i))
		}
		time.Sleep(nameUnused + time.Second)
		found(n)
		if len(n.known) != 1 {
			t.Errorf("%d names are kept", len(n.known))
		}
	})
}

// TestFamilies: a target is reached from an address of its own family, or not.
func TestFamilies(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")
	for _, c := range []struct {
		host   string
		source []netip.Addr
		to     string // and from; empty: not run
	}{
		{"192.0.2.1", nil, "192.0.2.1 invalid IP"},
		{"192.0.2.1", []netip.Addr{v6, v4}, "192.0.2.1 192.0.2.9"},
		{"2001:db8::1", []netip.Addr{v6, v4}, "2001:db8::1 2001:db8::9"},
		{"2001:db8::1", []netip.Addr{v4}, ""},
	} {
		w, err := Find(t.Context(), checks.Target{Source: c.source}, c.host)
		if f, ok := errors.AsType[*Fault](err); ok != (c.to == "") || ok && (f.Verdict != checks.Unknown || f.Reason != checks.NotRun) {
			t.Errorf("%s from %v: %v", c.host, c.source, err)
		} else if got := fmt.Sprint(w.To, " ", w.From); !ok && got != c.to {
			t.Errorf("%s from %v: got %s, want %s", c.host, c.source, got, c.to)
		}
	}
}
