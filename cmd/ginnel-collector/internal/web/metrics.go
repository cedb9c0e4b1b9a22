package web

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/ginnel/ginnel/checks"
)

// states are all that a site can be in, in the order in which they are written.
var states = []checks.State{checks.Up, checks.MaintenanceMode, checks.UnknownState, checks.DegradedState, checks.Down}

// metrics writes the Prometheus text format, version 0.0.4, by hand: it is a
// few gauges, and the client library would bring forty times this much code.
// Labels are the names of sites and gateways only, so the series stay few.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	sites, err := s.view.sites(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var e exposition
	e.family("ginnel_site_state", "gauge", "1 for the state that the site is in, 0 for the others.")
	for _, site := range sites {
		for _, state := range states {
			e.sample(boolean(site.State == state), "site", site.ID, "state", string(state))
		}
	}
	e.family("ginnel_gateway_last_seen_age_seconds", "gauge", "Time since the gateway was last heard of.")
	enrolled := 0
	now := s.view.now()
	for _, site := range sites {
		for _, g := range site.Gateways {
			if !g.Enrolled.IsZero() {
				enrolled++
			}
			if !g.LastSeen.IsZero() {
				e.sample(now.Sub(g.LastSeen).Seconds(), "gateway", g.Name, "site", site.ID)
			}
		}
	}
	e.family("ginnel_gateways", "gauge", "Gateways that are enrolled.")
	e.sample(float64(enrolled))
	e.family("ginnel_blocks_ingested_total", "counter", "Blocks kept since start.")
	e.sample(float64(s.ingest.Blocks.Load()))
	e.family("ginnel_blocks_duplicate_total", "counter", "Blocks that were there already since start.")
	e.sample(float64(s.ingest.Again.Load()))
	e.family("ginnel_blocks_clash_total", "counter", "Blocks that were there already with other content since start.")
	e.sample(float64(s.ingest.Clash.Load()))
	e.family("ginnel_ingest_rejected_total", "counter", "Requests with blocks that were refused since start.")
	e.sample(float64(s.ingest.Rejected.Load()))
	e.family("ginnel_ingest_failed_total", "counter", "Requests with blocks that the store could not serve since start.")
	e.sample(float64(s.ingest.Failed.Load()))
	e.family("ginnel_requests_limited_total", "counter", "Requests of gateways, and enrolments, that were too many since start.")
	e.sample(float64(s.limited()))
	e.family("ginnel_build_info", "gauge", "1, with the program's version.")
	e.sample(1, "version", s.version)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(e.text.Bytes())
}

// exposition is text in the making.
type exposition struct {
	text bytes.Buffer
	name string
}

func (e *exposition) family(name, kind, help string) {
	e.name = name
	fmt.Fprintf(&e.text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes one value; labels are names and values in turn.
func (e *exposition) sample(value float64, labels ...string) {
	e.text.WriteString(e.name)
	for i := 0; i < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(&e.text, `%s%s="%s"`, sep, labels[i], escapeLabel.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		e.text.WriteByte('}')
	}
	fmt.Fprintf(&e.text, " %g\n", value)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
