package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// load is traffic through a tunnel that is to notice nothing: a ping and one TCP
// connection, from the LAN.
type load struct {
	stop       context.CancelFunc
	wg         sync.WaitGroup
	perr, terr error

	ping    county.Pinged
	bytes   int           // that TCP took
	stalled time.Duration // the longest that it took none
	again   uint32        // segments that it sent again
}

// startLoad begins. What is at the target must take what is sent to port 443.
func startLoad(ctx context.Context, from *netns.Node, target netip.Addr) (*load, error) {
	conn, err := from.Dial(ctx, "tcp4", netip.AddrPortFrom(target, 443).String())
	if err != nil {
		return nil, fmt.Errorf("connecting %s to %s: %w", from.Name, target, err)
	}
	ctx, stop := context.WithCancel(ctx)
	l := &load{stop: stop}
	l.wg.Go(func() { l.ping, l.perr = county.Ping(ctx, from, target, patient(5*time.Millisecond), 0) })
	l.wg.Go(func() { l.terr = l.write(ctx, conn.(*net.TCPConn)) })
	return l, nil
}

// end stops it and waits.
func (l *load) end() error {
	l.stop()
	l.wg.Wait()
	return errors.Join(l.perr, l.terr)
}

// write sends about a megabyte a second until ctx ends.
func (l *load) write(ctx context.Context, conn *net.TCPConn) error {
	defer conn.Close()
	if err := conn.SetWriteBuffer(64 << 10); err != nil { // so that a stall is seen at once
		return err
	}
	some := make([]byte, 10<<10)
	for ctx.Err() == nil {
		began := time.Now()
		n, err := conn.Write(some)
		if err != nil {
			return fmt.Errorf("the connection through the other tunnel: %w", err)
		}
		l.bytes += n
		l.stalled = max(l.stalled, time.Since(began))
		sleep(ctx, patient(10*time.Millisecond))
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var info *unix.TCPInfo
	var ierr error
	err = raw.Control(func(fd uintptr) { info, ierr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err := errors.Join(err, ierr); err != nil {
		return fmt.Errorf("asking TCP how it went: %w", err)
	}
	l.again = info.Total_retrans
	return nil
}

// unharmed makes the rows about a load that has ended.
func (s *stage) unharmed(l *load, where string) {
	s.zero("lost in "+where+" meanwhile", l.ping.Lost(), "packets",
		fmt.Sprintf("%s sent%s; TCP took %.1f MB, waited %d ms at most and sent %d segments again",
			thousands(l.ping.Sent), overrun(l.ping), float64(l.bytes)/1e6, l.stalled.Milliseconds(), l.again))
}
