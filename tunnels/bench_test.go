package tunnels_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/tunnelstest"
)

// bigHub is a hub of n sites with two prefixes each.
func bigHub(n int) tunnels.Spec {
	spec := hub()
	d := &spec.Networks[0].Devices[0]
	d.Peers = nil
	for i := range n {
		own := netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
		lan := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		d.Peers = append(d.Peers, tunnels.PeerSpec{Name: fmt.Sprint("site-", i), PublicKey: key.Public{1, byte(i >> 8), byte(i)},
			AllowedIPs: []netip.Prefix{netip.PrefixFrom(own, 32), netip.PrefixFrom(lan, 24)}})
	}
	return spec
}

// bigHubs are what a big hub should be when one site has a prefix more, and what
// it is, in the order in which a host might tell it.
func bigHubs(n int) (want, have tunnels.State) {
	have, _ = tunnels.Want(bigHub(n), facts(), resolve)
	peers := have.Devices[0].Peers
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	spec := bigHub(n)
	p := &spec.Networks[0].Devices[0].Peers[n/2]
	p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix("192.168.77.0/24"))
	want, _ = tunnels.Want(spec, facts(), resolve)
	return want, have
}

func sizes(b *testing.B, f func(b *testing.B, n int)) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			f(b, n)
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		want, have := bigHubs(n)
		for b.Loop() {
			if len(tunnels.Plan(want, have)) != 1 {
				b.Fatal("not one step")
			}
		}
	})
}

func BenchmarkWant(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		spec := bigHub(n)
		for b.Loop() {
			tunnels.Want(spec, facts(), resolve)
		}
	})
}

// BenchmarkLook is a whole look of the Manager at a host that is as wanted, and
// the Status after it.
func BenchmarkLook(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		want, _ := tunnels.Want(bigHub(n), facts(), resolve)
		h := &tunnelstest.Host{}
		h.SetFacts(facts())
		h.Change(func(s *tunnels.State) { *s = want })
		m := &tunnels.Manager{Host: h}
		m.Set(bigHub(n))
		for b.Loop() {
			if _, err := m.Plan(b.Context()); err != nil {
				b.Fatal(err)
			}
			m.Status()
		}
	})
}

// BenchmarkPlanNew is the plan of a hub from nothing: two steps for each prefix,
// and one for each site.
func BenchmarkPlanNew(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		want, _ := tunnels.Want(bigHub(n), facts(), resolve)
		for b.Loop() {
			if len(tunnels.Plan(want, tunnels.State{})) < 5*n {
				b.Fatal("too few steps")
			}
		}
	})
}
