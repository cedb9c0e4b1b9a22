package tunnels_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// hintedError is an error that says what to do.
type hintedError struct{ text, hint string }

func (e hintedError) Error() string { return e.text }
func (e hintedError) Hint() string  { return e.hint }

// running is a Manager at work in a synctest bubble.
type running struct {
	*tunnels.Manager
	host *tunnelstest.Host
	dns  *answers
	log  *logBook
	stop func()
	up   bool
}

// start runs a Manager for spec on host until the test ends.
func start(t *testing.T, host *tunnelstest.Host, spec tunnels.Spec) *running {
	t.Helper()
	r := &running{host: host, dns: newAnswers(), log: &logBook{}}
	host.SetFacts(facts())
	r.Manager = &tunnels.Manager{Host: host, Resolver: r.dns, Log: r.log.logger()}
	r.Set(spec)
	r.run(t)
	return r
}

func (r *running) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx, func() { r.up = true }) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		done = closed(done)
	}
	t.Cleanup(func() { cancel() })
	synctest.Wait()
}

// closed is a channel that never holds anybody up.
func closed(chan error) chan error {
	c := make(chan error)
	close(c)
	return c
}

// wantOn holds that the host is exactly as spec wants it.
func wantOn(t *testing.T, r *running, spec tunnels.Spec) {
	t.Helper()
	f := facts()
	f.Ports = map[string]int{}
	for _, d := range r.host.State().Devices {
		f.Ports[d.Name] = d.ListenPort
	}
	want, _ := tunnels.Want(spec, f, r.dns.endpoints)
	if steps := tunnels.Plan(want, r.host.State()); len(steps) > 0 {
		t.Errorf("the host is not as wanted:\n%s", lines(steps))
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestApplyingTwiceWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		if !r.up {
			t.Error("not ready after the first pass")
		}
		pass(time.Second) // the names are answered
		wantOn(t, r, site())
		if n := len(r.host.Take()); n == 0 {
			t.Error("nothing was written: what is tested here?")
		}
		looks := r.host.Looks()
		r.Set(site())
		r.Wake()
		pass(30 * time.Minute)
		if steps := r.host.Take(); len(steps) != 0 {
			t.Errorf("written a second time:\n%s", lines(steps))
		}
		if r.host.Looks() < looks+300 {
			t.Errorf("looked %d times in 30 minutes: is it polled?", r.host.Looks()-looks)
		}
		r.stop()

		again := start(t, r.host, site()) // another process after a crash
		pass(10 * time.Minute)
		if steps := r.host.Take(); len(steps) != 0 {
			t.Errorf("written again after a restart:\n%s", lines(steps))
		}
		again.stop()
		wantOn(t, again, site()) // a stop withdraws nothing
	})
}

func TestPortsThatTheKernelChose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		s := r.host.State()
		for _, f := range s.Filters {
			var ports []int
			for _, d := range s.Devices {
				if slices.Contains(f.Devices, d.Name) {
					ports = append(ports, d.ListenPort)
				}
			}
			slices.Sort(ports)
			if !slices.Equal(ports, f.Ports) || len(ports) == 0 {
				t.Errorf("%s guards the ports %v, the devices listen on %v", f.Table, f.Ports, ports)
			}
		}
	})
}

func TestWhatIsTakenAwayComesBack(t *testing.T) {
	take := map[string]func(s *tunnels.State){
		"a device":             func(s *tunnels.State) { s.Devices = s.Devices[1:] },
		"a link set down":      func(s *tunnels.State) { s.Devices[0].Up = false },
		"an address":           func(s *tunnels.State) { s.Devices[0].Addresses = nil },
		"a peer":               func(s *tunnels.State) { s.Devices[0].Peers = nil },
		"a route":              func(s *tunnels.State) { s.Routes = s.Routes[1:] },
		"all routes":           func(s *tunnels.State) { s.Routes = nil },
		"a rule":               func(s *tunnels.State) { s.Rules = s.Rules[1:] },
		"the filters":          func(s *tunnels.State) { s.Filters = nil },
		"a setting":            func(s *tunnels.State) { s.Settings[0].Value = "0" },
		"something of ours":    func(s *tunnels.State) { s.Rules = append(s.Rules, tunnels.Rule{Family: 4, Priority: 1, Table: 9}) },
		"a device of a former": func(s *tunnels.State) { s.Devices = append(s.Devices, tunnels.Device{Name: "gn-old"}) },
	}
	for name, f := range take {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &tunnelstest.Host{}, site())
				defer r.stop()
				pass(time.Minute)
				for _, wake := range []bool{true, false} {
					r.host.Change(f)
					wait := 6 * time.Second // without an event: by the poll
					if wake {
						r.Wake()
						wait = time.Second
					}
					pass(wait)
					wantOn(t, r, site())
				}
			})
		})
	}
}

func TestPollOfManyPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := hub()
		d := &spec.Networks[0].Devices[0]
		for i := range 100 {
			d.Peers = append(d.Peers, tunnels.PeerSpec{Name: fmt.Sprint("site", i), PublicKey: key.NewPrivate().Public()})
		}
		r := start(t, &tunnelstest.Host{}, spec)
		defer r.stop()
		looks := r.host.Looks()
		pass(10 * time.Minute)
		if n := r.host.Looks() - looks; n < 15 || n > 25 {
			t.Errorf("%d looks in 10 minutes, want about 20", n)
		}
	})
}

func TestEventsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		looks := r.host.Looks()
		for range 1000 {
			r.Wake()
			time.Sleep(time.Millisecond)
		}
		if n := r.host.Looks() - looks; n > 10 {
			t.Errorf("a second of events made %d looks", n)
		}
	})
}

func TestOneNetworkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fixed atomic.Bool
		tries := 0
		h := &tunnelstest.Host{}
		h.Fail = func(_ int, s tunnels.Step) error {
			if !fixed.Load() && s.Network == "heron" && s.Kind == tunnels.RuleKind {
				tries++
				return hintedError{"operation not permitted", "give it CAP_NET_ADMIN"}
			}
			return nil
		}
		r := start(t, h, site())
		defer r.stop()
		if !r.up {
			t.Error("one network holds up readiness")
		}
		pass(time.Hour)
		wantOnly(t, r, "kestrel")
		if tries < 50 || tries > 70 {
			t.Errorf("%d tries in an hour, want about one a minute", tries)
		}
		if n := r.log.count("network could not be changed"); n != 1 {
			t.Errorf("told %d times, want once:\n%s", n, r.log)
		}
		st := r.Status()
		if st[2].Network != "heron" || !strings.Contains(st[2].Err, "operation not permitted") || st[2].Hint != "give it CAP_NET_ADMIN" {
			t.Errorf("status of heron %+v", st[2])
		}
		if st[0].Err != "" || st[0].Steps == 0 || !st[0].Present {
			t.Errorf("status of kestrel %+v", st[0])
		}
		fixed.Store(true)
		pass(time.Minute)
		wantOn(t, r, site())
		if r.Status()[2].Err != "" || r.log.count("network is as wanted again") != 1 {
			t.Errorf("not told that it is well:\n%s", r.log)
		}
	})
}

// wantOnly holds that nothing is left to do for one network.
func wantOnly(t *testing.T, r *running, network string) {
	t.Helper()
	steps, err := r.Plan(t.Context())
	if err != nil {
		t.Error(err)
	}
	for _, s := range steps {
		if s.Network == network {
			t.Errorf("%s still lacks %s", network, lines([]tunnels.Step{s}))
		}
	}
}

// The link that both networks forward from is set by one of them. If that one
// cannot be worked on, the other does it.
func TestSharedSettingDespiteFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &tunnelstest.Host{Fail: func(_ int, s tunnels.Step) error {
			if s.Network == "kestrel" {
				return errors.New("refused on purpose")
			}
			return nil
		}}
		r := start(t, h, site())
		defer r.stop()
		if !slices.ContainsFunc(h.State().Settings, func(s tunnels.Setting) bool { return s.Path == "net/ipv4/conf/eth1/forwarding" }) {
			t.Errorf("heron forwards nothing: %v", h.State().Settings)
		}
	})
}

// leaky takes heron's routes and says yes, and they are gone at once.
type leaky struct {
	*tunnelstest.Host
	writes int
}

func (l *leaky) Apply(ctx context.Context, s tunnels.Step) error {
	err := l.Host.Apply(ctx, s)
	if s.Network == "heron" && s.Kind == tunnels.RouteKind {
		l.writes++
		l.Change(func(st *tunnels.State) {
			st.Routes = slices.DeleteFunc(st.Routes, func(r tunnels.Route) bool { return r.Table == 7102 })
		})
	}
	return err
}

func TestHostThatDoesNotKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &leaky{Host: &tunnelstest.Host{}}
		h.SetFacts(facts())
		r := &running{host: h.Host, dns: newAnswers(), log: &logBook{}}
		r.Manager = &tunnels.Manager{Host: h, Resolver: r.dns, Log: r.log.logger()}
		r.Set(site())
		r.run(t)
		defer r.stop()
		pass(10 * time.Minute)
		wantOnly(t, r, "kestrel")
		if h.writes < 10 || h.writes > 200 {
			t.Errorf("written %d times in 10 minutes", h.writes)
		}
		if c := r.Status()[2].Contested; len(c) != 2 || c[0].Kind != tunnels.RouteKind || c[0].Times < 20 {
			t.Errorf("contested of heron: %+v", c)
		}
	})
}

func TestHostThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fixed atomic.Bool
		h := &tunnelstest.Host{FailObserve: func() error {
			if !fixed.Load() {
				return errors.New("operation not permitted")
			}
			return nil
		}}
		r := start(t, h, site())
		defer r.stop()
		pass(10 * time.Minute)
		if r.up || r.log.count("host cannot be read") != 1 {
			t.Errorf("ready %v, log\n%s", r.up, r.log)
		}
		fixed.Store(true)
		pass(time.Minute)
		if !r.up || r.log.count("host can be read again") != 1 {
			t.Errorf("ready %v, log\n%s", r.up, r.log)
		}
		wantOn(t, r, site())
	})
}

func TestPresharedKeys(t *testing.T) {
	for _, silent := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			spec := site()
			psk := &spec.Networks[0].Devices[0].Peers[0].PresharedKey
			*psk = worldSecrets[1]
			r := start(t, &tunnelstest.Host{Silent: silent}, spec)
			defer r.stop()
			pass(time.Minute)
			r.host.Take()
			pass(time.Hour)
			if steps := r.host.Take(); len(steps) != 0 {
				t.Errorf("silent %v: an endless difference:\n%s", silent, lines(steps))
			}
			spec = site()
			spec.Networks[0].Devices[0].Peers[0].PresharedKey = worldSecrets[2]
			r.Set(spec)
			pass(time.Minute)
			if got := lines(r.host.Take()); got != "kestrel: ~ peer hub-north preshared key\n" {
				t.Errorf("silent %v: a new key makes\n%s", silent, got)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &tunnelstest.Host{}, site())
		defer r.stop()
		pass(time.Minute)
		now := time.Now()
		r.host.Change(func(s *tunnels.State) {
			for i := range s.Devices {
				s.Devices[i].Peers[0].Seen = tunnels.Seen{LastHandshake: now, Received: 7, Sent: 8, HandshakesFailed: -1}
			}
		})
		pass(6 * time.Second)
		st := r.Status()
		if len(st) != 3 {
			t.Fatalf("%d tunnels, want 3", len(st))
		}
		s, p := st[1], st[1].Peers[0]
		if s.Network != "kestrel" || s.Hub != "hub-south" || s.Device != "gn-kestrel-s" || !s.Present || !s.Up || s.Backend != "kernel" ||
			s.PublicKey != worldKeys[0].Public() || s.Port == 0 || time.Since(s.Observed) > 6*time.Second || s.Steps == 0 || s.Err != "" {
			t.Errorf("%+v", s)
		}
		if p.Name != "hub-south" || !p.Present || p.Received != 7 || p.Sent != 8 || !p.LastHandshake.Equal(now) ||
			p.Endpoint.String() != "192.0.2.20:51820" {
			t.Errorf("%+v", p)
		}
	})
}
