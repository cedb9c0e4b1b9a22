package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/audit"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// How many acts an answer has, and a page.
const (
	auditUsual = 100
	auditMost  = 1000
	auditPage  = 50
)

// apiAudit gives acts after an ID, the oldest first.
func (s *Server) apiAudit(r *http.Request) ([]centre.Act, error) {
	after, err := number(r, "after", 0, 1<<62)
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit", auditUsual, auditMost)
	if err != nil {
		return nil, err
	}
	events, err := s.acts(r.Context(), store.EventFilter{After: after, OldestFirst: true, Limit: int(limit),
		Actor: r.FormValue("actor"), Object: r.FormValue("object")})
	all := make([]centre.Act, 0, len(events))
	for _, e := range events {
		all = append(all, audit.ActOf(e))
	}
	return all, err
}

// number reads a number of the query, from 0 to most; absent: usual.
func number(r *http.Request, name string, usual, most int64) (int64, error) {
	text := r.FormValue(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, &control.Refusal{Status: http.StatusBadRequest, Code: "bad_request", Reason: fmt.Sprintf("%s %q is not a number from 0 to %d", name, text, most)}
	}
	return n, nil
}

// acts gives those that f describes and the operator may see.
func (s *Server) acts(ctx context.Context, f store.EventFilter) ([]store.Event, error) {
	if scope(ctx).All() {
		return s.view.store.FindEvents(ctx, f)
	}
	may, err := s.mayRead(ctx)
	if err != nil {
		return nil, err
	}
	var shown []store.Event
	for limit := f.Limit; ; {
		f.Limit = auditMost
		events, err := s.view.store.FindEvents(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if may(&e) {
				shown = append(shown, e)
			}
			if len(shown) == limit {
				return shown, nil
			}
			if f.OldestFirst {
				f.After = e.ID
			} else {
				f.Before = e.ID
			}
		}
		if len(events) < auditMost {
			return shown, nil
		}
	}
}

// mayRead gives a function that says whether an operator of one organisation
// may read an act: it was of, or about, what that operator sees. It takes out
// what the act says of others.
func (s *Server) mayRead(ctx context.Context) (func(*store.Event) bool, error) {
	sc := scope(ctx)
	of, err := s.networksOf(ctx)
	if err != nil {
		return nil, err
	}
	sites, err := s.view.store.Sites(ctx)
	if err != nil {
		return nil, err
	}
	objects, others := map[string]bool{}, map[string]bool{}
	note := func(name string, networks []string) {
		if sc.Sees(networks) {
			objects[name] = true
		}
		for _, n := range networks {
			if !sc.Network(n) {
				others[n] = true
			}
		}
	}
	for gateway, networks := range of {
		note(gateway, networks)
	}
	for _, site := range sites {
		note(site.ID, site.Networks)
	}
	for network := range sc.Of {
		note(network, []string{network})
	}
	if err := s.noteRollouts(ctx, objects); err != nil {
		return nil, err
	}
	colleagues, err := s.colleagues(ctx, sc)
	if err != nil {
		return nil, err
	}
	return func(e *store.Event) bool {
		if !objects[e.Object] && !colleagues[e.Actor] {
			return false
		}
		for _, text := range []*string{&e.Detail, &e.Old, &e.New} {
			if mentions(*text, others) {
				*text = aboutOthers
			}
		}
		return true
	}, nil
}

// noteRollouts adds the rollouts that the operator may see.
func (s *Server) noteRollouts(ctx context.Context, objects map[string]bool) error {
	if s.steer == nil {
		return nil
	}
	rollouts, err := s.myRollouts(ctx)
	for _, r := range rollouts {
		objects[r.ID] = true
	}
	return err
}

// colleagues are the operators of the same organisation.
func (s *Server) colleagues(ctx context.Context, sc access.Scope) (map[string]bool, error) {
	all, err := s.view.store.Operators(ctx)
	of := map[string]bool{sc.Name: true}
	for _, o := range all {
		if o.Organisation == sc.Organisation {
			of[o.Name] = true
		}
	}
	return of, err
}

// mentions says whether a text has one of the names as a word.
func mentions(text string, names map[string]bool) bool {
	return slices.ContainsFunc(strings.FieldsFunc(text, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}), func(word string) bool { return names[word] })
}

type auditPageData struct {
	frame
	Actor, Object string // filters
	Acts          []store.Event
	Older         string // of the link; empty: there are none
	First         bool   // this is the newest page
}

// Stamp is a time whole: a log is read long after.
func (f frame) Stamp(t time.Time) string { return t.In(f.Now.Location()).Format("2 Jan 2006 15:04:05") }

func (s *Server) pageAudit(w http.ResponseWriter, r *http.Request) {
	before, err := number(r, "before", 0, 1<<62)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := auditPageData{frame: s.frame(r, "Log of acts"), Actor: r.FormValue("actor"), Object: r.FormValue("object"), First: before == 0}
	p.Form = true
	p.Acts, err = s.acts(r.Context(), store.EventFilter{Before: before, Actor: p.Actor, Object: p.Object, Limit: auditPage + 1})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if len(p.Acts) > auditPage {
		p.Acts = p.Acts[:auditPage]
		q := url.Values{"before": {strconv.FormatInt(p.Acts[auditPage-1].ID, 10)}}
		for name, value := range map[string]string{"actor": p.Actor, "object": p.Object} {
			if value != "" {
				q.Set(name, value)
			}
		}
		p.Older = "/audit?" + q.Encode()
	}
	s.render(w, http.StatusOK, "audit.html", p)
}
