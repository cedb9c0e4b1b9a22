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
	ErrUsed     = errors.New("used already")
	ErrExpired  = errors.New("token has expired")
	ErrOverlap  = errors.New("block lies across the edge of another")
)

// Store keeps sites, gateways, blocks and audit. All methods are safe for
// concurrent use; what they wrote is durable when they return.
type Store interface {
	// AddSite records a site and a gateway of it, with the hash of its
	// enrolment token. The same site again replaces name, postcode and the
	// gateway's token. Of gateways named SITE-1, SITE-2 a site may have
	// several, and the first that was added stays its first; another name
	// takes the first one's place. ErrUsed: another site has the gateway.
	// The acts that it was are kept with it, or neither is; so it is of other
	// methods that take acts.
	AddSite(ctx context.Context, s Site, acts ...Event) error
	Sites(ctx context.Context) ([]Site, error)
	Site(ctx context.Context, id string) (Site, error)

	// RedeemToken spends a token and binds the gateway to its instance uid
	// and certificate. The same uid may redeem again with the same key (a
	// lost answer) until another device has taken its place; others get
	// ErrUsed. Errors: ErrNotFound, ErrUsed, ErrExpired.
	RedeemToken(ctx context.Context, hash [32]byte, uid string, publicKey []byte, now time.Time) (Gateway, error)
	// TokenGateway is the gateway that a token is for, spent or not.
	TokenGateway(ctx context.Context, hash [32]byte) (string, error)
	Gateways(ctx context.Context) ([]Gateway, error)
	Gateway(ctx context.Context, name string) (Gateway, error)

	// Ingest keeps blocks of one epoch, all or none, and says up to where the
	// record is whole. A block that is there already changes nothing; one
	// that stands for several that are there takes their place; one that
	// lies across another's edge is refused with ErrOverlap.
	Ingest(ctx context.Context, gateway string, blocks []Packed, arrived time.Time) (Ingested, error)
	// Freed records that the gateway holds nothing of epoch below sequence
	// any more. It has thrown away only what was acknowledged, so a store
	// that lacks it (new, or back from an older copy) must not wait for it.
	Freed(ctx context.Context, gateway string, epoch, sequence uint64) error
	// Blocks gives a gateway's blocks that overlap [from, to), in order of
	// their start.
	Blocks(ctx context.Context, gateway string, from, to time.Time) iter.Seq2[*block.Block, error]
	CountBlocks(ctx context.Context, gateway string) (int, error)

	// SaveSnapshot keeps the newest snapshot of a gateway and when it came.
	SaveSnapshot(ctx context.Context, gateway string, s block.Snapshot, arrived time.Time) error
	// SaveSnapshots keeps those of many gateways in one go, all or none.
	SaveSnapshots(ctx context.Context, all []Heard) error
	// Snapshot gives it back. ErrNotFound before the first.
	Snapshot(ctx context.Context, gateway string) (block.Snapshot, time.Time, error)
	// Heard gives every gateway's newest, by name.
	Heard(ctx context.Context) ([]Heard, error)

	// SaveReport keeps a finished month's report of a site; Report gives it back.
	SaveReport(ctx context.Context, site, month string, json []byte) error
	Report(ctx context.Context, site, month string) ([]byte, error)

	// Audit appends to the log of acts. The ID is given by the store.
	Audit(ctx context.Context, e Event) error
	// Events gives the newest acts, the newest first.
	Events(ctx context.Context, limit int) ([]Event, error)
	FindEvents(ctx context.Context, f EventFilter) ([]Event, error)
	// Exported is up to which act a sink of the log has them, 0 at first;
	// SaveExported keeps it.
	Exported(ctx context.Context, sink string) (int64, error)
	SaveExported(ctx context.Context, sink string, id int64) error

	Evidence
	Operators
	Proofs
	Rollouts
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

// Heard is what a gateway said last, and when.
type Heard struct {
	Gateway  string
	Snapshot block.Snapshot
	At       time.Time
}

// Packed is a block as it came over the wire, with what the store must know of
// it. Unpack makes it.
type Packed struct {
	Epoch           uint64
	First, Sequence uint64 // it stands for First to Sequence; equal unless thinned
	Start, End      time.Time
	Bytes           []byte
}

// Watermark says that every block of Epoch up to and with Sequence is durable.
type Watermark struct {
	Epoch    uint64
	Sequence uint64 // 0: none yet
}

// Ingested is what became of the blocks of one Ingest.
type Ingested struct {
	Watermark
	New   int // kept now
	Again int // were there already
	Clash int // of Again: the same name with other content, the sign of a cloned disk
}

// Event is one act.
type Event struct {
	ID     int64 // rises by each; given by the store
	At     time.Time
	Actor  string // gateway or operator; "-" where nobody was recognised
	From   string // address that it came from; empty: the collector itself
	Act    string // "site add", "enrol", "enrol refused", …
	Object string // what was acted on: a site, gateway, rollout, list, …
	Detail string
	Old    string // what was there before, where something was changed
	New    string // what is there now
}

// EventFilter says which events are wanted. Zero fields ask for nothing.
type EventFilter struct {
	After, Before int64  // ids: those between, both not included
	Actor, Object string // these exactly
	OldestFirst   bool   // else the newest
	Limit         int    // must be set
}
