package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/ingest"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store/sqlite"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// now is the time in these tests: a Tuesday afternoon.
var now = time.Date(2026, 11, 24, 14, 12, 0, 0, time.UTC)

// desk is a collector's pages and API with a county in its store.
type desk struct {
	*testing.T
	store  *sqlite.Store
	server *Server
	url    string
	client *centre.Client
}

func newDesk(t *testing.T) *desk {
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "collector.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	s := New(Config{
		Store: NewRecent(st), Ingest: &ingest.Counter{}, CA: centre.CA{URL: "https://collector.example.net", PEM: "PEM"}, Version: "0.1.0",
		Zone: time.UTC, Log: slog.New(slog.DiscardHandler),
		Report: func(_ context.Context, site, month, format string) ([]byte, error) {
			return fmt.Appendf(nil, "report of %s for %s as %s", site, month, format), nil
		},
	})
	s.view.now = func() time.Time { return now }
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	c, err := centre.NewClient(srv.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t, st, s, srv.URL, c}
}

// site adds a site; a state that is not empty enrols its gateway and lets it
// say that it is in that state, heard some time ago.
func (d *desk) site(id, name string, state checks.State, heard time.Duration) {
	d.Helper()
	hash := sha256.Sum256([]byte(id))
	ctx := d.Context()
	must(d, d.store.AddSite(ctx, store.Site{ID: id, Name: name, Gateway: id + "-1", Networks: []string{"kestrel"},
		TokenHash: hash, TokenExpires: now, Added: now.Add(-time.Hour)}))
	if state == "" {
		return
	}
	_, err := d.store.RedeemToken(ctx, hash, id, []byte(id), now.Add(-time.Hour))
	must(d, err)
	must(d, d.store.SaveSnapshot(ctx, id+"-1", snapshot(id, name, state), now.Add(-heard)))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func snapshot(id, name string, state checks.State) block.Snapshot {
	p50, p95, loss, age := 0.0112, 0.014, 0.0, 41.0
	s := block.Snapshot{Gateway: id + "-1", Site: id, Name: name, State: state, Since: now.Add(-17 * time.Minute), At: now,
		Tunnels: []block.TunnelSnapshot{
			{Network: "kestrel", Role: "site", Hub: "hub-north", State: checks.Up, Since: now.Add(-30 * time.Hour), HandshakeAge: &age,
				Figures: block.Figures{RTTp50: &p50, RTTp95: &p95, Loss: &loss}},
		},
		Checks: []block.CheckSnapshot{
			{Name: "records", Kind: "tcp", Network: "kestrel", Target: "198.51.100.20:443", StandsFor: "Patient records", State: checks.Up,
				Since: now.Add(-30 * time.Hour), Figures: block.Figures{RTTp50: &p50, RTTp95: &p95, Loss: &loss}},
		},
		Agent: block.AgentSnapshot{Version: "0.1.0", Backend: "kernel"},
	}
	if state == checks.Down || state == checks.DegradedState {
		s.Code, s.Headline = "GN-HUB-02", "heron is down: hub-south does not answer"
		s.Tunnels = append(s.Tunnels, block.TunnelSnapshot{Network: "heron", Role: "site", Hub: "hub-south", State: checks.Down, Since: s.Since, Reason: "hub-south does not answer", Code: s.Code})
	}
	return s
}

// hour ingests a record of the last hour, up to now.
func (d *desk) hour(gateway string, edges ...block.Edge) {
	d.Helper()
	var all []store.Packed
	state := checks.Up
	for i := range 60 {
		var rtt hist.Histogram
		for n := range 6 {
			rtt.Add(11*time.Millisecond + time.Duration(n*(1+i%7))*400*time.Microsecond)
		}
		start := now.Add(time.Duration(i-60) * time.Minute)
		b := &block.Block{Gateway: gateway, Epoch: 1, Sequence: uint64(i + 1), Start: start, Length: time.Minute, Subjects: []block.Subject{
			{Class: block.CheckClass, Name: "records", Network: "kestrel", Target: "198.51.100.20:443", State: state, Since: start, RTT: &rtt},
			{Class: block.TunnelClass, Name: "kestrel/hub-north", Network: "kestrel", State: checks.Up, Since: start, RTT: &rtt},
			{Class: block.SiteClass, Name: gateway, State: state, Since: start},
		}}
		for _, e := range edges {
			if !e.At.Before(start) && e.At.Before(start.Add(time.Minute)) {
				b.Edges = append(b.Edges, e)
				state = e.To
			}
		}
		if state == checks.Down {
			b.Subjects[0].RTT = nil
		}
		raw, err := block.Encode(b)
		must(d, err)
		p, _, err := store.Unpack(raw)
		must(d, err)
		all = append(all, p)
	}
	_, err := d.store.Ingest(d.Context(), gateway, all, now)
	must(d, err)
}

// get asks as a browser does.
func (d *desk) get(path string, header ...string) (int, string, http.Header) {
	d.Helper()
	req, err := http.NewRequestWithContext(d.Context(), http.MethodGet, d.url+path, nil)
	must(d, err)
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(d, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(d, err)
	return resp.StatusCode, string(body), resp.Header
}

func county(t *testing.T) *desk {
	d := newDesk(t)
	d.site("avocet", "Avocet Surgery", checks.DegradedState, 4*time.Second)
	d.site("bittern", "Bittern Practice", checks.Up, 91*time.Second) // silent
	d.site("curlew", "Curlew Clinic", checks.Up, 89*time.Second)
	d.site("dunlin", "Dunlin House", checks.Down, time.Second)
	d.site("egret", "Egret Hospital", "", 0) // not enrolled
	d.site("fulmar", "Fulmar Pharmacy", checks.MaintenanceMode, time.Second)
	return d
}

func TestSitesAreWorstFirstAndSilenceIsUnknown(t *testing.T) {
	sites, err := county(t).client.Sites(t.Context())
	must(t, err)
	var got []string
	for _, s := range sites {
		got = append(got, s.ID+" "+string(s.State))
	}
	want := "dunlin down, avocet degraded, bittern unknown, egret unknown, fulmar maintenance, curlew up"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(got, ", "), want)
	}
	bittern := sites[2]
	if g := bittern.Gateways[0]; g.Current || !bittern.Since.Equal(now.Add(-91*time.Second)) || g.Tunnels != (centre.Count{Up: 1, All: 1}) {
		t.Errorf("a silent gateway: %+v", g)
	}
	avocet := sites[1]
	if g := avocet.Gateways[0]; !g.Current || g.Tunnels != (centre.Count{Up: 1, All: 2}) || avocet.Code != "GN-HUB-02" || avocet.Headline == "" {
		t.Errorf("a degraded site: %+v", avocet)
	}
	if egret := sites[3]; !egret.Since.IsZero() || !egret.LastSeen.IsZero() || !strings.Contains(egret.Headline, "not enrolled") {
		t.Errorf("a site without a gateway: %+v", egret)
	}
}

func TestSiteOfTwoGateways(t *testing.T) {
	s := store.Site{ID: "egret", Gateway: "egret-1"}
	all := gatewaysOf(s, []store.Gateway{{Name: "egret-2", Site: "egret"}, {Name: "other", Site: "x"}})
	if len(all) != 2 || all[0].Name != "egret-1" || all[1].Name != "egret-2" {
		t.Errorf("%+v", all)
	}
	site := centre.Site{Gateways: []centre.Gateway{
		{State: checks.Up, LastSeen: now}, {State: checks.Down, Headline: "x", LastSeen: now.Add(time.Second)}, {State: checks.UnknownState}}}
	sum(&site)
	if site.State != checks.Down || site.Headline != "x" || !site.LastSeen.Equal(now.Add(time.Second)) {
		t.Errorf("%+v", site)
	}
}

// TestShape holds the names in the JSON, which others have built upon.
func TestShape(t *testing.T) {
	d := county(t)
	_, body, header := d.get("/api/v1/sites/avocet")
	var got map[string]any
	must(t, json.Unmarshal([]byte(body), &got))
	for _, path := range []string{"id", "name", "networks.0", "state", "since", "code", "headline", "last_seen", "gateways.0.name", "gateways.0.role",
		"gateways.0.enrolled", "gateways.0.tunnels.up", "gateways.0.checks.all", "gateways.0.current", "gateways.0.version",
		"snapshots.0.arrived", "snapshots.0.tunnels.0.rtt_p50_seconds", "snapshots.0.checks.0.stands_for", "snapshots.0.tunnels.1.code"} {
		if !has(got, strings.Split(path, ".")) {
			t.Errorf("no %s in %s", path, body)
		}
	}
	if header.Get("Content-Type") != "application/json" {
		t.Error(header)
	}
	if _, body, _ := newDesk(t).get("/api/v1/sites"); body != "[]\n" {
		t.Errorf("no sites: %s", body)
	}
	_, body, _ = d.get("/api/v1/sites/egret")
	if strings.Contains(body, "0001-01-01") || strings.Contains(body, "null") {
		t.Errorf("a zero time or a null list: %s", body)
	}
}

func has(v any, path []string) bool {
	if len(path) == 0 {
		return v != nil
	}
	switch v := v.(type) {
	case map[string]any:
		return has(v[path[0]], path[1:])
	case []any:
		i := int(path[0][0] - '0')
		return i < len(v) && has(v[i], path[1:])
	}
	return false
}

func TestAddSite(t *testing.T) {
	d := newDesk(t)
	good := centre.NewSite{ID: "avocet", Name: "Avocet Surgery", Postcode: "ZZ1 1ZZ", Networks: []string{"kestrel"},
		TokenSHA256: hex.EncodeToString(make([]byte, 31)) + "01", Expires: now.Add(time.Hour)}
	added, err := d.client.AddSite(t.Context(), good)
	must(t, err)
	if added.Gateways[0].Name != "avocet-1" || added.State != checks.UnknownState {
		t.Errorf("%+v", added)
	}
	nasty := good
	nasty.ID, nasty.Name, nasty.TokenSHA256 = "dunlin", `'); DROP TABLE site; --<script>`, strings.Repeat("0", 63)+"2"
	if _, err := d.client.AddSite(t.Context(), nasty); err != nil {
		t.Error(err)
	}
	if s, err := d.client.Site(t.Context(), "dunlin"); err != nil || s.Name != nasty.Name {
		t.Errorf("%+v, %v", s, err)
	}
	d.page("/", 200).sound()
	if g, err := d.store.RedeemToken(t.Context(), [32]byte{31: 1}, "u", []byte("k"), now); err != nil || g.Name != "avocet-1" {
		t.Errorf("its token: %+v, %v", g, err)
	}
	events, err := d.store.Events(t.Context(), 2)
	must(t, err)
	if e := events[1]; e.Act != "site add" || e.Object != "avocet" || strings.Contains(e.Detail+e.New, good.TokenSHA256) {
		t.Errorf("audit: %+v", e)
	}
	for name, c := range map[string]struct {
		spoil func(*centre.NewSite)
		want  string
	}{
		"no id":        {func(s *centre.NewSite) { s.ID = "" }, "id: "},
		"path in id":   {func(s *centre.NewSite) { s.ID = "../x" }, "id: "},
		"network":      {func(s *centre.NewSite) { s.Networks = []string{"kestrel", "He ron"} }, "networks[1]: "},
		"no name":      {func(s *centre.NewSite) { s.Name = " " }, "name: is missing"},
		"two lines":    {func(s *centre.NewSite) { s.Name = "a\nb" }, "name: "},
		"token itself": {func(s *centre.NewSite) { s.TokenSHA256 = "secret" }, "token_sha256: "},
		"expired":      {func(s *centre.NewSite) { s.Expires = now }, "expires: "},
		"taken":        {func(s *centre.NewSite) { s.ID, s.Gateway = "bittern", "avocet-1" }, "avocet-1 is another site's"},
	} {
		bad := good
		c.spoil(&bad)
		_, err := d.client.AddSite(t.Context(), bad)
		e, ok := errors.AsType[*centre.Error](err)
		if !ok || e.Status != 400 || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %v, want 400 with %q", name, err, c.want)
		}
	}
	for _, c := range []struct{ kind, body, want string }{
		{"text/plain", "{}", "not application/json"},
		{"application/json", `{"token": "secret"}`, "unknown field"},
		{"application/json", "{", "cannot be read"},
		{"application/json", `{"name": "` + strings.Repeat("x", maxSite) + `"}`, "too large"},
	} {
		resp, err := http.Post(d.url+"/api/v1/sites", c.kind, strings.NewReader(c.body))
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode/100 != 4 || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: %d %s, want %q", c.kind, resp.StatusCode, body, c.want)
		}
	}
}

func TestAPIRefuses(t *testing.T) {
	d := county(t)
	for path, want := range map[string]string{
		"/api/v1/sites/nobody":                                       `404 site "nobody": not found`,
		"/api/v1/sites/nobody/report?month=2026-11":                  `404 site "nobody": not found`,
		"/api/v1/sites/avocet/report?month=2026-13":                  `400 month "2026-13" is no month`,
		"/api/v1/sites/avocet/report?month=2026-12":                  `400 month 2026-12 has not begun`,
		"/api/v1/sites/avocet/report?month=2026-11&format=fortran77": `400 format "fortran77" is not one that is made`,
		"/api/v2/sites": `404 GET /api/v2/sites is not part of the API`,
	} {
		status, body, _ := d.get(path)
		var p centre.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || fmt.Sprint(status, " ", p.Error) != want {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	if status, _, _ := d.get("/", "Host", "evil.example"); status != http.StatusMisdirectedRequest {
		t.Errorf("under a strange host name: %d", status)
	}
	req, _ := http.NewRequest(http.MethodPost, d.url+"/api/v1/sites", strings.NewReader("{}"))
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("from another site's page: %d", resp.StatusCode)
	}
}

func TestClient(t *testing.T) {
	d := county(t)
	ctx := t.Context()
	body, err := d.client.Report(ctx, "avocet", "2026-11", "text")
	if err != nil || string(body) != "report of avocet for 2026-11 as text" {
		t.Errorf("%q, %v", body, err)
	}
	if h, err := d.client.Health(ctx); err != nil || h.Status != "ok" || h.Sites != 6 || h.Version != "0.1.0" {
		t.Errorf("%+v, %v", h, err)
	}
	if ca, err := d.client.CA(ctx); err != nil || ca.PEM != "PEM" || ca.URL != "https://collector.example.net" {
		t.Errorf("%+v, %v", ca, err)
	}
	if s, err := d.client.Site(ctx, "avocet"); err != nil || s.Snapshots[0].Tunnels[0].Hub != "hub-north" || s.Name != "Avocet Surgery" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = d.client.Site(ctx, "no body")
	if err == nil || err.Error() != `collector said 404: site "no body": not found` {
		t.Errorf("%v", err)
	}
	if err := d.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = d.client.Sites(ctx); err == nil || err.Error() != "collector said 500: the collector could not answer" {
		t.Errorf("with its store gone: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	d := county(t)
	d.server.ingest.Blocks.Add(7)
	d.server.ingest.Rejected.Add(2)
	_, body, header := d.get("/metrics")
	for _, want := range []string{
		`ginnel_site_state{site="avocet",state="degraded"} 1`, `ginnel_site_state{site="avocet",state="up"} 0`,
		`ginnel_site_state{site="bittern",state="unknown"} 1`, `ginnel_gateway_last_seen_age_seconds{gateway="avocet-1",site="avocet"} 4`,
		"ginnel_gateways 5", "ginnel_blocks_ingested_total 7", "ginnel_ingest_rejected_total 2", "# TYPE ginnel_site_state gauge",
		`ginnel_build_info{version="0.1.0"} 1`,
	} {
		if !strings.Contains("\n"+body, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, `gateway="egret-1"`) || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Error("an age of a gateway that was never heard of, or the wrong type")
	}
}
