package uplink

import (
	"context"

	"github.com/ginnel/ginnel/agent/wire"
)

// Steering is the part of the agent that the centre can move. Its methods are
// called by the control loop, one after the other, and must not block; whatever
// they start tells its news by Uplink.Wake.
type Steering interface {
	// Say completes what goes out: nonce, list number. Boot id and proofs of
	// keys are in it already.
	Say(s *wire.Said)
	// Hear takes what came. Nothing in it has been verified.
	Hear(ctx context.Context, t wire.Told)
	// Offer takes a signed bundle and its hash; what becomes of it shows in
	// Status. The same offer again changes nothing.
	Offer(ctx context.Context, hash []byte, bundle []byte)
	// Status is that of the newest offer; Hash nil: none was made.
	Status() OfferStatus
}

// OfferStatus is how an offered config fares, in OpAMP's words.
type OfferStatus struct {
	Hash    []byte // SHA-256 of the bundle's text
	State   OfferState
	Message string // why, and the evidence; of Failed, and of Applying that is held
}

// OfferState is OpAMP's RemoteConfigStatuses.
type OfferState byte

const (
	Unset OfferState = iota
	Applied
	Applying // on trial, or held unconfirmed
	Failed
)
