package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Bytes is the plan as a file.
func (p *Plan) Bytes() ([]byte, error) {
	raw, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return nil, err
	}
	return append(raw, '\n'), nil
}

// A KeyProblem is a public key in a config that is not the verified one of the
// gateway that it stands for.
type KeyProblem struct {
	In, Of, Network string // In's config says that Of has this key in Network
	Has, Want       string // Want empty: no key of it is known
}

func (k KeyProblem) Error() string {
	head := fmt.Sprintf("%s: the public key of %s in %s is %s", k.In, k.Of, k.Network, k.Has)
	if k.Want == "" {
		return head + ", and none of it is known"
	}
	return head + ", and the verified one is " + k.Want
}

// Keys compares every public key in the texts that are to be signed with the
// verified ones: known gives the key of a gateway in a network, or nothing.
func (p *Plan) Keys(known func(gateway, network string) string) []KeyProblem {
	var ps []KeyProblem
	for _, c := range p.Changes {
		ps = append(ps, keyProblems(c.Gateway, c.new, known)...)
	}
	return ps
}

func keyProblems(gateway string, in *config.Config, known func(gateway, network string) string) (ps []KeyProblem) {
	for _, n := range in.Networks {
		for _, peer := range peers(n) {
			if want := known(peer.Name, n.Name); want != peer.PublicKey {
				ps = append(ps, KeyProblem{In: gateway, Of: peer.Name, Network: n.Name, Has: peer.PublicKey, Want: want})
			}
		}
	}
	return ps
}

// LookBack notes the public keys in ways back that are not the verified ones: of
// gateways that were replaced, or of an older config that the collector says runs
// there. Going back lets those devices in again.
func (p *Plan) LookBack(known func(gateway, network string) string) {
	for _, c := range p.Changes {
		if c.old == nil {
			continue
		}
		for _, k := range keyProblems(c.Gateway, c.old, known) {
			p.Looks = append(p.Looks, Look{Kind: OldKey, Gateway: c.Gateway, Hint: "if that device is not to be trusted: ginnelctl revoke " + k.Of + " --former",
				Text: fmt.Sprintf("%s: going back would let %s into %s by another key than the verified one", k.In, k.Of, k.Network)})
		}
	}
	p.sortLooks()
}

func peers(n config.Network) []config.Peer {
	all := slices.Clone(n.Sites)
	for _, h := range n.Hubs {
		all = append(all, h.Peer)
	}
	return all
}

// Moved names the gateways where something else is wanted, or runs, than when
// the plan was made, or whose generations were used by another push since.
func (p *Plan) Moved(states []centre.GatewayState, pushed func(gateway string) uint64) []string {
	now := make(map[string]centre.GatewayState, len(states))
	for _, s := range states {
		now[s.Name] = s
	}
	var moved []string
	for _, c := range p.Changes {
		s, known := now[c.Gateway]
		switch {
		case !known:
			moved = append(moved, c.Gateway+" is not known to the collector any more")
		case s.Desired != c.Over:
			moved = append(moved, fmt.Sprintf("%s: generation %d was pushed since", c.Gateway, s.Desired.Generation))
		case s.Running != c.Running:
			moved = append(moved, fmt.Sprintf("%s runs %s by now", c.Gateway, or(generation(s.Running.Generation, s.Running.Hash), "nothing")))
		case max(s.Mark, pushed(c.Gateway)) >= c.Sequence:
			moved = append(moved, fmt.Sprintf("%s: generation %d was used since", c.Gateway, max(s.Mark, pushed(c.Gateway))))
		}
	}
	return moved
}

// Hashes are those of what the gateways that have a way back ran when the plan
// was made.
func (p *Plan) Hashes() (hashes []string) {
	for _, c := range p.Changes {
		if len(c.Back) > 0 {
			hashes = append(hashes, c.Running.Hash)
		}
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// Astray names the gateways whose text names other signers, or another collector,
// than the files: a first config shows neither, and whoever is named there has
// the gateway.
func (p *Plan) Astray(signers, collector []string) (gateways []string) {
	for _, c := range p.Changes {
		if !slices.Equal(c.new.Signers, signers) || !slices.Equal(c.new.Collector, collector) {
			gateways = append(gateways, c.Gateway)
		}
	}
	return gateways
}

// Strange names the gateways whose way back is not what they ran, as an operator
// signed it: a plan that came as a file is not believed. bundles are those of
// Hashes; pushed is the hash that was pushed last to a gateway from here.
func (p *Plan) Strange(bundles map[string][]byte, signers bundle.Signers, pushed func(gateway string) string) (gateways []string) {
	for _, c := range p.Changes {
		if len(c.Back) == 0 {
			continue
		}
		w := Want{Gateway: c.Gateway, Pushed: centre.ConfigRef{Hash: pushed(c.Gateway)}}
		text, why := runs(w, centre.GatewayState{Running: c.Running}, bundles[c.Running.Hash], signers)
		if why != "" || string(withGeneration(text, c.Sequence+1)) != string(c.Back) {
			gateways = append(gateways, c.Gateway)
		}
	}
	return gateways
}

// NewRollout signs every text, and every way back, and is what is sent. sign
// makes a bundle's bytes of a text. With one ring, noRings, all that are not
// hubs are one, and none is watched before the next.
func (p *Plan) NewRollout(noRings bool, sign func(text []byte) ([]byte, error)) (centre.NewRollout, error) {
	r := centre.NewRollout{Name: p.Fleet, Rings: p.Rollout.Rings, Window: p.Rollout.Window, Pause: p.Rollout.Pause,
		Wanted: p.Wanted, Organisations: p.Rollout.Organisations}
	if noRings {
		r.Rings, r.Pause.Within = []string{p.Rollout.Rings[0], "all"}, 0
	}
	for _, c := range p.Changes {
		push := centre.Push{Gateway: c.Gateway, Ring: c.Ring, Window: c.Window, Needs: c.Needs, Apart: c.Apart, Over: c.Over}
		if noRings {
			push.Ring = min(c.Ring, 1)
		}
		var err error
		if push.Bundle, err = sign(c.Text); err != nil {
			return r, fmt.Errorf("%s: %w", c.Gateway, err)
		}
		if len(c.Back) > 0 {
			if push.Back, err = sign(c.Back); err != nil {
				return r, fmt.Errorf("%s: its way back: %w", c.Gateway, err)
			}
		}
		r.Pushes = append(r.Pushes, push)
	}
	return r, nil
}

// Only is the plan for one gateway by itself: what is carried there waits for no
// ring and no window. False: it does not change.
func (p *Plan) Only(gateway string) (*Plan, bool) {
	c, changes := p.Change(gateway)
	if !changes {
		return nil, false
	}
	one, alone := *p, *c
	alone.Window, alone.Ring = "", 1
	if c.Hub {
		alone.Ring = 0
	}
	one.Changes, one.Wanted = []Change{alone}, nil
	one.Rollout.Rings, one.Rollout.Window, one.Rollout.Pause.Within = []string{p.Rollout.Rings[0], "by hand"}, "", 0
	one.Fleet = p.Fleet + ", " + gateway + " by hand"
	one.Looks = slices.DeleteFunc(slices.Clone(p.Looks), func(l Look) bool { return l.Gateway != gateway && l.Kind != BadProof })
	return &one, true
}

// WayBack is the hash of a gateway's way back from a generation to the text that
// it ran before.
func WayBack(old []byte, generation uint64) string { return hashOf(withGeneration(old, generation+1)) }

// Generations are what generations.csv is to have of the gateways of the plan:
// the highest number that is signed for each, which is its way back's, and the
// hash of the text that is to run. So no number is ever signed twice.
func (p *Plan) Generations() map[string]centre.ConfigRef {
	all := make(map[string]centre.ConfigRef, len(p.Changes))
	for _, c := range p.Changes {
		highest := c.Sequence
		if len(c.Back) > 0 {
			highest++
		}
		all[c.Gateway] = centre.ConfigRef{Generation: highest, Hash: hashOf(c.Text)}
	}
	return all
}

// Signatures is how often a push signs.
func (p *Plan) Signatures() (n int) {
	for _, c := range p.Changes {
		n++
		if len(c.Back) > 0 {
			n++
		}
	}
	return n
}

// Has says whether there is a look of a kind.
func (p *Plan) Has(kind string) bool {
	return slices.ContainsFunc(p.Looks, func(l Look) bool { return l.Kind == kind })
}

// Example is a gateway whose steps are worth a look: one that changes alone.
func (p *Plan) Example() string {
	for _, r := range p.rows() {
		if len(r.gateways) == 1 && !r.gateways[0].Hub {
			return r.gateways[0].Gateway
		}
	}
	return p.Changes[0].Gateway
}

// Renew gives the looks of a plan that was made before with what is known of
// keys now.
func Renew(old, keys []Look) []Look {
	ofKeys := func(l Look) bool {
		return l.Kind == NewKey || l.Kind == ChangedKey || l.Kind == BadProof || l.Kind == OldKey
	}
	return append(slices.DeleteFunc(slices.Clone(old), func(l Look) bool { return ofKeys(l) && l.Kind != NewKey }),
		slices.DeleteFunc(slices.Clone(keys), func(l Look) bool { return l.Kind == NewKey && slices.Contains(old, l) })...)
}
