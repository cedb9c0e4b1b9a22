package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// bigHub is how many sites the big hub has.
const bigHub = 500

// playBigHub changes one site's line at a hub with 500: it is added, given
// another prefix, given another key, removed. Two of the 500 are there, and ping
// a service through the hub all the while; the others are on paper.
func playBigHub(ctx context.Context, s *stage) error {
	p := county.Whole().Only("avocet", "bittern").ByHand()
	p.Sites[0].Joins = p.Sites[0].Joins[:1] // kestrel alone, by the one hub
	c, err := buildCounty(ctx, p.Only("avocet", "bittern"), "scenario-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	b := &bigger{stage: s, county: c, hub: c.Hub("hub-north"), took: map[string][]float64{}, steps: map[string][]string{}}
	if b.first, err = b.hub.Node.ReadFile(desired); err != nil {
		return err
	}
	for i := range bigHub - len(p.Sites) {
		b.sites = append(b.sites, newPaperSite(i))
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	seen, err := b.underPing(ctx, func() error {
		turns := pick(s, 20, 3)
		if s.kernel { // emulated, one takes a minute
			turns = pick(s, 5, 1)
		}
		for turn := range turns {
			if err := b.turn(ctx, turn); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.tell(seen)
	return nil
}

// bigger is a hub with many sites in its config.
type bigger struct {
	*stage
	county *county.County
	hub    *county.Hub
	first  string // its config with the sites that are there
	sites  []paperSite
	took   map[string][]float64 // by what was changed: seconds from reload to the last write
	steps  map[string][]string  // of the change that took most steps
}

// paperSite is a site of which there is nothing but its lines at the hub.
type paperSite struct {
	name, key string
	prefixes  []string
}

func newPaperSite(i int) paperSite {
	overlay := netip.AddrFrom4([4]byte{100, 64, byte(1 + i/250), byte(1 + i%250)})
	lan := netip.AddrFrom4([4]byte{192, 168, byte(128 + i/4), byte(i % 4 * 64)}) // 512 of 64 addresses each
	return paperSite{fmt.Sprintf("paper-%d", i+1), randomKey(), []string{overlay.String() + "/32", lan.String() + "/26"}}
}

// randomKey is a public key of which nobody has the private half.
func randomKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// config is the hub's, with all its sites.
func (b *bigger) config() string {
	var text strings.Builder
	text.WriteString(b.first)
	for _, p := range b.sites {
		fmt.Fprintf(&text, "\n[[network.site]]\nname        = %q\npublic_key  = %q\nallowed_ips = [\"%s\"]\n",
			p.name, p.key, strings.Join(p.prefixes, `", "`))
	}
	return text.String()
}

// fill gives the hub all of its sites at once.
func (b *bigger) fill(ctx context.Context) error {
	began := time.Now()
	if err := b.reload(ctx); err != nil {
		return err
	}
	peers, err := b.peers(ctx)
	if err != nil {
		return err
	}
	b.row(result{Name: "peers of the hub's device", Value: float64(len(peers)), Unit: "peers", Aim: fmt.Sprint(bigHub), Met: len(peers) == bigHub,
		Detail: fmt.Sprintf("as wg says; %d added at once in %.1f s", bigHub-len(b.county.Sites), time.Since(began).Seconds())})
	return nil
}

// reload writes the config and waits until the host is as it says.
func (b *bigger) reload(ctx context.Context) error {
	ctx = within(ctx, bigPatience)
	if err := b.hub.Node.WriteFile(desired, b.config(), 0o644); err != nil {
		return err
	}
	if _, err := b.hub.Node.Run(ctx, "ginnel", "reload"); err != nil {
		return err
	}
	return b.hub.AwaitPlanned(ctx)
}

// bigPatience bounds one change of a big hub.
const bigPatience = 2 * time.Minute

// peers are the accepted prefixes of each of the hub's peers, as wg says.
func (b *bigger) peers(ctx context.Context) (map[string][]string, error) {
	out, err := b.hub.Node.Run(ctx, "wg", "show", "all", "allowed-ips")
	if err != nil {
		return nil, err
	}
	peers := map[string][]string{}
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 1 { // device, key, prefixes
			peers[words[1]] = words[2:]
		}
	}
	return peers, nil
}

// turn does each change once, at a site of its own.
func (b *bigger) turn(ctx context.Context, turn int) error {
	victim := turn % len(b.sites)
	extra := newPaperSite(bigHub + turn%10)
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"added", func() { b.sites = append(b.sites, extra) }},
		{"given another prefix", func() {
			p := &b.sites[victim]
			p.prefixes = append(slices.Clip(p.prefixes), fmt.Sprintf("100.65.%d.%d/32", turn/250, 1+turn%250))
		}},
		{"given another key", func() { b.sites[victim].key = randomKey() }},
		{"removed", func() { b.sites = b.sites[:len(b.sites)-1] }},
	} {
		change.do()
		if err := b.change(ctx, change.what); err != nil {
			return fmt.Errorf("a site is %s: %w", change.what, err)
		}
	}
	return nil
}

// change has the hub plan and take its config, and notes the steps that it said
// before, those that it logged, and when the last one was done.
func (b *bigger) change(ctx context.Context, what string) error {
	const file = "/run/next.toml"
	if err := b.hub.Node.WriteFile(file, b.config(), 0o644); err != nil {
		return err
	}
	out, err := b.hub.Node.Run(ctx, "ginnel", "plan", "--json", file)
	if f, ok := errors.AsType[*netns.Failure](err); err == nil || !ok || f.Code != 2 {
		return fmt.Errorf("ginnel plan --json, want exit 2: %w", err)
	}
	var planned []struct{ Op, Kind, Text string }
	if err := json.Unmarshal([]byte(out), &planned); err != nil {
		return err
	}
	log, err := b.logFromHere(b.hub)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.reload(ctx); err != nil {
		return err
	}
	writes, err := log.writes()
	if err != nil || len(writes) == 0 {
		return errors.Join(err, errors.New("the agent logged no write"))
	}
	b.took[what] = append(b.took[what], writes[len(writes)-1].Sub(began).Seconds())
	lines, err := log.changes()
	if err != nil {
		return err
	}
	for _, p := range planned[min(len(planned), len(lines)):] {
		lines = append(lines, "planned and not logged: "+p.Op+" "+p.Kind+" "+p.Text)
	}
	if len(lines) > len(b.steps[what]) {
		b.steps[what] = lines
	}
	return b.compare(ctx)
}

// compare is an error unless the device is as the config says.
func (b *bigger) compare(ctx context.Context) error {
	peers, err := b.peers(ctx)
	if err != nil {
		return err
	}
	if want := len(b.county.Sites) + len(b.sites); len(peers) != want {
		return fmt.Errorf("wg shows %d peers, want %d", len(peers), want)
	}
	for _, p := range b.sites {
		have, want := slices.Sorted(slices.Values(peers[p.key])), slices.Sorted(slices.Values(p.prefixes))
		if !slices.Equal(have, want) {
			return fmt.Errorf("wg shows %v of %s, want %v", have, p.name, want)
		}
	}
	return nil
}

// underPing has both sites ping the service while f runs.
func (b *bigger) underPing(ctx context.Context, f func() error) (seen []county.Pinged, err error) {
	pctx, stop := context.WithCancel(ctx)
	seen = make([]county.Pinged, len(b.county.Sites))
	errs := make([]error, len(seen))
	var wg sync.WaitGroup
	for i, site := range b.county.Sites {
		wg.Go(func() { seen[i], errs[i] = county.Ping(pctx, site.LAN, records, b.pace(), 0) })
	}
	err = f()
	stop()
	wg.Wait()
	return seen, errors.Join(append(errs, err)...)
}

func (b *bigger) tell(seen []county.Pinged) {
	for _, what := range []string{"added", "given another prefix", "given another key", "removed"} {
		steps := b.steps[what]
		b.row(result{Name: "steps of a site " + what, Value: float64(len(steps)), Unit: "steps", Aim: "1", Met: len(steps) == 1,
			Detail: fmt.Sprintf("at most, planned or logged, of %d times\n%s", len(b.took[what]), strings.Join(steps[:min(6, len(steps))], "\n"))})
		took := slices.Sorted(slices.Values(b.took[what]))
		last := took[len(took)-1]
		b.row(result{Name: "from the reload to the device written, a site " + what, Value: took[len(took)/2], Unit: "s", Aim: "<= 2", Met: last <= 2,
			Detail: fmt.Sprintf("median of %d; %.2f s at most, which the aim is for", len(took), last)})
	}
	for i, site := range b.county.Sites {
		b.zero("lost by "+site.Name()+" meanwhile", seen[i].Lost(), "packets",
			fmt.Sprintf("%s sent%s, one every %v, to a service behind the hub", thousands(seen[i].Sent), overrun(seen[i]), b.pace()))
	}
}
