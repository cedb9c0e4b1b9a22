package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/why"
	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/host"
	"github.com/ginnel/ginnel/tunnels/key"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// sight is what `ginnel why` sees of this machine besides its tunnels.
func (h *hostSide) sight() agent.Sight {
	w := &wanMemory{h: h}
	return agent.Sight{
		WAN: w.look, Host: h.around, Way: h.way, Drops: h.foreignDrops, Foreign: h.foreign, Fault: faultOf, Kept: clockKept,
		NoFilters: func() bool { return errors.Is(h.Nftables(), host.ErrNoNftables) },
	}
}

// wanMemory remembers which links led to the WAN: when the cable is out, no
// route says so any more.
type wanMemory struct {
	h     *hostSide
	mu    sync.Mutex
	known []string
}

func (w *wanMemory) look() why.WAN {
	hops, err := w.h.Hops()
	if err != nil {
		return why.WAN{NotRead: err.Error()}
	}
	var out why.WAN
	var names []string
	for _, hop := range hops {
		g := why.Gateway{Address: hop.Address, Link: hop.Link}
		switch {
		case hop.Answers:
			g.Answers = why.Yes
		case hop.Silent:
			g.Answers = why.No
		}
		out.Gateways = append(out.Gateways, g)
		if !slices.Contains(names, hop.Link) {
			names = append(names, hop.Link)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.h.Settings.Uplinks) > 0:
		w.known = w.h.Settings.Uplinks
	case len(names) > 0:
		w.known = names
	}
	ports, err := w.h.Ports(w.known)
	if err != nil {
		return why.WAN{NotRead: err.Error()}
	}
	for _, p := range ports {
		out.Links = append(out.Links, why.Link{Name: p.Name, There: p.There, Up: p.Up, Carrier: p.Carrier, Addresses: p.Addresses})
	}
	return out
}

// around is what of this machine a config could collide with.
func (h *hostSide) around(ctx context.Context) block.HostSnapshot {
	var s block.HostSnapshot
	facts, err := h.Facts(ctx, tunnels.Spec{})
	if err != nil {
		return s // the manager says what is wrong
	}
	for _, l := range facts.Links {
		if l.Name == "lo" || len(l.Addresses) == 0 {
			continue
		}
		link := block.LinkSnapshot{Name: l.Name, Uplink: slices.Contains(facts.Uplinks, l.Name)}
		for _, p := range l.Addresses {
			if !p.Addr().IsLinkLocalUnicast() {
				link.Prefixes = append(link.Prefixes, p)
			}
		}
		s.Links = append(s.Links, link)
	}
	s.Gateways, _ = h.Gateways()
	return s
}

func (h *hostSide) way(from netip.Prefix, to netip.Addr, ingress string) why.Lookup {
	w, source, err := h.Way(from, to, ingress)
	l := why.Lookup{From: source, To: to, Device: w.Device, Table: w.Table, Refused: w.Refused, Rule: w.Rule}
	if err != nil {
		l.Err = err.Error()
	}
	return l
}

func (h *hostSide) foreignDrops(ctx context.Context) why.Drop {
	who, line, blocked, err := h.ForwardBlock(ctx)
	if err != nil || !blocked {
		return why.Drop{} // where it cannot be told nobody is accused
	}
	return why.Drop{By: who, Type: line}
}

func (h *hostSide) foreign(ctx context.Context, device string, own key.Public) string {
	what, err := h.Host.Foreign(ctx, device, own)
	if err != nil || what == "" {
		return ""
	}
	return "link " + device + " is " + what
}

// faultOf sorts an error of the host.
func faultOf(err error) why.Host {
	return why.Host{
		Fault:     strings.ReplaceAll(err.Error(), "\n", "; "),
		NoRights:  errors.Is(err, wireguard.ErrNoCapability),
		NoFilters: errors.Is(err, host.ErrNoNftables),
	}
}

// clockKept asks the kernel whether something keeps the clock. A sandboxed
// service may not ask, and then does not know.
func clockKept() (synced bool, within time.Duration) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil || state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return false, 0
	}
	return true, time.Duration(t.Maxerror) * time.Microsecond
}
