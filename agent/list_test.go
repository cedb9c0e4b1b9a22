package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/checks"
)

const hub = `gateway = "hub-north"

[[network]]
name    = "kestrel"
role    = "hub"
address = ["100.64.0.1/32"]
lan     = ["198.51.100.0/24"]

[[network.site]]
name        = "avocet-1"
public_key  = "7g2K8p1o4mHn3QvR0c5Yt9bXwZl6sUeJdAfGiTkVxyE="
allowed_ips = ["100.64.0.7/32", "192.168.10.0/24"]

[[network.site]]
name        = "fulmar-1"
public_key  = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
allowed_ips = ["100.64.0.12/32", "192.168.44.0/24"]
`

// list is a signed list that isolates gateways.
func (d desk) list(number int, by bundletest.Operator, gateways ...string) wire.Told {
	d.t.Helper()
	l := bundle.DenyList{Number: uint64(number)}
	if len(gateways) > 0 {
		l.Denials = []bundle.Denial{{Kind: bundle.Isolate, Gateways: gateways}}
	}
	b, err := bundle.Sign([]byte(l.Format()), bundle.List, by)
	if err != nil {
		d.t.Fatal(err)
	}
	return wire.Told{List: b.Bytes()}
}

// lets waits until the hub lets in these peers, refuses what is for fulmar's LAN
// where that is not one of them, and says which list is in force.
func (r *rig) lets(number uint64, peers ...string) {
	r.t.Helper()
	r.until(fmt.Sprintf("list %d is in force, and %v are let in", number, peers), func(local.Client) bool {
		s := r.host.State()
		var names []string
		for _, d := range s.Devices {
			for _, p := range d.Peers {
				for name, address := range map[string]string{"avocet-1": "100.64.0.7/32", "fulmar-1": "100.64.0.12/32"} {
					if slices.Contains(p.AllowedIPs, netip.MustParsePrefix(address)) {
						names = append(names, name)
					}
				}
			}
		}
		led, refused := false, false
		for _, route := range s.Routes {
			if route.Prefix.String() == "192.168.44.0/24" {
				led, refused = led || !route.Unreachable, refused || route.Unreachable
			}
		}
		slices.Sort(names)
		var said wire.Said
		r.agent.Steering().Say(&said)
		return slices.Equal(names, peers) && refused && led == slices.Contains(peers, "fulmar-1") &&
			said.List == number && r.agent.Snapshot().Config.List == number
	})
}

// A list that a signer signed is in force at once and after a restart, with
// whichever config; nobody else's is, and no older one.
func TestListIsInForceAtOnce(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, hub)
	r.lets(0, "avocet-1", "fulmar-1")
	hear := func(told wire.Told) { r.agent.Steering().Hear(t.Context(), told) }
	hear(d.list(9, bundletest.New("mallory"), "avocet-1"))
	hear(d.list(7, d.bob, "fulmar-1"))
	r.lets(7, "avocet-1")
	hear(d.list(6, d.alice))
	if _, err := r.apply(d.bundle(1, strings.Replace(hub, "lan     = [", "mtu = 1400\nlan     = [", 1))); err != nil {
		t.Fatal(err)
	}
	r.lets(7, "avocet-1")
	r.stop()
	r = start(t, root, "")
	r.lets(7, "avocet-1")
	if _, err := r.apply(d.bundle(2, hub)); err != nil {
		t.Fatal(err)
	}
	r.lets(7, "avocet-1")
	if c := r.agent.Snapshot(); c.State == checks.Down {
		t.Errorf("the hub is %s: %s", c.State, c.Headline)
	}
	hear(d.list(8, d.alice))
	r.lets(8, "avocet-1", "fulmar-1")
}

// A list that cannot be applied at once is applied once it can be.
func TestListIsAppliedOnceItCanBe(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, hub)
	r.lets(0, "avocet-1", "fulmar-1")
	keys := filepath.Join(r.paths.Var, "keys")
	if err := errors.Join(os.Rename(keys, keys+".away"), os.WriteFile(keys, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	r.agent.Steering().Hear(t.Context(), d.list(7, d.bob, "fulmar-1"))
	time.Sleep(time.Second)
	r.lets(7, "avocet-1", "fulmar-1")
	if err := errors.Join(os.Remove(keys), os.Rename(keys+".away", keys)); err != nil {
		t.Fatal(err)
	}
	r.lets(7, "avocet-1")
}

// A list waits for no enrolment: that may take minutes, and a revocation 60 s.
func TestListPassesAnEnrolment(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, hub)
	r.lets(0, "avocet-1", "fulmar-1")
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	c := newCollector(t)
	pack := strings.NewReplacer("avocet-1", "hub-north", c.url, "https://"+deaf.Addr().String()).Replace(string(c.pack()))
	ctx, cancel := context.WithCancel(t.Context())
	asked, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.agent.Enrol(ctx, []byte(pack), func(local.Progress) {}) }()
	go func() {
		defer close(asked)
		if c, err := deaf.Accept(); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}()
	select {
	case <-asked:
	case err := <-ended:
		t.Fatalf("it did not ask: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("it did not ask within 10 s")
	}
	r.agent.Steering().Hear(t.Context(), d.list(7, d.bob, "fulmar-1"))
	r.lets(7, "avocet-1")
	select {
	case err := <-ended:
		t.Errorf("the enrolment had ended: %v", err)
	default:
	}
	cancel()
	<-ended
}
