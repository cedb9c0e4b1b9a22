package web

import (
	"context"
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
	sc := scope(ctx)
	for _, d := range append(besides(old.Denials, next.Denials), besides(next.Denials, old.Denials)...) {
		if !owns(sc, of, d) {
			return forbid("the list would change for others than %s: %s of %v %v", sc.Organisation, d.Kind, d.Gateways, d.Networks)
		}
	}
	return nil
}

// owns says whether all that a denial shuts out is the operator's.
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
