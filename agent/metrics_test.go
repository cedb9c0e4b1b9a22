package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/prom"
	"github.com/ginnel/ginnel/checks"
)

// TestMetrics compares what a Prometheus reads of a gateway, a tunnel and a
// check of each sort that blackbox_exporter has a name for.
func TestMetrics(t *testing.T) {
	const ms = time.Millisecond
	start := time.Unix(1_764_000_000, 0)
	age := 41.0
	snapshot := block.Snapshot{State: checks.Up, Tunnels: []block.TunnelSnapshot{{Network: "kestrel", Hub: "hub-north", State: checks.Up, HandshakeAge: &age}}}
	snapshot.Agent.Version = "0.1.0"
	list := []checks.Status{
		{
			Spec:  checks.Spec{Name: "records", Kind: "http", Target: checks.Target{Network: "kestrel", Address: "https://records.example.net/"}},
			State: checks.DegradedState, Counts: checks.Counts{OK: 7, Failed: 2, Sent: 9, Received: 7, Unsent: 1},
			Figures: checks.Figures{Timed: 7, P50: 12 * ms, P95: 15 * ms},
			Last: checks.Result{Verdict: checks.Failed, Start: start,
				Steps: []checks.Step{{Phase: checks.PhaseResolve, Name: "resolve records.example.net", Took: 2 * ms}, {Name: "connect 198.51.100.20:443", Took: 12 * ms}, {Name: "answer", Took: 30 * ms},
					{Name: "connect 198.51.100.21:443", Took: 8 * ms}},
				Values: []checks.Value{{Name: "status", Number: 503, Unit: "1"}, {Name: "status", Number: 302, Unit: "1"}, {Name: "certificate_left", Number: 86400, Unit: "s"}}},
		},
		{
			Spec: checks.Spec{Name: "gate", Kind: "icmp", Target: checks.Target{Address: "192.0.2.1"}}, State: checks.Up,
			Last: checks.Result{Verdict: checks.OK, RTT: []time.Duration{3 * ms, 2 * ms}},
		},
		{
			Spec: checks.Spec{Name: "behind", Kind: "tcp", Target: checks.Target{Network: "heron", Address: "203.0.113.40:443"}}, State: checks.UnknownState,
			Last: checks.Result{Verdict: checks.Unknown, Reason: checks.Blocked, Detail: "waits: heron"},
		},
		{Spec: checks.Spec{Name: "new", Kind: "dns", Target: checks.Target{Address: "192.0.2.53"}}, State: checks.UnknownState},
	}
	var text prom.Text
	gatewayMetrics(&text, snapshot, checks.Lag{Starts: 3, P50: ms, P99: 4 * ms, Missed: 2})
	checkMetrics(&text, list)
	probeMetrics(&text, list)
	records := `check="records",kind="http",network="kestrel",target="https://records.example.net/"`
	for _, want := range []string{
		`ginnel_build_info{version="0.1.0"} 1`, `ginnel_state{state="up"} 1`, `ginnel_state{state="down"} 0`,
		`ginnel_tunnel_state{network="kestrel",hub="hub-north",state="up"} 1`, `ginnel_tunnel_handshake_age_seconds{network="kestrel",hub="hub-north"} 41`,
		`ginnel_run_lag_seconds{quantile="0.99"} 0.004`, `ginnel_runs_missed_total 2`,
		`ginnel_check_state{` + records + `,state="degraded"} 1`, `ginnel_check_runs_total{` + records + `,verdict="failed"} 2`,
		`ginnel_check_questions_total{` + records + `} 9`, `ginnel_check_answers_total{` + records + `} 7`, `ginnel_check_unsent_total{` + records + `} 1`,
		`ginnel_check_rtt_seconds{` + records + `,quantile="0.95"} 0.015`, `ginnel_check_value{` + records + `,name="status",unit="1"} 503`,
		`probe_success{` + records + `} 0`, `probe_dns_lookup_time_seconds{` + records + `} 0.002`,
		`# TYPE ginnel_check_rtt_seconds summary`, `# TYPE ginnel_run_lag_seconds summary`, `probe_duration_seconds{` + records + `} 0.052`, `probe_http_duration_seconds{` + records + `,phase="connect"} 0.02`,
		`probe_http_duration_seconds{` + records + `,phase="processing"} 0.03`, `probe_http_status_code{` + records + `} 503`,
		`probe_ssl_earliest_cert_expiry{` + records + `} 1.7640864e+09`,
		`probe_success{check="gate",kind="icmp",target="192.0.2.1"} 1`, `probe_icmp_duration_seconds{check="gate",kind="icmp",target="192.0.2.1",phase="rtt"} 0.002`,
	} {
		if !strings.Contains(text.String(), "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, text.String())
		}
	}
	series := map[string]bool{}
	for line := range strings.Lines(text.String()) {
		name := line[:strings.LastIndex(line, " ")]
		if !strings.HasPrefix(line, "#") && series[name] {
			t.Errorf("%s is there twice: a Prometheus takes no such pair", name)
		}
		series[name] = true
	}
	for _, wrong := range []string{`probe_success{check="new"`, `probe_success{check="behind"`, `probe_duration_seconds{check="behind"`, `quantile="0.99"} 0` + "\n", `ginnel_check_rtt_seconds{check="gate"`} {
		if strings.Contains(text.String(), wrong) {
			t.Errorf("%s is there: nothing was measured", wrong)
		}
	}
}
