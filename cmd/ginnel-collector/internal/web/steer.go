package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Steering is what operators do with configs, of *control.Server. It does what
// it is told: who may tell it what is decided here. Errors for the one who asks
// are *control.Refusal. It writes the log of acts itself.
type Steering interface {
	Fleet(ctx context.Context) ([]centre.GatewayState, error)
	Keys(ctx context.Context) ([]centre.Keys, error)
	// Bundles gives those that it has, by the hash of their text.
	Bundles(ctx context.Context, hashes []string) (map[string][]byte, error)
	StartRollout(ctx context.Context, by store.By, r centre.NewRollout) (centre.Rollout, error)
	Rollouts(ctx context.Context) ([]centre.Rollout, error)
	Rollout(ctx context.Context, id string) (centre.Rollout, error)
	MoveRollout(ctx context.Context, by store.By, id string, m centre.Move) (centre.Rollout, error)
	Freeze(ctx context.Context) (centre.Freeze, error)
	SetFreeze(ctx context.Context, by store.By, f centre.Freeze) (centre.Freeze, error)
	List(ctx context.Context) (centre.List, error)
	SetList(ctx context.Context, by store.By, l centre.NewList) (centre.List, error)
}

// steering adds what operators do with configs to the API.
func (s *Server) steering(mux *http.ServeMux) {
	if s.steer == nil {
		return
	}
	mux.HandleFunc("GET /rollouts", s.pageRollouts)
	mux.HandleFunc("GET /rollouts/{id}", s.pageRollout)
	mux.HandleFunc("GET /api/v1/fleet", asked(s, s.fleet))
	mux.HandleFunc("GET /api/v1/keys", asked(s, s.keys))
	mux.HandleFunc("POST /api/v1/configs", told(s, centre.MaxBody, s.bundles))
	mux.HandleFunc("GET /api/v1/rollouts", asked(s, s.rollouts))
	mux.HandleFunc("POST /api/v1/rollouts", told(s, centre.MaxRollout, s.startRollout))
	mux.HandleFunc("GET /api/v1/rollouts/{id}", asked(s, s.rollout))
	mux.HandleFunc("POST /api/v1/rollouts/{id}/{move}", asked(s, s.moveRollout))
	mux.HandleFunc("GET /api/v1/freeze", asked(s, func(r *http.Request) (centre.Freeze, error) { return s.steer.Freeze(r.Context()) }))
	mux.HandleFunc("PUT /api/v1/freeze", told(s, centre.MaxBody, s.setFreeze))
	mux.HandleFunc("GET /api/v1/list", asked(s, func(r *http.Request) (centre.List, error) { return s.steer.List(r.Context()) }))
	mux.HandleFunc("PUT /api/v1/list", told(s, 2*bundle.MaxSize, s.setList))
}

// asked answers with what f gives.
func asked[T any](s *Server, f func(*http.Request) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

// told reads a body of JSON of at most most bytes, and answers with what f
// makes of it.
func told[B, T any](s *Server, most int64, f func(*http.Request, B) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body B
		if err := readJSON(w, r, most, &body); err != nil {
			s.fail(w, r, err)
			return
		}
		asked(s, func(r *http.Request) (T, error) { return f(r, body) })(w, r)
	}
}

// readJSON reads one JSON value without unknown names.
func readJSON(w http.ResponseWriter, r *http.Request, most int64, to any) error {
	no := func(status int, format string, a ...any) error {
		return &control.Refusal{Status: status, Code: "bad_request", Reason: fmt.Sprintf(format, a...)}
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return no(http.StatusUnsupportedMediaType, "content type %q is not application/json", kind)
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if over, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return no(http.StatusRequestEntityTooLarge, "the body is too large: at most %d bytes are taken", over.Limit)
	}
	if err == nil && d.More() {
		err = errors.New("something follows the value")
	}
	if err != nil {
		return no(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	return nil
}

// by is the operator of a request, as others record it.
func by(ctx context.Context) store.By {
	o := scope(ctx).Operator
	return store.By{Name: o.Name, From: o.From}
}

// networksOf gives the networks of every gateway that is known.
func (s *Server) networksOf(ctx context.Context) (map[string][]string, error) {
	sites, err := s.view.store.Sites(ctx)
	if err != nil {
		return nil, err
	}
	enrolled, err := s.view.store.Gateways(ctx)
	if err != nil {
		return nil, err
	}
	of := map[string][]string{}
	for _, site := range sites {
		for _, g := range gatewaysOf(site, enrolled) {
			of[g.Name] = site.Networks
		}
	}
	return of, nil
}

// seen gives those of all whose gateway the operator may see.
func seen[T any](ctx context.Context, s *Server, all []T, gateway func(T) string) ([]T, error) {
	shown := make([]T, 0, len(all))
	sc := scope(ctx)
	if sc.All() {
		return append(shown, all...), nil
	}
	of, err := s.networksOf(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if sc.Sees(of[gateway(one)]) {
			shown = append(shown, one)
		}
	}
	return shown, nil
}

func (s *Server) fleet(r *http.Request) ([]centre.GatewayState, error) {
	all, err := s.steer.Fleet(r.Context())
	if err != nil {
		return nil, err
	}
	shown, err := seen(r.Context(), s, all, func(g centre.GatewayState) string { return g.Name })
	if err != nil || scope(r.Context()).All() {
		return shown, err
	}
	of, err := s.networksOf(r.Context())
	for i := range shown {
		hidden := map[string]bool{}
		for _, n := range of[shown[i].Name] {
			hidden[n] = !scope(r.Context()).Network(n)
		}
		if shown[i].Trial = boundTrial(shown[i].Trial, hidden); mentions(shown[i].Headline, hidden) {
			shown[i].Headline = aboutOthers
		}
	}
	return shown, err
}

func (s *Server) keys(r *http.Request) ([]centre.Keys, error) {
	all, err := s.steer.Keys(r.Context())
	if err != nil {
		return nil, err
	}
	return seen(r.Context(), s, all, func(k centre.Keys) string { return k.Gateway })
}

// bundles gives a whole config also where it is shared with others: whoever
// signs the next one must sign all of it.
func (s *Server) bundles(r *http.Request, asked centre.Hashes) (centre.Bundles, error) {
	if len(asked.Hashes) > centre.MaxHashes {
		return centre.Bundles{}, &control.Refusal{Status: http.StatusBadRequest, Code: "bad_request",
			Reason: fmt.Sprintf("%d configs are asked for, at most %d at once", len(asked.Hashes), centre.MaxHashes)}
	}
	got, err := s.steer.Bundles(r.Context(), asked.Hashes)
	if err != nil || scope(r.Context()).All() {
		return centre.Bundles{Bundles: got}, err
	}
	of, err := s.networksOf(r.Context())
	if err != nil {
		return centre.Bundles{}, err
	}
	for hash, raw := range got {
		if c, err := configOf(raw); err != nil || !scope(r.Context()).Sees(of[c.Gateway]) {
			delete(got, hash)
		}
	}
	return centre.Bundles{Bundles: got}, nil
}

func (s *Server) setFreeze(r *http.Request, f centre.Freeze) (centre.Freeze, error) {
	if sc := scope(r.Context()); !sc.All() {
		return f, forbid("a freeze holds for all organisations, not for %s alone", sc.Organisation)
	}
	return s.steer.SetFreeze(r.Context(), by(r.Context()), f)
}
