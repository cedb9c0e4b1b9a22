package swarm

import (
	"context"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

// started is a collector, built from this tree.
func started(t *testing.T) *Collector {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ginnel-collector")
	if out, err := exec.Command("go", "build", "-o", program, "../../../ginnel-collector").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	c, err := NewCollector(program, t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain until %s", what)
}

// running is a swarm of n that lives until the test ends.
func running(t *testing.T, c *Collector, n int, signers ...string) *Swarm {
	t.Helper()
	s := New(Options{Dir: t.TempDir(), API: c.API, Signers: signers})
	if err := s.Add(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx, time.Second); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return s
}

// Gateways of a swarm are gateways to the collector: each has its own
// certificate and is up.
func TestSwarm(t *testing.T) {
	c := started(t)
	s := running(t, c, 12)
	eventually(t, "all are reached", func() bool { return s.Count().Reached == 12 })
	eventually(t, "all are up at the centre", func() bool {
		sites, err := c.API.Sites(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		up := 0
		for _, site := range sites {
			if site.State == checks.Up {
				up++
			}
		}
		return up == 12
	})
	keys := map[string]bool{}
	for _, g := range s.Gateways() {
		keys[string(g.id.Certificate().RawSubjectPublicKeyInfo)] = true
	}
	if len(keys) != 12 {
		t.Errorf("%d device keys", len(keys))
	}
	g := s.Gateways()[0]
	for i := range keepMinutes + 3 { // more than are kept
		if err := g.kept.add(time.Now().Add(time.Duration(i-2*keepMinutes) * time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := g.kept.Pending(0); err != nil || len(all) > keepMinutes {
		t.Errorf("%d minutes wait, %v", len(all), err)
	}
	g.up.Wake()
	eventually(t, "the collector has the minutes", func() bool {
		all, err := g.kept.Pending(0)
		return err == nil && len(all) == 0
	})
	if m, err := c.Memory(); err != nil || m < 1<<20 {
		t.Errorf("memory of the collector: %d, %v", m, err)
	}
}
