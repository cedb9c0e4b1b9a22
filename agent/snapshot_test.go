package agent

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/ginnel/ginnel/checks"
)

func TestFiguresSayWhatTheyRestOn(t *testing.T) {
	ms := time.Millisecond
	for _, test := range []struct {
		f    checks.Figures
		want string
	}{
		{checks.Figures{}, `{"rtt_p50_seconds":null,"rtt_p95_seconds":null,"loss_ratio":null}`},
		{
			checks.Figures{Timed: 30, Min: 10 * ms, P50: 11 * ms, P95: 12 * ms, Sent: 40, Received: 30, Odd: checks.Odd{Late: 1, Duplicate: 2, Reordered: 3, Corrupt: 4, Unsent: 5, Dropped: 6}},
			`{"rtt_p50_seconds":0.011,"rtt_p95_seconds":0.012,"loss_ratio":0.25,"loss_ratio_95":[0.14187119,0.40193961],"rtt_min_seconds":0.01,` +
				`"rtt_p99_missing":"it takes 100 answers, and there are 30","sent":40,"received":30,"odd":{"late":1,"duplicate":2,"reordered":3,"corrupt":4,"unsent":5,"dropped":6}}`,
		},
		{
			checks.Figures{Timed: 100, Min: 10 * ms, P50: 11 * ms, P95: 12 * ms, P99: 20 * ms, PDV: 10 * ms, Jitter: checks.Jitter{Of: 1, Value: ms}, Sent: 100, Received: 100},
			`{"rtt_p50_seconds":0.011,"rtt_p95_seconds":0.012,"loss_ratio":0,"loss_ratio_95":[0,0.0369935],"rtt_min_seconds":0.01,` +
				`"rtt_p99_seconds":0.02,"pdv_p99_seconds":0.01,"jitter_seconds":0.001,"sent":100,"received":100}`,
		},
	} {
		out := figures(test.f)
		if b := out.LossBetween; b != nil { // eight digits will do
			b[0], b[1] = float64(int64(b[0]*1e8+.5))/1e8, float64(int64(b[1]*1e8+.5))/1e8
		}
		raw, err := json.Marshal(out)
		if err != nil || string(raw) != test.want {
			t.Errorf("got  %s (%v)\nwant %s", raw, err, test.want)
		}
	}
}
