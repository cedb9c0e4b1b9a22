package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/block/evidence"
	"github.com/ginnel/ginnel/checks"
)

// CheckRun is what one run of a check found: a checks.Result with names for
// scripts. Times are RFC 3339, durations seconds.
type CheckRun struct {
	Check    string         `json:"check"`
	Kind     string         `json:"kind"`
	Network  string         `json:"network,omitempty"`
	Target   string         `json:"target"`
	Path     string         `json:"path,omitempty"`
	Verdict  checks.Verdict `json:"verdict"`
	Reason   checks.Reason  `json:"reason,omitempty"`
	Phase    checks.Phase   `json:"phase,omitempty"`
	Detail   string         `json:"detail,omitempty"`
	Start    time.Time      `json:"start"`
	Sent     int            `json:"sent"`
	Received int            `json:"received"`
	RTT      []float64      `json:"rtt_seconds,omitempty"`
	Stamps   checks.Stamps  `json:"stamps,omitempty"`
	Steps    []CheckStep    `json:"steps,omitempty"`
	Values   []CheckValue   `json:"values,omitempty"`

	Late      int `json:"late,omitempty"`
	Duplicate int `json:"duplicate,omitempty"`
	Reordered int `json:"reordered,omitempty"`
	Corrupt   int `json:"corrupt,omitempty"`
	Unsent    int `json:"unsent,omitempty"`
	Dropped   int `json:"dropped,omitempty"`
}

// CheckStep is a checks.Step.
type CheckStep struct {
	Phase  checks.Phase `json:"phase,omitempty"`
	Name   string       `json:"name"`
	Took   float64      `json:"seconds,omitempty"` // 0: not timed
	Detail string       `json:"detail,omitempty"`
}

// CheckValue is a checks.Value.
type CheckValue struct {
	Name   string  `json:"name"`
	Number float64 `json:"value"`
	Unit   string  `json:"unit"`
}

// RunOf puts a result into names.
func RunOf(s checks.Spec, r checks.Result) CheckRun {
	c := CheckRun{
		Check: s.Name, Kind: s.Kind, Network: s.Target.Network, Target: s.Target.Address, Path: r.Path,
		Verdict: r.Verdict, Reason: r.Reason, Phase: r.Phase, Detail: r.Detail, Start: r.Start.UTC().Round(0),
		Sent: r.Sent, Received: r.Received, Stamps: r.Stamps,
		Late: r.Odd.Late, Duplicate: r.Odd.Duplicate, Reordered: r.Odd.Reordered, Corrupt: r.Odd.Corrupt, Unsent: r.Odd.Unsent, Dropped: r.Odd.Dropped,
	}
	for _, d := range r.RTT {
		c.RTT = append(c.RTT, d.Seconds())
	}
	for _, s := range r.Steps {
		c.Steps = append(c.Steps, CheckStep{s.Phase, s.Name, s.Took.Seconds(), s.Detail})
	}
	for _, v := range r.Values {
		c.Values = append(c.Values, CheckValue{v.Name, v.Number, v.Unit})
	}
	return c
}

// History is what was measured of one check or tunnel over a time.
type History struct {
	Name   string          `json:"name"`
	From   time.Time       `json:"from"`
	To     time.Time       `json:"to"`
	Points []HistoryPoint  `json:"points"`
	Edges  []HistoryChange `json:"changes"`
	Gaps   []HistoryGap    `json:"gaps,omitempty"`
	Now    *HistoryNow     `json:"now,omitempty"` // nil: it is not in the config any more

	Evidence []evidence.Entry `json:"evidence,omitempty"` // of it, the oldest first
}

// HistoryPoint is a block's share of it: a minute, or more where the spool was
// thinned. Durations are seconds.
type HistoryPoint struct {
	Start    time.Time    `json:"start"`
	Length   float64      `json:"seconds"`
	State    checks.State `json:"state"` // at its start
	Sent     uint64       `json:"sent"`
	Received uint64       `json:"received"`
	Unknown  uint32       `json:"unknown,omitempty"` // runs that say nothing of the target
	P50      float64      `json:"p50_seconds,omitempty"`
	P95      float64      `json:"p95_seconds,omitempty"`
	Max      float64      `json:"max_seconds,omitempty"`
}

// HistoryChange is a change of state.
type HistoryChange struct {
	At   time.Time    `json:"at"`
	From checks.State `json:"from"`
	To   checks.State `json:"to"`
	Code string       `json:"code,omitempty"`
	Text string       `json:"text,omitempty"`
}

// HistoryNow is how it is at this moment. The minute that runs is in no point
// yet, and so are the changes in it.
type HistoryNow struct {
	State checks.State `json:"state"`
	Since time.Time    `json:"since"`
	Code  string       `json:"code,omitempty"`
	Text  string       `json:"text,omitempty"` // empty: all is well
}

// HistoryGap is a time that was not measured.
type HistoryGap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// pointOf is the share of a subject in a block.
func pointOf(b *block.Block, s block.Subject) HistoryPoint {
	p := HistoryPoint{Start: b.Start, Length: b.Length.Seconds(), State: s.State, Sent: s.Sent, Received: s.Received, Unknown: s.Unknown}
	if s.RTT != nil && s.RTT.Count() > 0 {
		p.P50, p.P95, p.Max = s.RTT.Quantile(0.5).Seconds(), s.RTT.Quantile(0.95).Seconds(), s.RTT.Max().Seconds()
	}
	return p
}

// Take adds what a block has of the check or tunnel.
func (h *History) Take(b *block.Block) {
	for _, s := range b.Subjects {
		if s.Name == h.Name && s.Class != block.SiteClass {
			h.Points = append(h.Points, pointOf(b, s))
		}
	}
	for _, e := range b.Edges {
		if e.Name == h.Name && e.Class != block.SiteClass {
			h.Edges = append(h.Edges, HistoryChange{e.At, e.From, e.To, e.Code, e.Text})
		}
	}
	for _, g := range b.Gaps {
		h.Gaps = append(h.Gaps, HistoryGap{g.From, g.To, g.Reason})
	}
}

// checkRoutes are those about single checks.
func (s *Server) checkRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/check/run", func(w http.ResponseWriter, r *http.Request) {
		found, err := s.Agent.RunCheck(r.Context(), r.FormValue("name"))
		if err != nil {
			answer(w, err)
			return
		}
		writeJSON(w, http.StatusOK, found)
	})
	mux.HandleFunc("GET /v1/check/watch", s.watch)
	s.evidenceRoutes(mux)
	mux.HandleFunc("GET /v1/history", func(w http.ResponseWriter, r *http.Request) {
		since, err := time.Parse(time.RFC3339, r.FormValue("since"))
		if err != nil {
			writeJSON(w, http.StatusBadRequest, failure{Error: "since: " + err.Error()})
			return
		}
		found, err := s.Agent.History(r.Context(), r.FormValue("name"), since)
		if err != nil {
			answer(w, err)
			return
		}
		writeJSON(w, http.StatusOK, found)
	})
}

// watch tells of each run, one a line, until the client goes.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	begun := false
	err := s.Agent.WatchCheck(r.Context(), r.FormValue("name"), func() {
		begun = true
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusOK)
		_ = flush.Flush()
	}, func(c CheckRun) {
		_ = enc.Encode(c)
		_ = flush.Flush()
	})
	if !begun {
		answer(w, err)
	}
}

// RunCheck has the agent run a check of its config now.
func (c Client) RunCheck(ctx context.Context, name string) (CheckRun, error) {
	var run CheckRun
	err := c.get(ctx, http.MethodPost, "/v1/check/run?name="+url.QueryEscape(name), &run)
	return run, err
}

// History is what the agent has kept of a check or tunnel.
func (c Client) History(ctx context.Context, name string, since time.Time) (History, error) {
	var h History
	err := c.get(ctx, http.MethodGet, "/v1/history?name="+url.QueryEscape(name)+"&since="+url.QueryEscape(since.UTC().Format(time.RFC3339)), &h)
	return h, err
}

func (c Client) get(ctx context.Context, method, path string, into any) error {
	body, err := c.do(ctx, method, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// WatchCheck tells of each run of a check until ctx ends, which is no error.
func (c Client) WatchCheck(ctx context.Context, name string, tell func(CheckRun)) error {
	body, err := c.do(ctx, http.MethodGet, "/v1/check/watch?name="+url.QueryEscape(name), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var run CheckRun
		switch err := dec.Decode(&run); {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("the agent ended, or has another config now")
		case err != nil:
			return fmt.Errorf("follow the check: %w", err)
		}
		tell(run)
	}
}
