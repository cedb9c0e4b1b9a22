package agent

import (
	"log/slog"
	"net/netip"
	"sync"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/stamp"
	"github.com/ginnel/ginnel/tunnels"
)

// responderPlace is where a hub answers the test packets of a network's sites:
// our address in it, by its device only. The filter opens the port there for what
// comes out of that device, and for nothing else.
type responderPlace struct {
	at     netip.AddrPort
	device string
}

// responderPlaces are those of a config: of the networks in which it is a hub.
func responderPlaces(c *config.Config) (places []responderPlace) {
	for _, n := range c.Networks {
		if n.Role != tunnels.Hub {
			continue
		}
		for _, p := range n.Address {
			places = append(places, responderPlace{netip.AddrPortFrom(p.Addr(), checks.EchoPort), n.Device})
		}
	}
	return places
}

// echoing keeps the responders running that are wanted. One whose port cannot be
// had is tried again at the next change; nothing else depends on it.
type echoing struct {
	log *slog.Logger

	mu      sync.Mutex // of what follows
	running map[responderPlace]*stamp.Responder
	wg      sync.WaitGroup
}

// sync makes those run that are wanted. With none it returns when all have ended.
func (e *echoing) sync(wanted []responderPlace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	keep := map[responderPlace]bool{}
	for _, p := range wanted {
		keep[p] = true
	}
	for p, r := range e.running {
		if !keep[p] {
			_ = r.Close()
			delete(e.running, p)
		}
	}
	for _, p := range wanted {
		if e.running[p] == nil {
			e.start(p)
		}
	}
	if len(wanted) == 0 {
		e.wg.Wait()
	}
}

func (e *echoing) start(p responderPlace) {
	r, err := stamp.Listen(p.at, p.device)
	if err != nil {
		e.log.Warn("sites' test packets are not answered", "address", p.at, "err", err)
		return
	}
	if e.running == nil {
		e.running = map[responderPlace]*stamp.Responder{}
	}
	e.running[p] = r
	e.wg.Go(func() {
		if err := r.Serve(); err != nil {
			e.log.Warn("sites' test packets are not answered any more", "address", p.at, "err", err)
		}
	})
}
