package store

import (
	"context"
	"errors"
	"time"

	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Errors of Rollouts that callers decide by.
var (
	ErrBusy = errors.New("another rollout is on its way")
	ErrOld  = errors.New("its number is not above the one in force")
)

// Rollouts keeps signed configs, what is wanted of each gateway, and how that
// came about. A bundle is kept once, by the hash of its text, for ever: going
// back needs the old ones.
type Rollouts interface {
	// StartRollout records a rollout with its pushes and their bundles, all or
	// nothing. ErrBusy: another one has not ended, nor has r.
	StartRollout(ctx context.Context, r Rollout, pushes []Push, bundles []Bundle, acts []Event) error
	// SaveRollout keeps one step of a rollout: where it stands, the pushes
	// that changed, what is wanted from now on, and the acts that it was.
	SaveRollout(ctx context.Context, r Rollout, changed []Push, wanted []Wanted, acts []Event) error
	// Rollouts gives all, the newest first; Rollout one, or ErrNotFound.
	Rollouts(ctx context.Context) ([]Rollout, error)
	Rollout(ctx context.Context, id string) (Rollout, error)
	// Pushes gives those of a rollout, in the order they were given.
	Pushes(ctx context.Context, id string) ([]Push, error)

	// Wanted gives what was last wanted of each gateway, by name.
	Wanted(ctx context.Context) ([]Wanted, error)
	// Bundles gives those of these hashes that are kept.
	Bundles(ctx context.Context, hashes []string) ([]Bundle, error)

	// SetFreeze keeps what stops all rollouts; Freeze gives it, zero at first.
	SetFreeze(ctx context.Context, f centre.Freeze, act Event) error
	Freeze(ctx context.Context) (centre.Freeze, error)

	// SaveList puts a list in force. ErrOld: its number is not above the
	// present one's. List gives the one in force, or ErrNotFound.
	SaveList(ctx context.Context, l List, act Event) error
	List(ctx context.Context) (List, error)

	// AskKeys adds networks for which gateways are to prove a key;
	// AskedKeys gives all that were ever asked for, by gateway.
	AskKeys(ctx context.Context, networks map[string][]string) error
	AskedKeys(ctx context.Context) (map[string][]string, error)
}

// Rollout is one push on its way, without its gateways.
type Rollout struct {
	ID     string
	Name   string
	By     string
	Rings  []string
	Window string
	Pause  centre.Pause
	Began  time.Time
	Ended  time.Time // zero: it has not

	State  centre.RolloutState
	Reason string // of State
	Ring   int    // that has come; those before it are through
	Live   bool   // something may still become of it, though it may have ended
}

// Push is one gateway's part in a rollout: what is to run there, and how that
// has gone so far.
type Push struct {
	Gateway string
	Ring    int
	Window  string
	Needs   []string
	Apart   []string
	Config  centre.ConfigRef
	Back    centre.ConfigRef // zero: there is no way back

	Progress []byte // JSON of package rollout
}

// Bundle is a signed config.
type Bundle struct {
	Gateway string
	centre.ConfigRef
	Bytes []byte // as bundle.Parse reads them
}

// Wanted is what a rollout last wanted of a gateway.
type Wanted struct {
	Gateway string
	centre.ConfigRef
	Rollout string
	Since   time.Time
	// Stopped: it failed there, and is not offered again without a new
	// decision.
	Stopped bool
}

// List is a signed list of what is shut out.
type List struct {
	Number uint64
	Bytes  []byte // a bundle
	Since  time.Time
	By     string
}
