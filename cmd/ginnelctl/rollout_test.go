package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
)

// rolloutAt is one rollout as it goes on, at a step.
func rolloutAt(step int) centre.Rollout {
	r := centre.Rollout{ID: "7", Name: "fleet 3f2a91c", By: "alice", Began: time.Now(), State: centre.RolloutRunning,
		Rings: []centre.RingState{{Name: "hubs", All: 1}, {Name: "canary", All: 2}}}
	if step >= 1 {
		r.Rings[0].Applied = 1
		r.Rings[1].Applying = 2
	}
	if step >= 2 {
		r.Rings[1] = centre.RingState{Name: "canary", All: 2, Applied: 1, Failed: 1}
		r.State, r.Reason = centre.RolloutPaused, "1 of 2 of canary failed"
		r.Gateways = []centre.PushState{{Gateway: "avocet-1", State: "applied"}, {Gateway: "bittern-1", State: "failed", Reason: "hub-north was not\x1b[2J heard",
			Evidence: []string{"before: handshake 12 s ago", "since: 31 sent, none answered"}}}
	}
	return r
}

// at makes an API where that rollout goes on with every look.
func at(t *testing.T, from, to int) *httptest.Server {
	t.Helper()
	var step atomic.Int64
	step.Store(int64(from) - 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/rollouts", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode([]centre.Rollout{rolloutAt(from)})
	})
	mux.HandleFunc("GET /api/v1/rollouts/7", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(rolloutAt(min(int(step.Add(1)), to)))
	})
	mux.HandleFunc("POST /api/v1/rollouts/7/{move}", func(w http.ResponseWriter, r *http.Request) {
		one := rolloutAt(from)
		one.State = map[string]centre.RolloutState{"pause": centre.RolloutPaused, "resume": centre.RolloutRunning, "abort": centre.RolloutAborted, "back": centre.RolloutBack}[r.PathValue("move")]
		json.NewEncoder(w).Encode(one)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Setenv("GINNEL_COLLECTOR", srv.URL)
	return srv
}

// do runs ginnelctl and gives what it printed and its exit code.
func do(ctx context.Context, args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	code = run(ctx, args, cli.IO{In: strings.NewReader(""), Out: &o, Err: &e})
	return o.String(), e.String(), code
}

func TestRolloutStatus(t *testing.T) {
	at(t, 2, 2)
	out, _, code := do(t.Context(), "rollout", "status")
	head, rest, _ := strings.Cut(out, "\n")
	if !strings.HasPrefix(head, "rollout 7, fleet 3f2a91c, to 3 gateways, by alice since ") || code != stopped {
		t.Errorf("exit %d: %s", code, head)
	}
	if d := cmp.Diff(`paused: 1 of 2 of canary failed

    RING  GATEWAYS  APPLIED  TRYING  HELD  FAILED  OFFLINE  WORSE
    hubs         1        1       0     0       0        0      0
  canary         2        1       0     0       1        0      0

Look at these
  bittern-1  failed, and went back: hub-north was not?[2J heard
               before: handshake 12 s ago
               since: 31 sent, none answered
`, rest); d != "" {
		t.Error(d)
	}
}

// TestFollow: where there is no terminal every change is a line, once.
func TestFollow(t *testing.T) {
	at(t, 0, 2)
	out, _, code := do(t.Context(), "rollout", "status", "--wait")
	var lines []string
	for l := range strings.Lines(out) {
		lines = append(lines, strings.TrimSpace(l[len("15:04:05"):]))
	}
	want := []string{"rollout 7 is running", "hubs: 1 of 1 applied", "canary: 0 of 2 applied, 2 trying", "canary: 1 of 2 applied, 1 failed",
		"bittern-1 failed, and went back: hub-north was not?[2J heard", "rollout 7 is paused: 1 of 2 of canary failed"}
	if d := cmp.Diff(want, lines); d != "" || code != stopped {
		t.Errorf("exit %d\n%s", code, d)
	}
}

// TestFollowEndsWithoutTheRollout: Ctrl-C stops the looking only.
func TestFollowEndsWithoutTheRollout(t *testing.T) {
	at(t, 0, 1)
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	out, errs, code := do(ctx, "rollout", "status", "--wait", "7")
	if code != 0 || !strings.Contains(out, "The rollout goes on without this. See it: ginnelctl rollout status --wait") {
		t.Errorf("exit %d:\n%s%s", code, out, errs)
	}
}

// TestDrawnAnew: a terminal shows one table, drawn over itself.
func TestDrawnAnew(t *testing.T) {
	var b bytes.Buffer
	f := follower{out: &b, terminal: true}
	now := time.Now()
	for step := range 3 {
		if err := f.show(rolloutAt(step), now); err != nil {
			t.Fatal(err)
		}
	}
	want := rolloutText(rolloutAt(0), now) + "\x1b[6A\x1b[J" + rolloutText(rolloutAt(1), now) + "\x1b[6A\x1b[J" + rolloutText(rolloutAt(2), now)
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestMoves(t *testing.T) {
	at(t, 1, 1)
	for move, want := range map[string]string{"pause": "paused", "resume": "running", "abort": "ended early; what is applied stays", "back": "going back"} {
		out, errs, code := do(t.Context(), "rollout", move)
		if out != "rollout 7, fleet 3f2a91c: "+want+"\n" || code != 0 {
			t.Errorf("%s: exit %d: %s%s", move, code, out, errs)
		}
	}
}

// TestNoRollout: what is not there is said with what to do.
func TestNoRollout(t *testing.T) {
	list := "[]"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, list) }))
	defer srv.Close()
	t.Setenv("GINNEL_COLLECTOR", srv.URL)
	if _, errs, code := do(t.Context(), "rollout", "status"); code != 1 || errs != "ginnelctl: error: nothing was pushed yet\nginnelctl: hint: ginnelctl push\n" {
		t.Errorf("exit %d: %s", code, errs)
	}
	list = `[{"id":"7","state":"done"}]`
	if _, errs, code := do(t.Context(), "rollout", "pause"); code != 1 || !strings.Contains(errs, "no rollout is on its way: the last one, 7, is done") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
