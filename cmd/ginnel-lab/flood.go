package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// flood is somebody who adds routes and removes them again, as fast as the kernel
// takes them: each is an event for who listens.
type flood struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	err    error
	rounds atomic.Int64 // all added and removed again
}

// floodTable is nobody else's, floodLink a link of others with an address.
const floodTable, floodLink = 997, "br-other"

// startFlood begins with count routes below 198.18.0.0/15 (RFC 2544).
func startFlood(ctx context.Context, n *netns.Node, count int) (*flood, error) {
	ctx, f := context.WithCancel(ctx)
	out := &flood{stop: f}
	var fd, link int
	err := n.Do(func() (err error) {
		if fd, err = floodSocket(); err != nil {
			return err
		}
		l, err := netlink.LinkByName(floodLink)
		if err == nil {
			link = l.Attrs().Index
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("flooding %s: %w", n.Name, err)
	}
	add := routeMessages(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link, count)
	remove := routeMessages(unix.RTM_DELROUTE, 0, link, count)
	out.wg.Go(func() {
		defer unix.Close(fd)
		for ctx.Err() == nil && out.err == nil {
			out.err = errors.Join(sendAll(fd, add), sendAll(fd, remove))
			out.rounds.Add(1)
		}
	})
	return out, nil
}

// end stops it, after all routes were removed again.
func (f *flood) end() error {
	f.stop()
	f.wg.Wait()
	return f.err
}

// burst is how many bytes of messages the kernel is handed at once: about a
// thousand routes, that come and go within one call.
const burst = 64 << 10

func floodSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4*burst); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// routeMessages are requests that nobody answers unless they fail, in bursts.
func routeMessages(kind uint16, flags int, link, count int) (bursts [][]byte) {
	var now []byte
	for i := range count {
		m := nl.NewNetlinkRequest(int(kind), unix.NLM_F_REQUEST|flags)
		m.Flags = uint16(unix.NLM_F_REQUEST | flags)
		m.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Dst_len: 32, Table: unix.RT_TABLE_UNSPEC,
			Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK, Type: unix.RTN_UNICAST}})
		m.AddData(nl.NewRtAttr(unix.RTA_DST, net.IPv4(198, 18+byte(i>>16), byte(i>>8), byte(i)).To4()))
		m.AddData(nl.NewRtAttr(unix.RTA_TABLE, binary.NativeEndian.AppendUint32(nil, floodTable)))
		m.AddData(nl.NewRtAttr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(link))))
		if now = append(now, m.Serialize()...); len(now) > burst || i == count-1 {
			bursts, now = append(bursts, now), nil
		}
	}
	return bursts
}

// sendAll hands bursts to the kernel, which has done what they say when it
// returns. It answers what it refuses.
func sendAll(fd int, bursts [][]byte) error {
	answer := make([]byte, 4096)
	for _, b := range bursts {
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return fmt.Errorf("flooding: %w", err)
		}
		n, _, err := unix.Recvfrom(fd, answer, unix.MSG_DONTWAIT)
		if err == nil && n >= 20 {
			return fmt.Errorf("flooding: a route is refused: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(answer[16:]))))
		}
	}
	return nil
}

// eventsLost is how many messages the kernel could not put into the netlink
// sockets of a process, which it tells that as ENOBUFS.
func eventsLost(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", pid))
	if err != nil {
		return 0, err
	}
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return 0, err
	}
	own := map[string]bool{}
	for _, fd := range open {
		to, _ := os.Readlink(fd) // it may be closed by now
		own[to] = true
	}
	lost := 0
	for line := range strings.Lines(string(text)) {
		// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
		field := strings.Fields(line)
		if len(field) < 10 || !own["socket:["+field[9]+"]"] {
			continue
		}
		n, err := strconv.Atoi(field[8])
		if err != nil {
			return 0, fmt.Errorf("netlink sockets of process %d: %w", pid, err)
		}
		lost += n
	}
	return lost, nil
}
