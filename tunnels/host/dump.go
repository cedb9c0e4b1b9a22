package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"

	raw "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dump asks for the routes of one family, each a struct rtmsg and its attributes. A
// router may have very many: the kernel leaves out those of other makers and other
// tables (0: it tells of all). A table that is not there has none.
func dump(family int, maker byte, table uint32) ([]raw.Message, error) {
	c, err := raw.Dial(unix.NETLINK_ROUTE, &raw.Config{Strict: true})
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer c.Close()
	ask := make([]byte, unix.SizeofRtMsg)
	ask[0], ask[5] = byte(family), maker // rtm_family, rtm_protocol
	if table != 0 {
		ask = binary.NativeEndian.AppendUint16(ask, 8)
		ask = binary.NativeEndian.AppendUint16(ask, unix.RTA_TABLE)
		ask = binary.NativeEndian.AppendUint32(ask, table)
	}
	list, err := c.Execute(raw.Message{Data: ask,
		Header: raw.Header{Type: unix.RTM_GETROUTE, Flags: raw.Request | raw.Dump}})
	if table != 0 && errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(m raw.Message) bool { return m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 }) {
		return nil, netlink.ErrDumpInterrupted
	}
	return slices.DeleteFunc(list, func(m raw.Message) bool {
		return len(m.Data) < unix.SizeofRtMsg || m.Data[0] != byte(family)
	}), nil
}

// dumpRoutes reads the routes of a dump whose header is wanted.
func dumpRoutes(family int, maker byte, table uint32, wanted func(rtmsg []byte) bool) ([]netlink.Route, error) {
	list, err := dump(family, maker, table)
	if err != nil {
		return nil, err
	}
	var found []netlink.Route
	for _, m := range list {
		if wanted(m.Data) {
			found = append(found, routeFrom(m.Data))
		}
	}
	return found, nil
}

// routeFrom reads what we look at of a route.
func routeFrom(data []byte) netlink.Route {
	r := netlink.Route{Table: int(data[4]), Protocol: netlink.RouteProtocol(data[5]), Type: int(data[7])}
	decode(data, unix.SizeofRtMsg, func(ad *raw.AttributeDecoder) {
		switch ad.Type() {
		case unix.RTA_TABLE:
			r.Table = int(ad.Uint32())
		case unix.RTA_DST:
			to := net.IP(ad.Bytes())
			r.Dst = &net.IPNet{IP: to, Mask: net.CIDRMask(int(data[1]), 8*len(to))}
		case unix.RTA_OIF:
			r.LinkIndex = int(ad.Uint32())
		case unix.RTA_PRIORITY:
			r.Priority = int(ad.Uint32())
		case unix.RTA_PREFSRC:
			r.Src = ad.Bytes()
		case unix.RTA_GATEWAY:
			r.Gw = ad.Bytes()
		case unix.RTA_MULTIPATH:
			r.MultiPath = hopsFrom(ad.Bytes())
		}
	})
	return r
}

// hopsFrom reads the ways of a route with several: each hop is a struct
// rtnexthop, whose length covers its attributes.
func hopsFrom(data []byte) (hops []*netlink.NexthopInfo) {
	for len(data) >= unix.SizeofRtNexthop {
		length := int(binary.NativeEndian.Uint16(data))
		if length < unix.SizeofRtNexthop {
			break
		}
		hop := &netlink.NexthopInfo{LinkIndex: int(int32(binary.NativeEndian.Uint32(data[4:])))}
		decode(data[:min(length, len(data))], unix.SizeofRtNexthop, func(ad *raw.AttributeDecoder) {
			if ad.Type() == unix.RTA_GATEWAY {
				hop.Gw = ad.Bytes()
			}
		})
		hops = append(hops, hop)
		data = data[min((length+3)&^3, len(data)):]
	}
	return hops
}

// isDefault is true of a default route that goes somewhere, by its header.
func isDefault(rtmsg []byte) bool {
	return rtmsg[1] == 0 && rtmsg[4] == unix.RT_TABLE_MAIN && rtmsg[7] == unix.RTN_UNICAST
}

func every([]byte) bool { return true }
