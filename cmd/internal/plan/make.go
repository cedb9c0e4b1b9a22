package plan

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Want is what the files want of one gateway.
type Want struct {
	Gateway  string
	Site     string // empty: a hub
	Hub      bool
	Networks []string
	Ring     int // index into Rollout.Rings
	Window   string
	Waiting  []string // networks for which it has no key yet
	Refused  []Look   // what its host has that collides
	Others   bool     // not this operator's to push
	// Text writes its config; nil: nothing can be written yet.
	Text func(generation uint64) []byte
	// Pushed is what generations.csv has of it; the zero value: nothing.
	Pushed centre.ConfigRef
}

// Input is what a plan is made of.
type Input struct {
	Fleet   string // "fleet 3f2a91c"
	Wants   []Want
	States  []centre.GatewayState
	Looks   []Look // of keys
	Signers bundle.Signers
	Rollout Rollout
	Now     time.Time
	// Mine says whether a network may be changed by this operator; nil: all.
	Mine func(network string) bool
	// Bundles asks the collector for what runs, by hash.
	Bundles func(ctx context.Context, hashes []string) (map[string][]byte, error)
}

// leap is how far above the files' own generations a gateway's, as the collector
// tells them, are believed; gateways take no greater leap either. Without a bound
// a collector could have all numbers used up.
const leap = 900_000

// highest is the highest generation that a gateway is said to have been given.
func highest(w Want, s centre.GatewayState) uint64 {
	return max(w.Pushed.Generation, s.Desired.Generation, s.Mark)
}

// Make makes the plan.
func Make(ctx context.Context, in Input) (*Plan, error) {
	p := &Plan{Format: Format, Fleet: in.Fleet, Made: in.Now.UTC().Truncate(time.Second), Looks: slices.Clone(in.Looks),
		Rollout: in.Rollout, Wanted: map[string][]string{}}
	states := make(map[string]centre.GatewayState, len(in.States))
	for _, s := range in.States {
		states[s.Name] = s
	}
	var changing []Want
	sites := map[string]bool{}
	for _, w := range in.Wants {
		s, known := states[w.Gateway]
		if w.Others {
			p.Others++
			continue
		}
		p.Gateways++
		if w.Site != "" {
			sites[w.Site] = true
		}
		p.look(w, s, known, in.Now, in.Mine)
		switch {
		case len(w.Refused) > 0:
			p.Refused++
			p.Looks = append(p.Looks, w.Refused...)
		case w.Text == nil || !known || s.Enrolled.IsZero():
			p.Wait++
		case stays(w, s):
			p.Stay++
		case highest(w, s) > w.Pushed.Generation+leap:
			p.Refused++
			p.Looks = append(p.Looks, Look{Kind: Refused, Gateway: w.Gateway, Hint: "look at that gateway, and at the collector: one of them says what is not so",
				Text: fmt.Sprintf("%s: the collector says that generation %d was there, and generations.csv has %d: nobody signed so many", w.Gateway, highest(w, s), w.Pushed.Generation)})
		default:
			changing = append(changing, w)
		}
	}
	p.Sites = len(sites)
	if err := p.changes(ctx, in, changing, states); err != nil {
		return nil, err
	}
	p.order()
	p.sortLooks()
	return p, nil
}

func (p *Plan) sortLooks() {
	slices.SortStableFunc(p.Looks, func(a, b Look) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Gateway, b.Gateway))
	})
}

// stays says whether a gateway needs nothing: it runs what it should, or that is
// on its way to it.
func stays(w Want, s centre.GatewayState) bool {
	same := func(r centre.ConfigRef) bool { return r.Hash != "" && hashOf(w.Text(r.Generation)) == r.Hash }
	undone := s.State == block.ConfigFailed || s.State == block.ConfigOverridden
	if s.Desired.Hash == "" || undone {
		return same(s.Running)
	}
	return same(s.Desired)
}

// changes compares the texts of those that do not stay.
func (p *Plan) changes(ctx context.Context, in Input, changing []Want, states map[string]centre.GatewayState) error {
	var hashes []string
	for _, w := range changing {
		if h := states[w.Gateway].Running.Hash; h != "" {
			hashes = append(hashes, h)
		}
	}
	slices.Sort(hashes)
	var bundles map[string][]byte
	if len(hashes) > 0 {
		var err error
		if bundles, err = in.Bundles(ctx, slices.Compact(hashes)); err != nil {
			return err
		}
	}
	for _, w := range changing {
		s := states[w.Gateway]
		c, err := newChange(w, s, bundles[s.Running.Hash], in.Signers)
		if err != nil {
			return err
		}
		if n := c.foreign(in.Mine); n != "" {
			p.Refused++
			p.Looks = append(p.Looks, Look{Kind: Refused, Gateway: c.Gateway, Text: c.Gateway + ": it would also change " + n + ", which is not yours",
				Hint: "somebody of that organisation, or of all, pushes it"})
			continue
		}
		if c.BackWhy != "" && s.Running.Hash != "" {
			p.Looks = append(p.Looks, Look{Kind: NoWayBack, Gateway: c.Gateway, Text: c.Gateway + " has no way back at the centre: " + c.BackWhy,
				Hint: "its own trial goes back all the same"})
		}
		p.Changes = append(p.Changes, *c)
	}
	return nil
}

func newChange(w Want, s centre.GatewayState, raw []byte, signers bundle.Signers) (*Change, error) {
	above := highest(w, s)
	c := &Change{Gateway: w.Gateway, Site: w.Site, Hub: w.Hub, Ring: w.Ring, Window: w.Window, Over: s.Desired, Running: s.Running,
		Sequence: above + 1, Text: w.Text(above + 1)}
	var err error
	if c.new, err = parseOwn(c.Gateway, c.Text, c.Sequence); err != nil {
		return nil, fmt.Errorf("what the files make of %s is no config: %w", c.Gateway, err)
	}
	old, why := runs(w, s, raw, signers)
	if why == "" {
		c.Back = withGeneration(old, c.Sequence+1)
		if c.old, err = parseOwn(c.Gateway, c.Back, c.Sequence+1); err != nil {
			c.Back, c.old, why = nil, nil, "this program does not read it"
		}
	}
	c.BackWhy = why
	c.describe()
	return c, nil
}

// foreign names a network that changes and is not the operator's; empty: none.
func (c *Change) foreign(mine func(string) bool) string {
	if mine == nil {
		return ""
	}
	of := func(c *config.Config, name string) (n config.Network, checks []config.Check) {
		if c == nil {
			return n, nil
		}
		n, _ = find(c.Networks, name, networkName)
		for _, k := range c.Checks {
			if k.Network == name {
				checks = append(checks, k)
			}
		}
		return n, checks
	}
	all := slices.Clone(c.new.Networks)
	if c.old != nil {
		all = append(all, c.old.Networks...)
	}
	for _, n := range all {
		was, wasChecks := of(c.old, n.Name)
		is, isChecks := of(c.new, n.Name)
		if !mine(n.Name) && !(reflect.DeepEqual(was, is) && reflect.DeepEqual(wasChecks, isChecks)) {
			return n.Name
		}
	}
	return ""
}

// runs gives the text that a gateway runs, or says why it is not known. The
// collector is not believed: an operator signed the text, or pushed it.
func runs(w Want, s centre.GatewayState, raw []byte, signers bundle.Signers) (text []byte, why string) {
	switch {
	case s.Running.Hash == "":
		return nil, "it runs nothing yet"
	case raw == nil:
		return nil, "what it runs was not pushed from here"
	}
	b, err := bundle.Parse(raw)
	if err != nil || b.Hash() != s.Running.Hash {
		return nil, "the collector gave something else than what it runs"
	}
	if _, err := b.Verify(bundle.Config, signers); err != nil && b.Hash() != w.Pushed.Hash {
		return nil, "none of today's signers signed what it runs"
	}
	if _, err := parseOwn(w.Gateway, b.Text, s.Running.Generation); err != nil {
		return nil, "what it runs is for another gateway or generation"
	}
	return b.Text, ""
}

var generationLine = regexp.MustCompile(`(?m)^generation[ \t]*=[ \t]*[0-9_]+`)

// withGeneration is a text with another generation in it. Only what stands
// before the first table is the generation of the config.
func withGeneration(text []byte, generation uint64) []byte {
	head, tail := text, []byte(nil)
	if at := bytes.Index(text, []byte("\n[")); at >= 0 {
		head, tail = text[:at], text[at:]
	}
	head = generationLine.ReplaceAll(head, fmt.Appendf(nil, "generation = %d", generation))
	return append(slices.Clone(head), tail...)
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// order says what must not happen before or beside what: a site waits for those
// of its hubs that get to know it, no two hubs of a network are on trial at
// once, nor two gateways of a site.
func (p *Plan) order() {
	knows := map[string][]string{} // hubs by the site that they learn of
	for i := range p.Changes {
		c := &p.Changes[i]
		switch {
		case c.Hub:
			c.Apart = nil
			for _, n := range c.new.Networks {
				c.Apart = append(c.Apart, "network "+n.Name)
			}
			for _, site := range learned(c.old, c.new) {
				knows[site] = append(knows[site], c.Gateway)
			}
		case c.Site != "":
			c.Apart = []string{"site " + c.Site}
		}
	}
	for i := range p.Changes {
		if c := &p.Changes[i]; !c.Hub {
			c.Needs = slices.Sorted(slices.Values(knows[c.Gateway]))
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Ring, b.Ring), strings.Compare(a.Gateway, b.Gateway))
	})
}

// learned are the sites that a hub gets, or gets something of.
func learned(old, want *config.Config) []string {
	was := map[string]config.Peer{}
	if old != nil {
		for _, n := range old.Networks {
			for _, s := range n.Sites {
				was[n.Name+" "+s.Name] = s
			}
		}
	}
	sites := map[string]bool{}
	for _, n := range want.Networks {
		for _, s := range n.Sites {
			o, there := was[n.Name+" "+s.Name]
			more := slices.ContainsFunc(s.AllowedIPs, func(x netip.Prefix) bool { return !slices.Contains(o.AllowedIPs, x) })
			if !there || o.PublicKey != s.PublicKey || more {
				sites[s.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(sites))
}
