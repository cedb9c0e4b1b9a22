// Package store says what the collector keeps, and is kept by sqlite below it.
package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/ginnel/ginnel/agent/block"
)

// Errors that callers decide by.
var (
	ErrNotFound = errors.New("not found")
	ErrUsed     = errors.New("token was used already")
	ErrExpired  = errors.New("token has expired")
)

// Store keeps sites, gateways, blocks and audit. All methods are safe for
// concurrent use; what they wrote is durable when they return.
type Store interface {
	// AddSite records a site and its first gateway, with the hash of its
	// enrolment token. The same site again replaces name, postcode and token.
	AddSite(ctx context.Context, s Site) error
	Sites(ctx context.Context) ([]Site, error)
	Site(ctx context.Context, id string) (Site, error)

	// RedeemToken spends a token and binds the gateway to its instance uid
	// and certificate. The same uid may redeem again with the same key (a
	// lost answer); another gets ErrUsed. Errors: ErrNotFound, ErrUsed, ErrExpired.
	RedeemToken(ctx context.Context, hash [32]byte, uid string, publicKey []byte, now time.Time) (Gateway, error)
	Gateways(ctx context.Context) ([]Gateway, error)
	Gateway(ctx context.Context, name string) (Gateway, error)

	// Ingest keeps blocks and returns the watermark: every block of (gateway,
	// epoch) up to and with it is durable. A block that is there already
	// changes nothing.
	Ingest(ctx context.Context, gateway string, blocks []Packed, arrived time.Time) (Watermark, error)
	// Blocks gives a gateway's blocks that overlap [from, to), in order of
	// their start.
	Blocks(ctx context.Context, gateway string, from, to time.Time) iter.Seq2[*block.Block, error]
	CountBlocks(ctx context.Context, gateway string) (int, error)

	// SaveSnapshot keeps the newest snapshot of a gateway and when it came.
	SaveSnapshot(ctx context.Context, gateway string, s block.Snapshot, arrived time.Time) error
	// Snapshot gives it back. ErrNotFound before the first.
	Snapshot(ctx context.Context, gateway string) (block.Snapshot, time.Time, error)

	// SaveReport keeps a finished month's report of a site; Report gives it back.
	SaveReport(ctx context.Context, site, month string, json []byte) error
	Report(ctx context.Context, site, month string) ([]byte, error)

	// Audit appends to the log of acts.
	Audit(ctx context.Context, e Event) error
	Events(ctx context.Context, limit int) ([]Event, error)
	Close() error
}

// Site is a place with its first gateway.
type Site struct {
	ID, Name, Postcode string
	Gateway            string   // "avocet-1"
	Networks           []string // that it is to join
	TokenHash          [32]byte // SHA-256; zero when spent
	TokenExpires       time.Time
	Added              time.Time
}

// Gateway is an enrolled gateway.
type Gateway struct {
	Name, Site  string
	InstanceUID string
	PublicKey   []byte // device key, PKIX
	Enrolled    time.Time
	LastSeen    time.Time // zero: never since enrolment
}

// Packed is a block as it came over the wire, with its name read from it.
type Packed struct {
	Epoch, Sequence uint64
	Bytes           []byte
}

// Watermark answers for one epoch.
type Watermark struct {
	Epoch    uint64 `json:"epoch"`
	Sequence uint64 `json:"sequence"` // 0: none yet
}

// Event is one act.
type Event struct {
	At     time.Time
	Actor  string // gateway or operator; "-" where nobody was recognised
	Act    string // "site add", "enrol", "enrol refused", …
	Object string
	Detail string
}
