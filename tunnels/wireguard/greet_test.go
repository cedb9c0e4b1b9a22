package wireguard

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// A hub whose device is made anew calls its sites where they were: they would not
// notice for fifteen seconds.
func TestGreetsThoseWhoCalled(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	hubKey, siteKey := key.NewPrivate(), key.NewPrivate()
	site := tunnels.Peer{PublicKey: siteKey.Public(), AllowedIPs: prefixes("100.64.1.7/32")}
	hub := tunnels.Peer{PublicKey: hubKey.Public(), AllowedIPs: prefixes("100.64.1.1/32"),
		Endpoint: netip.MustParseAddrPort("127.0.0.1:51820"), Keepalive: 25 * time.Second}
	device := func(name string, private key.Private, port int, p tunnels.Peer) {
		t.Helper()
		must(t, d.Create(ctx, name))
		must(t, d.SetKey(ctx, name, private))
		must(t, d.SetPort(ctx, name, port))
		sh(t, "ip link set up "+name)
		must(t, d.AddPeer(ctx, name, p))
	}
	device("gn-hub", hubKey, 51820, site)
	device("gn-site", siteKey, 51821, hub)
	session := func() (tunnels.Peer, bool) {
		dev, _ := one(t, d, "gn-hub")
		return dev.Peers[0], len(dev.Peers) == 1 && !dev.Peers[0].Seen.LastHandshake.IsZero()
	}
	eventually(t, "they have a session", func() bool { _, ok := session(); return ok })

	must(t, d.Delete(ctx, "gn-hub"))
	began := time.Now()
	device("gn-hub", hubKey, 51820, site)
	eventually(t, "they have a session again", func() bool { _, ok := session(); return ok })
	if took := time.Since(began); took > 4*time.Second { // the site's next try is not before 5 s (REKEY_TIMEOUT)
		t.Errorf("after %v", took)
	}
	if p, _ := session(); p.Keepalive != 0 || p.Endpoint != netip.MustParseAddrPort("127.0.0.1:51821") {
		t.Errorf("the peer is %+v", p)
	}
}

// Nobody is greeted at a place that is long ago, or after having been removed.
func TestForgetsWhereTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Devices{places: map[place]seen{}}
		one, other := wgtypes.Key{1}, wgtypes.Key{2}
		at := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 51820}
		d.remember("gn-hub", &wgtypes.Device{Peers: []wgtypes.Peer{
			{PublicKey: one, Endpoint: at, LastHandshakeTime: time.Now()}, {PublicKey: other, Endpoint: at, LastHandshakeTime: time.Now()}}})
		d.forget("gn-hub", other)
		if !d.lastSeen("gn-hub", one).IsValid() || d.lastSeen("gn-hub", other).IsValid() {
			t.Error("it knows who was removed, or not who was there")
		}
		time.Sleep(rejectAfter + time.Second)
		if p := d.lastSeen("gn-hub", one); p.IsValid() {
			t.Errorf("it greets at %v, which was three minutes ago", p)
		}
	})
}

// Whoever keeps devices may make one anew while its removal is still going on.
func TestDeleteWhileMadeAnew(t *testing.T) {
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	d, ctx := open(t), t.Context()
	for range 20 {
		must(t, d.Create(ctx, "gn-wader"))
		former, _ := Running("gn-wader")
		made := make(chan error, 1)
		go func() {
			for {
				if there, err := d.adopt(ctx, "gn-wader"); err != nil || !there {
					made <- d.Create(ctx, "gn-wader")
					return
				}
			}
		}()
		began := time.Now()
		must(t, d.Delete(ctx, "gn-wader"))
		if took := time.Since(began); took > patience/2 {
			t.Errorf("it took %v", took)
		}
		must(t, <-made)
		if latter, ok := Running("gn-wader"); !ok || latter == former {
			t.Errorf("it was %+v and is %+v, %v", former, latter, ok)
		}
		must(t, d.Delete(ctx, "gn-wader"))
	}
}
