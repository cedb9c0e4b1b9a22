package uplink

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/tunnels/key"
)

// mostWanted bounds the networks for which one answer may want a key: each is a
// file that is never removed.
const mostWanted = 32

// sayKeys adds what the collector has not said that it keeps.
func (u *Uplink) sayKeys(s *wire.Said) {
	s.Boot, s.Proofs = u.o.Boot, u.o.Identity.Proofs()
}

// hearKeys takes what the collector keeps, and proves keys for the networks that
// it wants. It can have keys made, never learn or choose one.
func (u *Uplink) hearKeys(ctx context.Context, told wire.Told) {
	if err := u.o.Identity.Keep(told.Known); err != nil {
		u.o.Log.ErrorContext(ctx, "cannot note what the collector keeps", "err", err)
	}
	stated := u.o.Identity.Stated()
	var fresh []string
	for _, network := range told.Wanted[:min(mostWanted, len(told.Wanted))] {
		if _, ok := stated[network]; !ok && identity.ValidName(network) {
			fresh = append(fresh, network)
		}
	}
	if len(fresh) == 0 || len(stated)+len(fresh) > identity.MaxProofKeys {
		return
	}
	u.prove(ctx, fresh)
}

// proveAgain states the keys anew where one is not what was stated last: its
// file was lost.
func (u *Uplink) proveAgain(ctx context.Context) {
	if stated := u.o.Identity.Stated(); len(stated) > 0 {
		u.prove(ctx, slices.Sorted(maps.Keys(stated)))
	}
}

func (u *Uplink) prove(ctx context.Context, networks []string) {
	if u.o.Keys == nil {
		return
	}
	before := len(u.o.Identity.Proofs())
	keys, err := publicKeys(networks, u.o.Keys)
	if err == nil {
		_, err = u.o.Identity.Prove(u.o.Identity.Site().Gateway, keys, identity.Secret{})
	}
	if err != nil {
		u.o.Log.ErrorContext(ctx, "cannot prove keys", "networks", networks, "err", err)
		return
	}
	if len(u.o.Identity.Proofs()) > before {
		u.o.Log.InfoContext(ctx, "proved keys", "networks", networks)
		u.control.wake()
	}
}

// publicKeys asks for the public key of each network.
func publicKeys(networks []string, of func(network string) (key.Public, error)) (map[string]key.Public, error) {
	keys := map[string]key.Public{}
	for _, n := range networks {
		k, err := of(n)
		if err != nil {
			return nil, fmt.Errorf("key of network %s: %w", n, err)
		}
		keys[n] = k
	}
	return keys, nil
}
