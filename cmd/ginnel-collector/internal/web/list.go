package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"reflect"
	"slices"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// setList puts a list in force. The list is one for all organisations, so that
// everyone may read it whole; who is of one may add and end what shuts out
// that one's gateways and networks, and nothing else.
func (s *Server) setList(r *http.Request, l centre.NewList) (centre.List, error) {
	ctx := r.Context()
	if !scope(ctx).All() {
		if err := s.mayShut(ctx, l.Bundle); err != nil {
			return centre.List{}, err
		}
	}
	return s.steer.SetList(ctx, by(ctx), l)
}

func (s *Server) mayShut(ctx context.Context, raw []byte) error {
	next, err := listOf(raw)
	if err != nil {
		return &control.Refusal{Status: http.StatusBadRequest, Code: "bad_bundle", Reason: "the list cannot be read: " + err.Error()}
	}
	now, err := s.steer.List(ctx)
	if err != nil {
		return err
	}
	old := &bundle.DenyList{}
	if len(now.Bundle) > 0 {
		if old, err = listOf(now.Bundle); err != nil {
			return err
		}
	}
	of, err := s.networksOf(ctx)
	if err != nil {
		return err
	}
	changed := append(besides(old.Denials, next.Denials), besides(next.Denials, old.Denials)...)
	who, err := s.provers(ctx, changed)
	if err != nil {
		return err
	}
	sc := scope(ctx)
	for _, d := range changed {
		if !owns(sc, of, d) {
			return forbid("the list would change for others than %s: %s of %v %v", sc.Organisation, d.Kind, d.Gateways, d.Networks)
		}
		theirs := func(name string) bool { return !sc.Owns(of[name]) }
		for _, k := range d.Keys {
			if len(who[k]) == 0 || slices.ContainsFunc(who[k], theirs) {
				return forbid("the list would shut out, as %v, a key that is not theirs alone", d.Gateways)
			}
		}
		if d.Device != "" && (len(who[d.Device]) == 0 || slices.ContainsFunc(who[d.Device], theirs)) {
			return forbid("the list would shut out, as %v, a device that is not theirs alone", d.Gateways)
		}
	}
	return nil
}

// provers are the gateways that ever proved a key, in base64, or a device, the
// SHA-256 of its key in hex: a denial shuts out whoever has it, whatever gateway
// it names.
func (s *Server) provers(ctx context.Context, all []bundle.Denial) (map[string][]string, error) {
	if !slices.ContainsFunc(all, func(d bundle.Denial) bool { return d.Device != "" || len(d.Keys) > 0 }) {
		return nil, nil
	}
	shown, err := s.steer.Keys(ctx)
	who := map[string][]string{}
	for _, k := range shown {
		for _, p := range k.Proofs {
			st, err := p.Claimed() // was verified when it came
			if err != nil {
				continue
			}
			sum := sha256.Sum256(st.Device)
			device := hex.EncodeToString(sum[:])
			who[device] = append(who[device], k.Gateway)
			for network, present := range st.Keys {
				for _, public := range append(slices.Clip(st.Former[network]), present) {
					who[public.String()] = append(who[public.String()], k.Gateway)
				}
			}
		}
	}
	return who, err
}

// owns says whether all gateways and networks that a denial names are the
// operator's.
func owns(sc access.Scope, of map[string][]string, d bundle.Denial) bool {
	if len(d.Gateways)+len(d.Networks) == 0 || len(d.Networks) > 0 && !sc.Owns(d.Networks) {
		return false
	}
	return !slices.ContainsFunc(d.Gateways, func(g string) bool { return !sc.Owns(of[g]) })
}

// besides gives those of a that are not in b.
func besides(a, b []bundle.Denial) []bundle.Denial {
	var left []bundle.Denial
	for _, d := range a {
		if !slices.ContainsFunc(b, func(o bundle.Denial) bool { return reflect.DeepEqual(o, d) }) {
			left = append(left, d)
		}
	}
	return left
}

func listOf(raw []byte) (*bundle.DenyList, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return nil, err
	}
	return bundle.ParseList("list", b.Text)
}
