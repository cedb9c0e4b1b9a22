package web

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/control"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// maxSite bounds the body that adds a site, in bytes.
const maxSite = 64 << 10

func (s *Server) apiSites(w http.ResponseWriter, r *http.Request) {
	sites, err := s.view.sites(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, sites)
}

func (s *Server) apiSite(w http.ResponseWriter, r *http.Request) {
	d, err := s.view.site(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, d)
}

func (s *Server) apiHealth(w http.ResponseWriter, r *http.Request) {
	sites, err := s.view.all(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, centre.Health{Status: "ok", Version: s.version, Sites: len(sites)})
}

func (s *Server) apiCA(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.ca)
}

// apiReport gives a site's report of a month in one of three formats.
func (s *Server) apiReport(w http.ResponseWriter, r *http.Request) {
	site, month, format := r.PathValue("id"), r.FormValue("month"), r.FormValue("format")
	if format == "" {
		format = "html"
	}
	kind, ok := map[string]string{"html": "text/html; charset=utf-8", "text": "text/plain; charset=utf-8", "json": "application/json"}[format]
	if !ok {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("format %q is not one that is made", format), "text, html or json")
		return
	}
	first, err := time.ParseInLocation("2006-01", month, s.zone)
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("month %q is no month", month), "such as 2026-11")
		return
	}
	if first.After(s.view.now()) {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("month %s has not begun", month), "")
		return
	}
	known, err := s.view.known(r.Context(), site)
	if err == nil && !scope(r.Context()).Owns(known.Networks) {
		err = forbid("the report of %s is about networks of other organisations, too", site)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	body, err := s.report(r.Context(), site, month, format)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	if format == "html" { // a page that stands alone has its style within it
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	}
	w.Write(body)
}

// apiAddSite records a site; the answer is the site as it is shown.
func (s *Server) apiAddSite(r *http.Request, asked centre.NewSite) (centre.Site, error) {
	ctx := r.Context()
	site, err := newSite(asked, s.view.now())
	if err != nil {
		return centre.Site{}, err
	}
	event, err := s.mayAdd(ctx, site)
	if err != nil {
		return centre.Site{}, err
	}
	err = s.view.store.AddSite(ctx, site, s.act(r, event))
	if errors.Is(err, store.ErrUsed) {
		return centre.Site{}, badSite("gateway", fmt.Sprintf("%s is another site's", site.Gateway), "each gateway has a name of its own")
	}
	if err != nil {
		return centre.Site{}, err
	}
	s.log.Info("site added", "site", site.ID, "gateway", site.Gateway)
	shown, err := s.view.site(ctx, site.ID)
	return shown.Site, err
}

// mayAdd says whether the operator may add the site, or have it take the place
// of the one of that id, and what the log of acts is told.
func (s *Server) mayAdd(ctx context.Context, site store.Site) (store.Event, error) {
	e := store.Event{Act: "site add", Object: site.ID, New: describe(site)}
	old, err := s.view.store.Site(ctx, site.ID)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return e, err
	}
	sc := scope(ctx)
	switch {
	case !sc.Owns(site.Networks):
		return e, forbid("site %s would be in networks that are not of %s alone", site.ID, sc.Organisation)
	case known && !sc.Owns(old.Networks):
		return e, forbid("site %s is not of %s alone", site.ID, sc.Organisation)
	case known:
		e.Old = describe(old)
	}
	return e, nil
}

// describe is a site in the log of acts. Its token's hash stays out of it.
func describe(s store.Site) string {
	return fmt.Sprintf("%s, gateway %s, networks %s, token until %s", s.Name, s.Gateway, strings.Join(s.Networks, " "), s.TokenExpires.UTC().Format(time.RFC3339))
}

// badSite says what is wrong with a NewSite.
func badSite(field, problem, hint string) error {
	return &control.Refusal{Status: http.StatusBadRequest, Code: "bad_site", Reason: field + ": " + problem, Advice: hint}
}

// name is what ids, gateways and networks are called.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// newSite makes a site of what was asked, or says what is wrong with it.
func newSite(n centre.NewSite, now time.Time) (store.Site, error) {
	if n.Gateway == "" {
		n.Gateway = n.ID + "-1"
	}
	for _, word := range append([][2]string{{"id", n.ID}, {"gateway", n.Gateway}}, pairs("networks", n.Networks)...) {
		if !name.MatchString(word[1]) {
			return store.Site{}, badSite(word[0], fmt.Sprintf("%q is not a name", word[1]), "small letters, digits and hyphens, such as avocet-1")
		}
	}
	for _, line := range [][2]string{{"name", n.Name}, {"postcode", n.Postcode}} {
		if len(line[1]) > 200 || strings.ContainsFunc(line[1], unicode.IsControl) {
			return store.Site{}, badSite(line[0], "is too long, or no single line of text", "at most 200 bytes")
		}
	}
	if strings.TrimSpace(n.Name) == "" {
		return store.Site{}, badSite("name", "is missing", "what people call the site")
	}
	hash, err := hex.DecodeString(n.TokenSHA256)
	if err != nil || len(hash) != 32 {
		return store.Site{}, badSite("token_sha256", "is not 64 hex digits", "the SHA-256 of the token; the token itself never comes here")
	}
	if !n.Expires.After(now) {
		return store.Site{}, badSite("expires", fmt.Sprintf("%s is past", n.Expires.Format(time.RFC3339)), "")
	}
	return store.Site{ID: n.ID, Name: strings.TrimSpace(n.Name), Postcode: strings.TrimSpace(n.Postcode), Gateway: n.Gateway,
		Networks: n.Networks, TokenHash: [32]byte(hash), TokenExpires: n.Expires.UTC(), Added: now}, nil
}

func pairs(field string, values []string) [][2]string {
	var all [][2]string
	for i, v := range values {
		all = append(all, [2]string{fmt.Sprintf("%s[%d]", field, i), v})
	}
	return all
}

func refuse(w http.ResponseWriter, status int, problem, hint string) {
	answer(w, status, centre.Problem{Error: problem, Hint: hint})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, "the answer could not be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
