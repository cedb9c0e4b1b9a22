package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/prom"
	"github.com/ginnel/ginnel/checks"
)

// serveMetrics answers a Prometheus on this host, where ginnel.toml wants it.
func (a *Agent) serveMetrics(ctx context.Context, ready func()) error {
	l, err := net.Listen("tcp", a.o.Host.Metrics.String())
	if err != nil {
		return fmt.Errorf("listen for Prometheus: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<!DOCTYPE html><title>Ginnel</title><p><a href=\"/metrics\">metrics</a> of this gateway, for Prometheus\n")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		text := a.metrics()
		w.Header().Set("Content-Type", prom.ContentType)
		w.Header().Set("Cache-Control", "no-store")
		w.Write(text.Bytes())
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(a.o.Log.Handler(), slog.LevelError)}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	ready()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

func (a *Agent) metrics() *prom.Text {
	a.mu.Lock()
	runner := a.runner
	a.mu.Unlock()
	var list []checks.Status
	var lag checks.Lag
	if runner != nil {
		list, lag = runner.Status(), runner.Lag()
	}
	list = slices.DeleteFunc(list, func(s checks.Status) bool { return s.Spec.Kind == TunnelKindName })
	t := new(prom.Text)
	gatewayMetrics(t, a.Snapshot(), lag)
	checkMetrics(t, list)
	probeMetrics(t, list)
	return t
}

// allStates are in the order in which they are written.
var allStates = []checks.State{checks.Up, checks.MaintenanceMode, checks.UnknownState, checks.DegradedState, checks.Down}

func gatewayMetrics(t *prom.Text, s block.Snapshot, lag checks.Lag) {
	t.Family("ginnel_build_info", "gauge", "1, with the agent's version.")
	t.Sample(1, "version", s.Agent.Version, "gateway", s.Gateway)
	t.Family("ginnel_state", "gauge", "1 for the state that the gateway is in, 0 for the others.")
	for _, state := range allStates {
		t.Sample(prom.Bool(s.State == state), "state", string(state))
	}
	t.Family("ginnel_tunnel_state", "gauge", "1 for the state that the tunnel is in, 0 for the others.")
	for _, x := range s.Tunnels {
		for _, state := range allStates {
			t.Sample(prom.Bool(x.State == state), "network", x.Network, "hub", x.Hub, "state", string(state))
		}
	}
	t.Family("ginnel_tunnel_handshake_age_seconds", "gauge", "Time since the tunnel's last handshake.")
	for _, x := range s.Tunnels {
		if x.HandshakeAge != nil {
			t.Sample(*x.HandshakeAge, "network", x.Network, "hub", x.Hub)
		}
	}
	t.Family("ginnel_run_lag_seconds", "summary", "How late runs of checks were started, of the last five minutes or more.")
	if lag.Starts > 0 {
		t.Sample(lag.P50.Seconds(), "quantile", "0.5")
		t.Sample(lag.P99.Seconds(), "quantile", "0.99")
	}
	t.Family("ginnel_runs_missed_total", "counter", "Starts left out because the agent, or the machine, did not run.")
	t.Sample(float64(lag.Missed))
}

func labels(s checks.Spec, more ...string) []string {
	return append([]string{"check", s.Name, "kind", s.Kind, "network", s.Target.Network, "target", s.Target.Address}, more...)
}

// checkMetrics are ours: states, counters, and figures of five minutes.
func checkMetrics(t *prom.Text, list []checks.Status) {
	t.Family("ginnel_check_state", "gauge", "1 for the state that the check is in, 0 for the others.")
	for _, s := range list {
		for _, state := range allStates {
			t.Sample(prom.Bool(s.State == state), labels(s.Spec, "state", string(state))...)
		}
	}
	t.Family("ginnel_check_runs_total", "counter", "Runs since the check was started, by verdict.")
	for _, s := range list {
		c := s.Counts
		for _, v := range []struct {
			verdict checks.Verdict
			n       uint64
		}{{checks.OK, c.OK}, {checks.Degraded, c.Degraded}, {checks.Failed, c.Failed}, {checks.Unknown, c.Unknown}} {
			t.Sample(float64(v.n), labels(s.Spec, "verdict", string(v.verdict))...)
		}
	}
	each := func(name, kind, help string, value func(checks.Status) float64) {
		t.Family(name, kind, help)
		for _, s := range list {
			t.Sample(value(s), labels(s.Spec)...)
		}
	}
	each("ginnel_check_questions_total", "counter", "Questions asked.", func(s checks.Status) float64 { return float64(s.Counts.Sent) })
	each("ginnel_check_answers_total", "counter", "Answers in time.", func(s checks.Status) float64 { return float64(s.Counts.Received) })
	each("ginnel_check_unsent_total", "counter", "Questions that this host could not send.", func(s checks.Status) float64 { return float64(s.Counts.Unsent) })
	t.Family("ginnel_check_rtt_seconds", "summary", "Round trip times of the last five minutes; 0.99 from 100 of them on.")
	for _, s := range list {
		if s.Figures.Timed == 0 {
			continue
		}
		t.Sample(s.Figures.P50.Seconds(), labels(s.Spec, "quantile", "0.5")...)
		t.Sample(s.Figures.P95.Seconds(), labels(s.Spec, "quantile", "0.95")...)
		if s.Figures.P99 > 0 {
			t.Sample(s.Figures.P99.Seconds(), labels(s.Spec, "quantile", "0.99")...)
		}
	}
	t.Family("ginnel_check_value", "gauge", "Further figures of the last run, in base units.")
	for _, s := range list {
		for i, v := range s.Last.Values {
			// A program may give two of one name; Prometheus takes no such pair.
			if !slices.ContainsFunc(s.Last.Values[:i], func(o checks.Value) bool { return o.Name == v.Name && o.Unit == v.Unit }) {
				t.Sample(v.Number, labels(s.Spec, "name", v.Name, "unit", v.Unit)...)
			}
		}
	}
}

// httpPhases are blackbox_exporter's names of our steps.
var httpPhases = map[string]string{"resolve": "resolve", "connect": "connect", "tls": "tls", "answer": "processing", "body": "transfer"}

// probeMetrics has the last runs under the names that users of
// blackbox_exporter know. A run that says nothing of its target, because it was
// blocked or the fault is ours, has none: 0 would say that the target is down.
func probeMetrics(t *prom.Text, list []checks.Status) {
	list = slices.DeleteFunc(slices.Clone(list), func(s checks.Status) bool { return s.Last.Verdict == "" || s.Last.Verdict == checks.Unknown })
	t.Family("probe_success", "gauge", "Whether the last run was ok or degraded; not there where it says nothing of the target.")
	for _, s := range list {
		t.Sample(prom.Bool(s.Last.Verdict == checks.OK || s.Last.Verdict == checks.Degraded), labels(s.Spec)...)
	}
	t.Family("probe_duration_seconds", "gauge", "How long the timed steps of the last run took.")
	for _, s := range list {
		t.Sample(durationOf(s.Last).Seconds(), labels(s.Spec)...)
	}
	// A redirect, or a second server, has a phase more than once: they are one figure.
	phases := func(kind, name, help string, phaseOf func(checks.Step) string) {
		t.Family(name, "gauge", help)
		for _, s := range list {
			if s.Spec.Kind != kind {
				continue
			}
			sums := map[string]time.Duration{}
			for _, step := range s.Last.Steps {
				sums[phaseOf(step)] += step.Took
			}
			for _, phase := range slices.Sorted(maps.Keys(sums)) {
				if phase != "" && sums[phase] > 0 {
					t.Sample(sums[phase].Seconds(), labels(s.Spec, "phase", phase)...)
				}
			}
		}
	}
	t.Family("probe_dns_lookup_time_seconds", "gauge", "How long the name of the target took in the last run.")
	for _, s := range list {
		for _, step := range s.Last.Steps {
			if step.Phase == checks.PhaseResolve && step.Took > 0 {
				t.Sample(step.Took.Seconds(), labels(s.Spec)...)
				break
			}
		}
	}
	phases("http", "probe_http_duration_seconds", "Duration of the last request, by phase.",
		func(s checks.Step) string { return httpPhases[firstWord(s.Name)] })
	phases("dns", "probe_dns_duration_seconds", "Duration of the last question, by phase.", func(s checks.Step) string {
		return map[string]string{"resolve": "resolve", "connect": "connect", "ask": "request"}[firstWord(s.Name)]
	})
	t.Family("probe_icmp_duration_seconds", "gauge", "Round trip time of the last run.")
	for _, s := range list {
		if s.Spec.Kind == "icmp" && len(s.Last.RTT) > 0 {
			t.Sample(slices.Min(s.Last.RTT).Seconds(), labels(s.Spec, "phase", "rtt")...)
		}
	}
	values := func(from, name, help string, value func(checks.Result, float64) float64) {
		t.Family(name, "gauge", help)
		for _, s := range list {
			if i := slices.IndexFunc(s.Last.Values, func(v checks.Value) bool { return v.Name == from }); i >= 0 {
				t.Sample(value(s.Last, s.Last.Values[i].Number), labels(s.Spec)...)
			}
		}
	}
	values("status", "probe_http_status_code", "Status of the last answer.", func(_ checks.Result, v float64) float64 { return v })
	values("certificate_left", "probe_ssl_earliest_cert_expiry", "When the first certificate of the chain ends, as Unix time.",
		func(r checks.Result, left float64) float64 {
			return float64(r.Start.Add(time.Duration(left * float64(time.Second))).Unix())
		})
}

// durationOf is what the timed steps of a run took, or its slowest answer.
func durationOf(r checks.Result) (d time.Duration) {
	for _, s := range r.Steps {
		d += s.Took
	}
	if d == 0 && len(r.RTT) > 0 {
		d = slices.Max(r.RTT)
	}
	return d
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}
