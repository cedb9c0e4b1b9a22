package store

import (
	"context"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
)

// MaxEvidence is how many documents of one gateway are kept, the newest.
const MaxEvidence = 20

// Evidence keeps what gateways saw when something broke.
type Evidence interface {
	// SaveEvidence keeps a document; one of an id that is there changes nothing.
	SaveEvidence(ctx context.Context, gateway, id string, body []byte, arrived time.Time) error
	// EvidenceOf gives those of a gateway, the newest first.
	EvidenceOf(ctx context.Context, gateway string) ([]*evidence.Bundle, error)
	// EvidenceNamed gives one. ErrNotFound: it is not there.
	EvidenceNamed(ctx context.Context, gateway, id string) (*evidence.Bundle, error)
}
