package tunnels_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// hanging is a host on which each step of a network takes a minute, whoever
// asks it to hurry, until it is mended.
func hanging(network string, mended *atomic.Bool) *tunnelstest.Host {
	return &tunnelstest.Host{Fail: func(_ int, s tunnels.Step) error {
		if s.Network == network && !mended.Load() {
			time.Sleep(time.Minute)
		}
		return nil
	}}
}

// soon holds that nothing is left to do for a network after its usual time.
func soon(t *testing.T, r *running, what string, spec tunnels.Spec, network string) {
	t.Helper()
	pass(time.Second)
	f := facts()
	f.Ports = map[string]int{}
	for _, d := range r.host.State().Devices {
		f.Ports[d.Name] = d.ListenPort
	}
	want, _ := tunnels.Want(spec, f, r.dns.endpoints)
	for _, s := range tunnels.Plan(want, r.host.State()) {
		if s.Network == network {
			t.Fatalf("%s is not %s after a second: %s", network, what, lines([]tunnels.Step{s}))
		}
	}
}

// While one network hangs in every step, the other is made, repaired and
// changed as if there were nothing.
func TestNetworkThatHangsDelaysNoOther(t *testing.T) {
	for _, hangs := range []string{"kestrel", "heron"} {
		other := map[string]string{"kestrel": "heron", "heron": "kestrel"}[hangs]
		t.Run(hangs, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mended atomic.Bool
				r := start(t, hanging(hangs, &mended), site())
				defer r.stop()
				soon(t, r, "made", site(), other)
				pass(6 * time.Second)
				if !r.up {
					t.Error("not ready: one network holds it up")
				}
				for range 50 { // across the ends of steps that hang
					pass(7700 * time.Millisecond)
					r.host.Change(func(s *tunnels.State) {
						s.Rules = slices.DeleteFunc(s.Rules, func(x tunnels.Rule) bool { return x.Table == tableOf(other) })
					})
					r.Wake()
					soon(t, r, "repaired", site(), other)
				}
				spec := site()
				for i := range spec.Networks {
					for j := range spec.Networks[i].Devices {
						spec.Networks[i].Devices[j].MTU = 1380
					}
				}
				r.Set(spec)
				soon(t, r, "changed", spec, other)
				mended.Store(true)
				pass(2 * time.Minute)
				wantOn(t, r, spec)
			})
		})
	}
}

func tableOf(network string) int {
	spec := site()
	return spec.Networks[slices.IndexFunc(spec.Networks, func(n tunnels.Network) bool { return n.Name == network })].Table
}

// What is down is down when Withdraw returns, and stays so, also where a worker
// was in the midst of putting it up.
func TestWithdrawWaitsForTheNetworkThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		r := start(t, hanging("heron", &mended), site())
		defer r.stop()
		pass(90 * time.Second)
		mended.Store(true)
		if err := r.Withdraw(t.Context(), tunnels.Nothing); err != nil {
			t.Fatal(err)
		}
		if s := r.host.State(); dump(s) != "" {
			t.Errorf("withdrawn, and there is\n%s", dump(s))
		}
		pass(time.Hour)
		if s := r.host.State(); dump(s) != "" {
			t.Errorf("an hour later there is\n%s", dump(s))
		}
	})
}

// A worker whose plan is no longer wanted takes no further step of it.
func TestNewSpecEndsWorkOnTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		r := start(t, hanging("heron", &mended), site())
		defer r.stop()
		pass(2 * time.Second)
		spec := site()
		spec.Networks = spec.Networks[:1]
		r.Set(spec)
		r.host.Take()
		pass(2 * time.Minute) // its first step ends, and is undone
		for _, s := range r.host.Take() {
			if s.Network == "heron" && s.Op != tunnels.Remove && s.Kind != tunnels.FilterKind {
				t.Errorf("still taken: %s", lines([]tunnels.Step{s}))
			}
		}
		mended.Store(true)
		pass(2 * time.Minute)
		wantOn(t, r, spec)
	})
}

// A port that one network hands to another is free when the other comes for it,
// and the sysctls that let packets through are put back before the filters go
// that bounded them.
func TestWhatOthersWaitForComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &tunnelstest.Host{Fail: func(_ int, s tunnels.Step) error {
			if s.Kind == tunnels.PortKind || s.Kind == tunnels.SettingKind {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}}
		spec := site()
		spec.Networks[0].Devices[0].ListenPort, spec.Networks[1].Devices[0].ListenPort = 51821, 51822
		r := start(t, slow, spec)
		defer r.stop()
		pass(5 * time.Second)
		spec = site()
		spec.Networks[0].Devices[0].ListenPort, spec.Networks[1].Devices[0].ListenPort = 51822, 51821
		r.Set(spec)
		pass(5 * time.Second)
		wantOn(t, r, spec)
		if n := r.log.count("could not be changed"); n != 0 {
			t.Errorf("a port handed over was fought for:\n%s", r.log)
		}
		slow.Take()
		r.Set(tunnels.Spec{})
		pass(5 * time.Second)
		open := true
		for _, s := range slow.Take() {
			if s.Kind == tunnels.SettingKind && strings.HasSuffix(s.Setting.Path, "eth1/forwarding") {
				open = false
			}
			if s.Kind == tunnels.FilterKind && open {
				t.Error("a filter went while its link still forwarded")
			}
		}
		if open {
			t.Error("forwarding was not put back")
		}
	})
}

// What died between the look and the step costs no back-off.
func TestFirstFailureIsTriedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed atomic.Bool
		h := &tunnelstest.Host{Fail: func(_ int, s tunnels.Step) error {
			if s.Kind == tunnels.PeerKind && s.Network == "heron" && !failed.Swap(true) {
				return errors.New("no such device")
			}
			return nil
		}}
		r := start(t, h, site())
		defer r.stop()
		pass(100 * time.Millisecond)
		wantOn(t, r, site())
		if !failed.Load() {
			t.Error("nothing failed")
		}
	})
}

// A network that gets another name is refused under the new one before the old one
// goes: at no moment does its traffic find neither.
func TestNetworkIsRenamedWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &tunnelstest.Host{Fail: func(_ int, s tunnels.Step) error {
			if s.Op == tunnels.Add {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}}
		r := start(t, h, site())
		defer r.stop()
		pass(10 * time.Second)
		h.Take()
		spec := site()
		n := &spec.Networks[1]
		n.Name, n.Table = "merlin", 7103
		n.Devices[0].Device = "gn-merlin-n"
		r.Set(spec)
		pass(10 * time.Second)
		wantOn(t, r, spec)
		refused := false
		for _, s := range h.Take() {
			refused = refused || s.Op == tunnels.Add && s.Kind == tunnels.RuleKind && s.Network == "merlin"
			if s.Op == tunnels.Remove && s.Network == "heron" && !refused {
				t.Fatalf("%s %s goes before the new network refuses", s.Kind, s.Text)
			}
		}
		if !refused {
			t.Error("the network was not renamed")
		}
	})
}
