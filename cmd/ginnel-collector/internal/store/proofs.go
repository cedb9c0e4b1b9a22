package store

import (
	"context"
	"errors"
	"time"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// MaxProofs is how many proofs of one device are kept.
const MaxProofs = 256

// ErrFull is for a device that has proved more than anybody could want.
var ErrFull = errors.New("it has sent too many proofs of keys")

// Proofs keeps what gateways proved of their WireGuard keys, and from which boots
// of which machine they were heard.
type Proofs interface {
	// SaveProofs appends those that are not there yet, all or none. ErrFull:
	// there would be over MaxProofs of the device.
	SaveProofs(ctx context.Context, gateway string, device []byte, proofs []identity.Proof, at time.Time) error
	// Proofs gives all, by gateway, the oldest first.
	Proofs(ctx context.Context) ([]centre.Keys, error)

	// SaveBoots keeps the boots of a gateway in the place of those before.
	SaveBoots(ctx context.Context, gateway string, boots Boots) error
	// Boots gives those of all gateways.
	Boots(ctx context.Context) (map[string]Boots, error)
}

// Boots are the boot ids under which one identity was heard.
type Boots struct {
	Device []byte `json:"device"` // public device key, PKIX; another one begins anew
	Boots  []Boot `json:"boots"`  // the newest first
}

// Boot is one of them.
type Boot struct {
	centre.Copy
	Copied bool `json:"copied,omitempty"` // it came back after another, as no reboot does
}
