package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// settle is how long Watch waits for more to happen before it wakes.
	settle = 100 * time.Millisecond
	// longest is how long it may put off waking while more goes on happening.
	longest = time.Second
)

// Watch calls wake soon after something changed that may concern us: links,
// addresses, forwarding, our routes and the default ones, our rules and nftables
// tables. It says not what: the caller looks afresh. It also wakes at the
// beginning, when events may have been lost, and every second while there are
// none to be had. Who changed what is ours is kept for Culprit. It returns when
// ctx ends.
func (h *Host) Watch(ctx context.Context, wake func()) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan struct{}, 1)
	notify := func() {
		select {
		case events <- struct{}{}:
		default:
		}
	}
	wg.Go(func() { debounce(ctx, events, wake) })
	backOff := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		err := h.listen(ctx, notify)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > time.Minute {
			backOff = 0
		}
		backOff = min(max(2*backOff, 100*time.Millisecond), 10*time.Second)
		h.log.Warn("lost the kernel's events, asking for them again", "err", err, "after", backOff)
		deaf(ctx, backOff, notify)
	}
	return nil
}

// deaf waits, and notifies now and then: nothing is told meanwhile.
func deaf(ctx context.Context, wait time.Duration, notify func()) {
	end := time.After(wait)
	for again := time.Tick(longest); ; notify() {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-again:
		}
	}
}

// debounce calls wake when events have ceased for a moment, and now and then
// while they go on.
func debounce(ctx context.Context, events <-chan struct{}, wake func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		}
		latest := time.After(longest)
		for quiet := false; !quiet; {
			select {
			case <-ctx.Done():
				return
			case <-events:
			case <-time.After(settle):
				quiet = true
			case <-latest:
				quiet = true
			}
		}
		wake()
	}
}

// subscription is one socket's share of the kernel's events.
type subscription struct {
	family   int
	groups   []uint32
	concerns func(netlink.Message) bool
}

var subscriptions = []subscription{
	{unix.NETLINK_ROUTE, []uint32{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
		unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF}, concernsRoute},
	{unix.NETLINK_NETFILTER, []uint32{unix.NFNLGRP_NFTABLES}, concernsFilter},
}

// listen opens the sockets on the calling thread, so in its namespace, and
// notifies until one of them fails.
func (h *Host) listen(ctx context.Context, notify func()) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, len(subscriptions))
	var missing error
	var retry <-chan time.Time
	for _, s := range subscriptions {
		c, err := s.open()
		if s.family == unix.NETLINK_NETFILTER && noNftables(err) {
			missing, retry = err, time.After(time.Minute)
			continue
		}
		if err != nil {
			return err
		}
		defer c.Close()
		wg.Go(func() { failed <- h.receive(s, c, notify) })
	}
	notify() // what happened before is not told
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	case <-retry: // perhaps the module is there by now
		return missing
	}
}

func (s subscription) open() (*netlink.Conn, error) {
	c, err := netlink.Dial(s.family, nil)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	c.SetReadBuffer(1 << 20) // more is better, less will do
	for _, g := range s.groups {
		if err := c.JoinGroup(g); err != nil {
			return nil, errors.Join(fmt.Errorf("subscribe to the kernel's events: %w", err), c.Close())
		}
	}
	return c, nil
}

// receive reads until the socket is closed or fails. Where events came faster
// than we read them the kernel drops some and says so; the socket is as good as
// before, and waking makes up for what was lost.
func (h *Host) receive(s subscription, c *netlink.Conn, notify func()) error {
	for {
		messages, err := c.Receive()
		switch {
		case errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			notify()
			continue
		case err != nil:
			return fmt.Errorf("read the kernel's events: %w", err)
		}
		for _, m := range messages {
			h.note(s.family, m)
			if s.concerns(m) {
				notify()
			}
		}
	}
}

// concernsRoute passes over routes that are neither ours nor the default, and
// rules that are not ours: a router may have thousands that come and go.
func concernsRoute(m netlink.Message) bool {
	switch m.Header.Type {
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		const prefixBits, protocol = 1, 5 // their places in struct rtmsg
		return len(m.Data) > protocol && (m.Data[protocol] == Protocol || m.Data[prefixBits] == 0)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return ruleIn(m.Data) != ""
	}
	return true
}

// concernsFilter passes over the tables of others, and over the note that ends
// each transaction: what is in it is told besides.
func concernsFilter(m netlink.Message) bool {
	return uint16(m.Header.Type)&0xff != unix.NFT_MSG_NEWGEN && strings.HasPrefix(tableIn(m), tablePrefix)
}
