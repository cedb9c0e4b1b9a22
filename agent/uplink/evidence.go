package uplink

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Evidence is where evidence waits. Only Ack ends its wait.
type Evidence interface {
	// Waiting gives the oldest; an empty id: none waits.
	Waiting() (id string, text []byte, err error)
	// Ack says that the collector has it, or never will.
	Ack(id string) error
}

// Names of its delivery.
const (
	evidencePath = "/v1/evidence"
	evidenceType = "application/vnd.ginnel.evidence+json"

	// untoldFor is how long evidence waits for a collector that takes none: an
	// older one, or one that does not take this document.
	untoldFor = 10 * time.Minute
)

// sendEvidence sends the oldest that waits. more: there may be others. A collector
// that refuses what it was sent is well all the same: its blocks go on.
func (u *Uplink) sendEvidence(ctx context.Context, base string) (more bool, err error) {
	if u.o.Evidence == nil || time.Now().Before(u.untold) {
		return false, nil
	}
	id, text, err := u.o.Evidence.Waiting()
	if err != nil || id == "" {
		return false, err
	}
	head := http.Header{"Content-Type": {evidenceType}}
	raw, err := u.http.post(ctx, base, evidencePath, head, text, want{"application/json", maxAnswer})
	var answer struct{ Kept string }
	switch {
	case kindOf(err) == Refused && codeOf(err) == "bad_evidence": // and will be for ever
		u.o.Log.WarnContext(ctx, "the collector does not take evidence; it stays here", "id", id, "err", err)
	case kindOf(err) == Refused, kindOf(err) == Broken:
		u.untold = time.Now().Add(untoldFor)
		u.o.Log.WarnContext(ctx, "the collector takes no evidence now; it is tried again", "id", id, "err", err)
		return false, nil
	case err != nil:
		return false, err
	case json.Unmarshal(raw, &answer) != nil || answer.Kept != id:
		return false, &Trouble{Kind: Broken, Text: "the collector took evidence and does not say that it is durable"}
	}
	u.succeeded(ctx, deliverLoop, base)
	if err := u.o.Evidence.Ack(id); err != nil {
		return false, fmt.Errorf("free the evidence: %w", err)
	}
	return true, nil
}
