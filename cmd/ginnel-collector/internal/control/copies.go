package control

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
	"github.com/ginnel/ginnel/cmd/internal/centre"
)

// Bounds of what is remembered of boots.
const (
	mostBoots  = 8
	longestID  = 64             // bytes of a boot id
	copiesLast = 24 * time.Hour // a copy that is not heard for so long is off
)

// copies finds machines that share an identity, which a copied disk makes: a
// boot id that comes back after another one is no reboot. Nothing is shut out
// for it; an operator decides.
type copies struct {
	mu   sync.Mutex
	seen map[string]store.Boots // by gateway
}

func (s *Server) loadBoots() error {
	all, err := s.o.Store.Boots(context.Background())
	if err != nil {
		return fmt.Errorf("read boots: %w", err)
	}
	s.copies.seen = all
	return nil
}

// hear takes a boot id. save: what is remembered has to be written; found: two
// copies were not known to be two before.
func (c *copies) hear(gateway string, device []byte, now centre.Copy) (b store.Boots, save, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b = c.seen[gateway]
	if !bytes.Equal(b.Device, device) {
		b = store.Boots{Device: device}
	}
	i := slices.IndexFunc(b.Boots, func(o store.Boot) bool { return o.Boot == now.Boot })
	list := slices.Clone(b.Boots)
	switch {
	case i < 0:
		list = append([]store.Boot{{Copy: now}}, list[:min(len(list), mostBoots-1)]...)
		save = true
	case i > 0:
		back := list[i]
		found = !back.Copied || !list[0].Copied
		back.Copy, back.Copied, list[0].Copied = now, true, true
		list = append([]store.Boot{back}, slices.Delete(list, i, i+1)...)
		save = found
	default:
		list[0].Copy = now
	}
	b.Boots = list
	c.seen[gateway] = b
	return b, save, found
}

// of are the copies of a gateway that were heard lately, if there are two.
func (c *copies) of(gateway string, now time.Time) []centre.Copy {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []centre.Copy
	for _, b := range c.seen[gateway].Boots {
		if b.Copied && now.Sub(b.Seen) < copiesLast {
			all = append(all, b.Copy)
		}
	}
	if len(all) < 2 {
		return nil
	}
	return all
}

// Copies are the machines that share a gateway's identity now, the one that was
// heard last first; nil where there is one only.
func (s *Server) Copies(gateway string) []centre.Copy { return s.copies.of(gateway, s.o.Now()) }

// hearBoot takes the boot id of a message.
func (s *Server) hearBoot(ctx context.Context, x *exchange, boot string, now time.Time) {
	if boot == "" || len(boot) > longestID {
		return
	}
	gateway := x.caller.gateway
	b, save, found := s.copies.hear(gateway, x.caller.key, centre.Copy{Boot: boot, From: x.request.RemoteAddr, Seen: now})
	if save {
		if err := s.o.Store.SaveBoots(ctx, gateway, b); err != nil {
			s.o.Log.ErrorContext(ctx, "cannot keep boots", "gateway", gateway, "err", err)
		}
	}
	if !found {
		return
	}
	one, other := b.Boots[0], b.Boots[1]
	s.o.Log.WarnContext(ctx, "two machines have one identity", "gateway", gateway, "boot", one.Boot, "from", one.From, "other", other.Boot, "other_from", other.From)
	s.audit(ctx, store.Event{Actor: gateway, From: x.request.RemoteAddr, Act: "two copies", Object: gateway,
		Detail: fmt.Sprintf("boot %s from %s and boot %s from %s alternate: a copied disk; both go on until somebody decides", one.Boot, one.From, other.Boot, other.From)})
}
