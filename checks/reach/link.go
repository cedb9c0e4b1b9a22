package reach

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// Link is the name of the link by which packets leave on this way, as the
// kernel's rules and routes have it now; empty: there is none, or the kernel
// does not tell.
func (w Way) Link() string {
	l, err := w.link()
	if err != nil {
		return ""
	}
	return l.Attrs().Name
}

// Route remembers the link of a way for a minute, for checks that are cheaper
// than asking the kernel for it. The zero Route remembers nothing.
type Route struct {
	way  Way
	link string
	at   time.Time
}

// Link is w.Link(), or what that was less than a minute ago.
func (r *Route) Link(w Way) string {
	if !r.of(w) || r.old() {
		*r = routeNow(w)
	}
	return r.link
}

func routeNow(w Way) Route { return Route{way: w, at: time.Now(), link: w.Link()} }

func (r *Route) of(w Way) bool { return r.way.To == w.To && r.way.From == w.From }

func (r *Route) old() bool { return time.Since(r.at) > time.Minute }

// RouteBeside is a Route that nobody waits for: the kernel is asked beside whoever
// wants to know. Its zero value remembers nothing. It is safe for use by several
// goroutines.
type RouteBeside struct {
	mu     sync.Mutex
	known  Route
	asking bool
}

// Link is what w.Link() was when it was asked last, about a minute ago at most;
// empty as well where it was not asked yet.
func (r *RouteBeside) Link(w Way) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known.of(w) || r.known.old() {
		r.ask(w)
	}
	if !r.known.of(w) {
		return ""
	}
	return r.known.link
}

func (r *RouteBeside) ask(w Way) {
	if r.asking {
		return
	}
	r.asking = true
	go func() {
		fresh := routeNow(w)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.known, r.asking = fresh, false
	}()
}

// MTU is the largest packet that leaves on this way without being cut, by the
// MTU of its link; false: the kernel does not tell. What the kernel has heard of
// routers behind the link is not in it.
func (w Way) MTU() (bytes int, ok bool) {
	l, err := w.link()
	if err != nil {
		return 0, false
	}
	return l.Attrs().MTU, true
}

func (w Way) link() (netlink.Link, error) {
	options := new(netlink.RouteGetOptions)
	if w.From.IsValid() {
		options.SrcAddr = ipOf(w.From)
	}
	routes, err := netlink.RouteGetWithOptions(ipOf(w.To), options)
	if err != nil {
		return nil, err
	}
	if len(routes) == 0 {
		return nil, syscall.ENETUNREACH
	}
	return netlink.LinkByIndex(routes[0].LinkIndex)
}

func ipOf(a netip.Addr) net.IP { return net.IP(a.AsSlice()) }
