package web

import (
	"net/http"

	"github.com/ginnel/ginnel/agent/prom"
	"github.com/ginnel/ginnel/checks"
)

// states are all that a site can be in, in the order in which they are written.
var states = []checks.State{checks.Up, checks.MaintenanceMode, checks.UnknownState, checks.DegradedState, checks.Down}

// metrics writes what Prometheus reads. Labels are the names of sites and gateways only, so the series stay few.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	sites, err := s.view.sites(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var e prom.Text
	e.Family("ginnel_site_state", "gauge", "1 for the state that the site is in, 0 for the others.")
	for _, site := range sites {
		for _, state := range states {
			e.Sample(prom.Bool(site.State == state), "site", site.ID, "state", string(state))
		}
	}
	e.Family("ginnel_gateway_last_seen_age_seconds", "gauge", "Time since the gateway was last heard of.")
	enrolled := 0
	now := s.view.now()
	for _, site := range sites {
		for _, g := range site.Gateways {
			if !g.Enrolled.IsZero() {
				enrolled++
			}
			if !g.LastSeen.IsZero() {
				e.Sample(now.Sub(g.LastSeen).Seconds(), "gateway", g.Name, "site", site.ID)
			}
		}
	}
	e.Family("ginnel_gateways", "gauge", "Gateways that are enrolled.")
	e.Sample(float64(enrolled))
	e.Family("ginnel_blocks_ingested_total", "counter", "Blocks kept since start.")
	e.Sample(float64(s.ingest.Blocks.Load()))
	e.Family("ginnel_blocks_duplicate_total", "counter", "Blocks that were there already since start.")
	e.Sample(float64(s.ingest.Again.Load()))
	e.Family("ginnel_blocks_clash_total", "counter", "Blocks that were there already with other content since start.")
	e.Sample(float64(s.ingest.Clash.Load()))
	e.Family("ginnel_ingest_rejected_total", "counter", "Requests with blocks that were refused since start.")
	e.Sample(float64(s.ingest.Rejected.Load()))
	e.Family("ginnel_ingest_failed_total", "counter", "Requests with blocks that the store could not serve since start.")
	e.Sample(float64(s.ingest.Failed.Load()))
	e.Family("ginnel_requests_limited_total", "counter", "Requests of gateways, and enrolments, that were too many since start.")
	e.Sample(float64(s.limited()))
	e.Family("ginnel_build_info", "gauge", "1, with the program's version.")
	e.Sample(1, "version", s.version)
	w.Header().Set("Content-Type", prom.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Write(e.Bytes())
}
