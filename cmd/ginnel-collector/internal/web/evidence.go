package web

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// evidenceOf lists what gateways of a site saw when something broke, as far as
// the operator may see it, the newest first.
func (v *view) evidenceOf(ctx context.Context, site store.Site) ([]centre.Evidence, error) {
	enrolled, err := v.store.Gateways(ctx)
	if err != nil {
		return nil, err
	}
	list, sc := []centre.Evidence{}, scope(ctx)
	for _, g := range gatewaysOf(site, enrolled) {
		all, err := v.store.EvidenceOf(ctx, g.Name)
		if err != nil {
			return nil, err
		}
		for _, b := range all {
			if b.Subject.Network == "" || sc.Network(b.Subject.Network) {
				list = append(list, centre.Evidence{Gateway: g.Name, Entry: b.Entry()})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b centre.Evidence) int { return b.At.Compare(a.At) })
	return list, nil
}

// evidenceAt gives one document, to an operator who may see it. Any other is not
// there.
func (v *view) evidenceAt(r *http.Request) (store.Site, *evidence.Bundle, error) {
	ctx, gateway, id := r.Context(), r.PathValue("gateway"), r.PathValue("evidence")
	site, err := v.known(ctx, r.PathValue("id"))
	if err != nil {
		return site, nil, err
	}
	enrolled, err := v.store.Gateways(ctx)
	if err != nil {
		return site, nil, err
	}
	absent := fmt.Errorf("evidence %q of %q: %w", id, gateway, store.ErrNotFound)
	if !slices.ContainsFunc(gatewaysOf(site, enrolled), func(g store.Gateway) bool { return g.Name == gateway }) {
		return site, nil, absent
	}
	b, err := v.store.EvidenceNamed(ctx, gateway, id)
	if err == nil && b.Subject.Network != "" && !scope(ctx).Network(b.Subject.Network) {
		return site, nil, absent
	}
	return site, b, err
}

func (s *Server) apiEvidence(w http.ResponseWriter, r *http.Request) {
	site, err := s.view.known(r.Context(), r.PathValue("id"))
	var list []centre.Evidence
	if err == nil {
		list, err = s.view.evidenceOf(r.Context(), site)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, list)
}

func (s *Server) apiOneEvidence(w http.ResponseWriter, r *http.Request) {
	_, b, err := s.view.evidenceAt(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, http.StatusOK, b)
}

type evidencePage struct {
	frame
	Site    store.Site
	B       *evidence.Bundle
	Packets template.HTML
}

func (s *Server) pageEvidence(w http.ResponseWriter, r *http.Request) {
	site, b, err := s.view.evidenceAt(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := evidencePage{frame: s.frame(r, b.Headline()), Site: site, B: b, Packets: drawPackets(b)}
	p.Form = true // it does not change
	s.render(w, http.StatusOK, "evidence.html", p)
}

// drawPackets draws one bar for each packet, as high as it took, hatched and full
// where no good answer came, and a line at the change.
func drawPackets(b *evidence.Bundle) template.HTML {
	const wide, high, top, floor = 640.0, 120.0, 6.0, 96.0
	if len(b.Packets) == 0 {
		return ""
	}
	from, to := b.Packets[0].At, b.Packets[len(b.Packets)-1].At
	slowest := 0.001
	for _, p := range b.Packets {
		if p.Answered() {
			slowest = max(slowest, p.RTT)
		}
	}
	x := func(at float64) float64 { return 8 + (at-from)/max(to-from, 1)*(wide-20) }
	bar := min(max((wide-20)/float64(len(b.Packets))-1, 1), 6)
	var w strings.Builder
	words := "before the change " + b.Before() + "; from then on " + b.After()
	fmt.Fprintf(&w, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, wide, high, template.HTMLEscapeString("Packets: "+words))
	for _, p := range b.Packets {
		switch {
		case p.Answered():
			h := max(p.RTT/slowest*(floor-top), 2)
			fmt.Fprintf(&w, `<rect class="band" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x(p.At), floor-h, bar, h)
		case p.Ours():
			fmt.Fprintf(&w, `<rect class="grid" x="%.1f" y="%g" width="%.1f" height="4"/>`, x(p.At), floor-4, bar)
		default:
			fmt.Fprintf(&w, `<rect class="was-down" fill="url(#hatch)" x="%.1f" y="%g" width="%.1f" height="%g"/>`, x(p.At), top, bar, floor-top)
		}
	}
	if from < 0 && to >= 0 {
		fmt.Fprintf(&w, `<line class="line" x1="%.1f" x2="%.1f" y1="0" y2="%g"/><text class="scale" text-anchor="middle" x="%.1f" y="%g">the change</text>`,
			x(0)-1, x(0)-1, floor+4, min(max(x(0), 40), wide-40), high-6)
	}
	w.WriteString(`</svg>`)
	return template.HTML(w.String()) // made here of numbers and escaped text
}

// fated is a fate in words.
func fated(fate string) string {
	switch fate {
	case string(checks.Answered):
		return "answered"
	case string(checks.Lost):
		return "no answer"
	case string(checks.Late):
		return "answered too late"
	case string(checks.Corrupt):
		return "came back changed"
	case string(checks.Denied):
		return "refused"
	case string(checks.Unsent):
		return "not sent: the gateway's own fault"
	}
	return "not the wanted answer"
}
