package main

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv6"
)

// advertise says once a second on a link that here is a router, for half an hour,
// and that addresses may be made from the prefix, a /64 (RFC 4861, section 4.2 and
// 4.6.2).
func advertise(link, prefix string) error {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	p, err := netip.ParseAddr(prefix)
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	six := ipv6.NewPacketConn(conn)
	if err := six.SetMulticastInterface(ifi); err != nil {
		return err
	}
	if err := six.SetMulticastHopLimit(255); err != nil {
		return err
	}
	message := []byte{134, 0, 0, 0, 64, 0, 1800 >> 8, 1800 & 0xff, 0, 0, 0, 0, 0, 0, 0, 0} // the kernel fills the checksum in
	message = append(message, 3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0)        // valid for 3600 s, preferred for 1800 s
	message = append(message, p.AsSlice()...)
	for ; ; time.Sleep(time.Second) {
		if _, err := six.WriteTo(message, nil, &net.IPAddr{IP: net.IPv6linklocalallnodes, Zone: link}); err != nil {
			return fmt.Errorf("advertise on %s: %w", link, err)
		}
	}
}
