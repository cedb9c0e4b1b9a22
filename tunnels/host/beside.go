package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A socket with this mark passes the networks' tables by, while Beside lets it:
// "gn" in ASCII. None of our own rules looks at marks, so one rule in front of
// them is enough, and it is there only for as long as somebody asks.
const besideMark = 0x676e

// besidePriority is in front of every rule of a network.
const besidePriority = 4999

// Beside lets marked sockets pass our tables by until the context ends or pass
// returns: they go as they would if we were not there. mark is for
// net.Dialer.Control.
func (h *Host) Beside(ctx context.Context, pass func(ctx context.Context, mark func(network, address string, c syscall.RawConn) error) error) error {
	h.beside.Lock()
	defer h.beside.Unlock()
	h.besideOpen.Store(true)
	defer h.besideOpen.Store(false)
	for _, family := range h.families() {
		rule := netlink.NewRule()
		rule.Family, rule.Priority, rule.Table, rule.Protocol = family, besidePriority, unix.RT_TABLE_MAIN, Protocol
		rule.Mark = besideMark
		if err := h.net.RuleAdd(rule); err != nil {
			return fmt.Errorf("let a marked socket pass our tables by: %w", permitted(err))
		}
		defer func() { _ = h.net.RuleDel(rule) }() // else it is swept as any of ours that nobody wants
	}
	return pass(ctx, func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, besideMark) })
		return cmp.Or(err, failed)
	})
}

// passes reports whether a rule is the one of Beside, at work.
func (h *Host) passes(r netlink.Rule) bool {
	return h.besideOpen.Load() && r.Mark == besideMark && r.Priority == besidePriority
}

// OwnWay is how a packet of this host itself to an address would go, in words
// that are equal for equal ways: "eth0 via 192.0.2.1, table 254", "refused, table
// 7101", "nowhere".
func (h *Host) OwnWay(to netip.Addr) string {
	list, err := h.net.RouteGet(to.AsSlice())
	if err == nil && len(list) > 0 {
		// The source is chosen by a first look-up; a rule may send what has it
		// another way.
		if from, ok := netip.AddrFromSlice(list[0].Src); ok {
			list, err = h.net.RouteGetWithOptions(to.AsSlice(), &netlink.RouteGetOptions{SrcAddr: from.AsSlice()})
		}
	}
	switch {
	case errors.Is(err, unix.ENETUNREACH):
		return "nowhere"
	case err != nil:
		return "refused"
	case len(list) == 0:
		return "nowhere"
	}
	names, err := h.linkNames()
	if err != nil {
		return "not known"
	}
	r := list[0]
	text := names[r.LinkIndex]
	if via, ok := netip.AddrFromSlice(r.Gw); ok {
		text += " via " + via.Unmap().String()
	}
	return fmt.Sprintf("%s, table %d", text, r.Table)
}
