package echo

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parking is where the engine's goroutine waits: until a time, for its sockets,
// or for a kick. The sockets are in an epoll set of our own, which Go's poller
// watches: one that has told of something is silent until it is armed again, so
// nothing wakes a processor while packets gather.
type parking struct {
	err    error    // why there is no set
	set    *os.File // nil: there is none
	raw    syscall.RawConn
	armed  map[int32]bool // by socket
	last   time.Time      // of the last pass; of the engine's mutex, like the rest
	wakeAt time.Time      // zero: not set since that
	gone   chan struct{}  // closed with it
}

func newParking() *parking {
	p := &parking{armed: map[int32]bool{}, gone: make(chan struct{})}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		p.err = fmt.Errorf("watching sockets: %w", err)
		return p
	}
	unix.SetNonblock(fd, true) // os.NewFile then lets Go's poller have it
	p.set = os.NewFile(uintptr(fd), "echo")
	p.raw, p.err = p.set.SyscallConn()
	return p
}

func (p *parking) close() {
	p.set.Close()
	close(p.gone)
}

// watch adds a socket, which is not armed.
func (p *parking) watch(fd int) error {
	if p.err != nil {
		return p.err
	}
	p.armed[int32(fd)] = false
	return unix.EpollCtl(int(p.set.Fd()), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: int32(fd)})
}

// forget is called when a socket is closed, which takes it out of the set.
func (p *parking) forget(fd int) { delete(p.armed, int32(fd)) }

// passed begins a pass.
func (p *parking) passed() { p.last, p.wakeAt = time.Now(), time.Time{} }

// kick ends a wait a tick after the last pass, or at once where that is longer
// ago.
func (p *parking) kick() { p.until(p.last.Add(tick)) }

// until ends a wait at a time, or a tick after the last pass, unless it ends
// earlier.
func (p *parking) until(at time.Time) {
	if soonest := p.last.Add(tick); at.Before(soonest) {
		at = soonest
	}
	if p.set != nil && (p.wakeAt.IsZero() || at.Before(p.wakeAt)) {
		p.wakeAt = at
		p.set.SetReadDeadline(at)
	}
}

// wait returns at the time that was set, or when a socket has something. What
// may gather is waited for until a tick after the last pass; busy says that
// there will be something, so that arming is spared.
func (p *parking) wait(last time.Time, gather, busy bool) {
	if p.err != nil {
		time.Sleep(tick)
		return
	}
	if gather && busy {
		time.Sleep(time.Until(last.Add(tick)))
	}
	p.arm()
	came := false
	p.raw.Read(func(fd uintptr) bool {
		came = p.take(int(fd))
		return came
	})
	if came && gather {
		time.Sleep(time.Until(last.Add(tick)))
	}
}

// arm lets all sockets tell once.
func (p *parking) arm() {
	for fd, armed := range p.armed {
		if !armed {
			p.armed[fd] = true
			unix.EpollCtl(int(p.set.Fd()), unix.EPOLL_CTL_MOD, int(fd),
				&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: fd})
		}
	}
}

// take says whether a socket has told of something.
func (p *parking) take(set int) bool {
	var events [8]unix.EpollEvent
	n, err := unix.EpollWait(set, events[:], 0)
	if err != nil {
		return false
	}
	for _, e := range events[:n] {
		p.armed[e.Fd] = false
	}
	return n > 0
}
