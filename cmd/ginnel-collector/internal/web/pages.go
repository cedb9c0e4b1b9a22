package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

//go:embed pages
var pages embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"badge": func(state any) badge { return badgeOf(fmt.Sprint(state)) },
	"mark":  mark, "word": word, "rtt": rtt, "loss": loss, "handshake": handshake,
	"fated": fated, "took": evidence.Millis,
	"list": func(p sitesPage, caption string, sites []centre.Site) siteList {
		return siteList{p.frame, caption, sites, p.Drift}
	},
	"iso": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}).ParseFS(pages, "pages/*.html"))

// frame is what every page has.
type frame struct {
	Title string
	Now   time.Time
	Still bool   // asked not to update itself
	Form  bool   // somebody may be typing: it never does
	Path  string // of this page
	Steer bool   // there are rollouts
	Who   string // asks; empty: whoever uses this machine
}

// Section is the part of the menu that the page belongs to.
func (f frame) Section() string {
	first, _, _ := strings.Cut(strings.TrimPrefix(f.Path, "/"), "/")
	return first
}

func (s *Server) frame(r *http.Request, title string) frame {
	f := frame{Title: title, Now: s.view.now().In(s.zone), Still: r.URL.Query().Has("still"), Path: r.URL.Path, Steer: s.steer != nil}
	if o := scope(r.Context()).Operator; o.Name != access.Local {
		f.Who = o.Name
		if o.Organisation != "" && o.Name != "" {
			f.Who += ", " + o.Organisation
		}
	}
	return f
}

// When is a time in few words, beside the page's own.
func (f frame) When(t time.Time) string { return since(t, f.Now) }

// Ago is the age of a time.
func (f frame) Ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return ago(f.Now.Sub(t)) + " ago"
}

// tally is how many sites are in one state.
type tally struct {
	State checks.State
	N     int
}

type sitesPage struct {
	frozen
	Tally []tally
	Sites []centre.Site
	Hubs  []centre.Site
	Drift map[string]drift // by gateway
	Off   int              // gateways that do not run what is wanted
}

// siteList is one of the tables of sitesPage.
type siteList struct {
	Page    frame
	Caption string
	Sites   []centre.Site
	drift   map[string]drift
}

// Notes say what of a site's configs someone should look at.
func (l siteList) Notes(site centre.Site) []string { return notes(site, l.drift) }

func (s *Server) pageSites(w http.ResponseWriter, r *http.Request) {
	all, err := s.view.sites(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := sitesPage{}
	if p.frozen, err = s.frozen(r, "Sites"); err != nil {
		s.fail(w, r, err)
		return
	}
	if p.Drift, err = s.drifts(r); err != nil {
		s.fail(w, r, err)
		return
	}
	for _, d := range p.Drift {
		if d.Differs {
			p.Off++
		}
	}
	counts := map[checks.State]int{}
	for _, site := range all {
		if isHub(site) {
			p.Hubs = append(p.Hubs, site)
		} else {
			p.Sites = append(p.Sites, site)
		}
		counts[checks.State(word(site.State))]++
	}
	for i := len(states) - 1; i >= 0; i-- {
		if n := counts[states[i]]; n > 0 {
			p.Tally = append(p.Tally, tally{states[i], n})
		}
	}
	if len(p.Tally) > 0 && p.Tally[0].State != checks.Up {
		p.Title = fmt.Sprintf("%d %s - Sites", p.Tally[0].N, p.Tally[0].State)
	}
	s.render(w, http.StatusOK, "sites.html", p)
}

func isHub(s centre.Site) bool {
	for _, g := range s.Gateways {
		if g.Role != "hub" {
			return false
		}
	}
	return len(s.Gateways) > 0
}

type sitePage struct {
	frame
	Site     centre.SiteDetail
	Gateways []gatewayPart
	Evidence []centre.Evidence
	Months   []time.Time // the newest first, each its first day
}

// gatewayPart is one gateway on the page of its site.
type gatewayPart struct {
	frame
	centre.Gateway
	Said   *centre.Snapshot // nil: nothing yet
	Drift  drift
	Charts []chart
}

func (s *Server) pageSite(w http.ResponseWriter, r *http.Request) {
	d, err := s.view.site(r.Context(), r.PathValue("id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := sitePage{frame: s.frame(r, fmt.Sprintf("%s, %s", d.Name, word(d.State))), Site: d}
	drifts, err := s.drifts(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	for _, g := range d.Gateways {
		part := gatewayPart{frame: p.frame, Gateway: g, Drift: drifts[g.Name]}
		for i := range d.Snapshots {
			if d.Snapshots[i].Gateway == g.Name {
				part.Said = &d.Snapshots[i]
			}
		}
		if part.Charts, err = s.charts(r.Context(), g.Name, p.Now, visible(r.Context(), part.Said)); err != nil {
			s.fail(w, r, err)
			return
		}
		p.Gateways = append(p.Gateways, part)
	}
	known, err := s.view.known(r.Context(), d.ID)
	if err == nil {
		p.Evidence, err = s.view.evidenceOf(r.Context(), known)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	first := time.Date(p.Now.Year(), p.Now.Month(), 1, 0, 0, 0, 0, s.zone)
	for i := range 3 {
		p.Months = append(p.Months, first.AddDate(0, -i, 0))
	}
	s.render(w, http.StatusOK, "site.html", p)
}

func (s *Server) render(w http.ResponseWriter, status int, page string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, page, data); err != nil {
		s.log.Error("page failed", "page", page, "err", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
