package tunnels

import "context"

// Host reads and writes the objects of one machine (or one network namespace).
// tunnels/host and tunnels/wireguard together are the real one.
type Host interface {
	// Facts tells what Want needs besides the Spec.
	Facts(ctx context.Context, spec Spec) (Facts, error)
	// Observe returns everything that carries our tags, whoever's Spec it
	// came from, and nothing else.
	Observe(ctx context.Context) (State, error)
	// Apply takes one step. It succeeds when the object is already as the
	// step wants it.
	Apply(ctx context.Context, step Step) error
}
