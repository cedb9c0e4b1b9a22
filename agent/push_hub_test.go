package agent_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/local"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// hubOf is a hub's config with sites 1 to n.
func hubOf(n int) string {
	text := "gateway = \"hub-north\"\n\n[[network]]\nname    = \"kestrel\"\nrole    = \"hub\"\naddress = [\"100.64.0.1/32\"]\nlan     = [\"198.51.100.0/24\"]\n"
	for i := 1; i <= n; i++ {
		text += fmt.Sprintf("\n[[network.site]]\nname        = \"site-%d\"\npublic_key  = %q\nallowed_ips = [\"100.64.1.%d/32\", \"192.168.%d.0/24\"]\n", i, siteKey(i), i, i)
	}
	return text
}

var siteKeys = map[int]string{}

// siteKey is the same for the same number.
func siteKey(i int) string {
	if siteKeys[i] == "" {
		siteKeys[i] = key.NewPrivate().Public().String()
	}
	return siteKeys[i]
}

// callers are the sites of a hub that call.
type callers struct {
	mu     sync.Mutex
	silent map[string]string // those that do not, by key, while the hub accepts that from them; empty: whatever it does
}

// call has each peer of the hub that is not silent shake hands, again and again.
func (c *callers) call(t *testing.T, r *rig) {
	for t.Context().Err() == nil {
		c.mu.Lock()
		silent := maps.Clone(c.silent)
		c.mu.Unlock()
		r.host.Change(func(s *tunnels.State) {
			for i := range s.Devices {
				for j := range s.Devices[i].Peers {
					p := &s.Devices[i].Peers[j]
					by, quiet := silent[p.PublicKey.String()]
					if !quiet || by != "" && !slices.Contains(p.AllowedIPs, netip.MustParsePrefix(by)) {
						p.Seen.LastHandshake = time.Now()
					}
				}
			}
		})
		r.manager.Wake()
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *callers) silence(by string, keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		c.silent[k] = by
	}
}

// At a hub a touched tunnel is a touched site: sites that the change leaves alone
// may drop, one that it touches must be heard again.
func TestHubIsJudgedByTheSitesThatAChangeTouches(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, hubOf(6))
	c := &callers{silent: map[string]string{}}
	go c.call(t, r)
	r.until("all sites are heard", func(local.Client) bool {
		s := r.agent.Snapshot()
		return len(s.Tunnels) == 1 && s.Tunnels[0].PeersUp == 6
	})
	if _, err := r.apply(d.bundle(1, hubOf(6))); err != nil {
		t.Fatal(err)
	}
	// One joins, one gets another prefix; two that have nothing to do with it drop.
	c.silence("", siteKey(1), siteKey(2), siteKey(7))
	more := strings.Replace(hubOf(7), `"192.168.5.0/24"`, `"192.168.55.0/24"`, 1)
	if _, err := r.apply(d.bundle(2, more)); err != nil {
		t.Fatalf("untouched sites drop: %v", err)
	}
	r.config(block.ConfigApplied, 2)
	// The one that gets another prefix drops by it.
	c.silence("192.168.66.0/24", siteKey(6))
	_, err := r.apply(d.bundle(3, strings.Replace(more, `"192.168.6.0/24"`, `"192.168.66.0/24"`, 1)))
	if err == nil || !strings.Contains(err.Error(), "gone back from: kestrel/site-6 was good and is dead") {
		t.Errorf("a touched site drops: %v", err)
	}
	r.config(block.ConfigFailed, 2)
}

// A site that is shut out within the trial of a change that touches it says nothing
// against the change.
func TestSiteIsShutOutDuringATrial(t *testing.T) {
	root, d := t.TempDir(), newDesk(t)
	d.trusted(root)
	r := start(t, root, hubOf(3))
	c := &callers{silent: map[string]string{}}
	go c.call(t, r)
	r.until("all sites are heard", func(local.Client) bool {
		s := r.agent.Snapshot()
		return len(s.Tunnels) == 1 && s.Tunnels[0].PeersUp == 3
	})
	c.silence("192.168.22.0/24", siteKey(2))
	go func() {
		r.config(block.ConfigApplying, 1)
		r.agent.Steering().Hear(t.Context(), d.list(1, d.bob, "site-2"))
	}()
	if _, err := r.apply(d.bundle(1, strings.Replace(hubOf(3), `"192.168.2.0/24"`, `"192.168.22.0/24"`, 1))); err != nil {
		t.Errorf("apply = %v", err)
	}
	if c := r.config(block.ConfigApplied, 1); c.List != 1 {
		t.Errorf("config: %+v", c)
	}
}
