package host

import (
	"context"
	"fmt"
	"slices"

	raw "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
)

// atOnce is how many routes one message to the kernel makes. Should all of them
// be refused, the answers still fit into a socket's buffer.
const atOnce = 128

// AddRoutes implements tunnels.Crowded. A route that is there already is an error,
// also where it is ours. The library that makes single ones cannot send several.
func (h *Host) AddRoutes(ctx context.Context, routes []tunnels.Route) error {
	c, err := raw.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer c.Close()
	links := map[string]int{}
	for part := range slices.Chunk(routes, atOnce) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var all []raw.Message
		for i := range part {
			data, err := h.newRoute(&part[i], links)
			if err != nil {
				return err
			}
			all = append(all, raw.Message{Data: data,
				Header: raw.Header{Type: unix.RTM_NEWROUTE, Flags: raw.Request | raw.Create | raw.Excl}})
		}
		if err := execute(c, all); err != nil {
			return fmt.Errorf("add %d routes: %w", len(part), err)
		}
	}
	return nil
}

// execute sends messages together. The kernel takes them in order, and answers
// those that it refuses; the last one it answers in any case.
func execute(c *raw.Conn, all []raw.Message) error {
	all[len(all)-1].Header.Flags |= raw.Acknowledge
	sent, err := c.SendMessages(all)
	if err != nil {
		return err
	}
	for {
		answers, err := c.Receive()
		if err != nil {
			return err
		}
		for _, a := range answers {
			if a.Header.Sequence == sent[len(sent)-1].Header.Sequence {
				return nil
			}
		}
	}
}

// newRoute is r as route tells it to the kernel: a struct rtmsg and attributes.
// links are those that were looked up.
func (h *Host) newRoute(r *tunnels.Route, links map[string]int) ([]byte, error) {
	to := r.Prefix.Masked()
	header := make([]byte, unix.SizeofRtMsg)
	header[0], header[1], header[5] = unix.AF_INET6, byte(to.Bits()), Protocol // rtm_family, rtm_dst_len, rtm_protocol
	if to.Addr().Is4() {
		header[0] = unix.AF_INET
	}
	e := raw.NewAttributeEncoder()
	e.Bytes(unix.RTA_DST, to.Addr().AsSlice())
	e.Uint32(unix.RTA_TABLE, uint32(r.Table))
	e.Uint32(unix.RTA_PRIORITY, uint32(r.Metric))
	if r.Source.IsValid() {
		e.Bytes(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	if r.Unreachable {
		header[7] = unix.RTN_UNREACHABLE // rtm_type
	} else {
		index, ok := links[r.Device]
		if !ok {
			link, err := h.net.LinkByName(r.Device)
			if err != nil {
				return nil, err
			}
			index = link.Attrs().Index
			links[r.Device] = index
		}
		header[7] = unix.RTN_UNICAST
		if to.Addr().Is4() {
			header[6] = unix.RT_SCOPE_LINK // rtm_scope
		}
		e.Uint32(unix.RTA_OIF, uint32(index))
	}
	attributes, err := e.Encode()
	return append(header, attributes...), err
}
