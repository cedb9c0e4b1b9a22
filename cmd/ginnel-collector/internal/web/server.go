package web

import (
	"context"
	"embed"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/access"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

//go:embed static
var static embed.FS

// Config is what a Server is made of.
type Config struct {
	Store   *Recent
	Ingest  *ingest.Counter
	Limited func() uint64 // requests of gateways that were turned away; nil: none
	CA      centre.CA
	Version string
	// Report makes a site's report of a month, "2026-11", as "text", "html"
	// or "json".
	Report  func(ctx context.Context, site, month, format string) ([]byte, error)
	Zone    *time.Location // of the times on the pages
	Silence time.Duration  // see DefaultSilence; 0: that
	// Gate says who asks. Its zero value: see access.Gate.
	Gate access.Gate
	// Steering is what operators do with configs; nil: nothing, yet.
	Steering Steering
	// AnyHost answers whatever name a request was sent to. Without it only
	// the names of this machine's loopback are, so that a page of somebody
	// else's in an operator's browser cannot ask under a name of its own.
	AnyHost bool
	Log     *slog.Logger
}

// Server answers for pages, API and metrics.
type Server struct {
	view    view
	ingest  *ingest.Counter
	limited func() uint64
	ca      centre.CA
	version string
	report  func(ctx context.Context, site, month, format string) ([]byte, error)
	zone    *time.Location
	gate    access.Gate
	steer   Steering
	anyHost bool
	log     *slog.Logger
}

// New makes a Server.
func New(c Config) *Server {
	if c.Silence == 0 {
		c.Silence = DefaultSilence
	}
	if c.Limited == nil {
		c.Limited = func() uint64 { return 0 }
	}
	return &Server{
		view:   view{store: c.Store, silence: c.Silence, now: time.Now},
		ingest: c.Ingest, limited: c.Limited, ca: c.CA, version: c.Version, report: c.Report, zone: c.Zone,
		gate: c.Gate, steer: c.Steering, anyHost: c.AnyHost, log: c.Log,
	}
}

// Handler is the whole of it.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.pageSites)
	mux.HandleFunc("GET /sites/{id}", s.pageSite)
	mux.HandleFunc("GET /sites/{id}/evidence/{gateway}/{evidence}", s.pageEvidence)
	mux.HandleFunc("GET /audit", s.pageAudit)
	mux.HandleFunc("GET /api/v1/audit", asked(s, s.apiAudit))
	mux.HandleFunc("GET /api/v1/sites", s.apiSites)
	mux.HandleFunc("POST /api/v1/sites", told(s, maxSite, s.apiAddSite))
	mux.HandleFunc("GET /api/v1/sites/{id}", s.apiSite)
	mux.HandleFunc("GET /api/v1/sites/{id}/report", s.apiReport)
	mux.HandleFunc("GET /api/v1/sites/{id}/evidence", s.apiEvidence)
	mux.HandleFunc("GET /api/v1/sites/{id}/evidence/{gateway}/{evidence}", s.apiOneEvidence)
	mux.HandleFunc("GET /api/v1/ca", s.apiCA)
	mux.HandleFunc("GET /api/v1/health", s.apiHealth)
	mux.HandleFunc("GET /metrics", s.metrics)
	s.steering(mux)
	mux.Handle("GET /static/", http.FileServerFS(static))
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, r.Method+" "+r.URL.Path+" is not part of the API", "")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, store.ErrNotFound)
	})
	return s.guard(http.NewCrossOriginProtection().Handler(s.let(mux)))
}

// guard sets what every answer carries, and turns away strange host names.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.anyHost && !loopbackHost(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "host "+r.Host+" is not this machine's loopback",
				"http://127.0.0.1 or http://localhost, from afar through ssh -L")
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// loopbackHost says whether a Host header names the loopback.
func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if name == "localhost" {
		return true
	}
	if len(name) > 1 && name[0] == '[' && name[len(name)-1] == ']' {
		name = name[1 : len(name)-1]
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}

// scopeKey is where let leaves the access.Scope of a request's operator.
type scopeKey struct{}

// let finds out who asks, and turns away who is nobody. What handlers show and
// change is bounded by the scope that it leaves in the context.
func (s *Server) let(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scope, err := s.scopeOf(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), scopeKey{}, scope)))
	})
}

func (s *Server) scopeOf(r *http.Request) (access.Scope, error) {
	o, err := s.gate.Who(r)
	if err != nil || o.Organisation == "" {
		return access.Scope{Operator: o}, err
	}
	of, err := s.view.store.Organisations(r.Context())
	return access.Scope{Operator: o, Of: of}, err
}

// scope is what the operator of a request may see and change. A context that
// let has not seen is of nobody, who sees nothing.
func scope(ctx context.Context) access.Scope {
	s, ok := ctx.Value(scopeKey{}).(access.Scope)
	if !ok {
		return access.Scope{Operator: access.Operator{Organisation: "\x00"}}
	}
	return s
}

// act is what the operator of a request did.
func (s *Server) act(r *http.Request, e store.Event) store.Event {
	o := scope(r.Context()).Operator
	e.At, e.Actor, e.From = s.view.now(), o.Name, o.From
	return e
}
