package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// plainLink moves packets one by one. Some kernels have corrupted or stalled
// traffic by segmentation offload on TUN links, and there must be a way round
// them that needs no new program.
type plainLink struct{ tun.Device }

// withoutOffload tells the kernel to hand us packets that fit the link with
// their checksums made. The header that TUN puts before each packet stays, as
// wireguard-go learns from it whether the link is up.
func withoutOffload(link tun.Device) (tun.Device, error) {
	raw, err := link.File().SyscallConn()
	if err != nil {
		return nil, err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0) }); err != nil {
		return nil, err
	}
	if set != nil {
		return nil, fmt.Errorf("switch off the offloads of the link: %w", set)
	}
	return plainLink{link}, nil
}

// Write gives the packets over one at a time, so that none are merged.
func (l plainLink) Write(bufs [][]byte, offset int) (n int, err error) {
	for i := range bufs {
		m, e := l.Device.Write(bufs[i:i+1], offset)
		n += m
		if e != nil {
			err = e
		}
	}
	return n, err
}

// withoutGRO switches off the merging of received datagrams on our UDP
// sockets. wireguard-go switches it on when it opens them and gives no access
// to them; a wrapper around its bind would cost it the notice of changed
// routes. So we look at our own descriptors. Sent datagrams need nothing: they
// are only merged when a read from the link brought several packets.
func withoutGRO() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && p == unix.IPPROTO_UDP {
			unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 0)
		}
	}
}
