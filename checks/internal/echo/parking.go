package echo

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// parking is where the engine's goroutine waits: until a time, for its sockets,
// or for a kick. The sockets are in an epoll set of our own, which Go's poller
// watches: one that has told of something is silent until it is armed again, so
// nothing wakes a processor while packets gather.
type parking struct {
	err   error    // why there is no set
	set   *os.File // nil: there is none
	raw   syscall.RawConn
	armed map[int32]bool // by socket
	gone  chan struct{}  // closed with it

	mu     sync.Mutex
	last   time.Time // of the last pass; written by the engine's goroutine
	wakeAt time.Time // zero: not set since that
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
func (p *parking) passed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.wakeAt = time.Now(), time.Time{}
}

// kick ends a wait for what is new, if the last pass was about a tick ago, else
// then: who starts many trains starts them by the tick too.
func (p *parking) kick() {
	p.mu.Lock()
	last := p.last
	p.mu.Unlock()
	p.until(last.Add(tick - early))
}

// until ends a wait at a time, unless it ends earlier.
func (p *parking) until(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set != nil && (p.wakeAt.IsZero() || at.Before(p.wakeAt)) {
		p.wakeAt = at
		p.set.SetReadDeadline(at)
	}
}

// gathering is how long answers wait that the kernel has timed: until the next
// checks begin, which is five ticks later where many do so each second. One pass
// then reads the answers and sends what is new, where it took two, and to wake up
// is most of what a pass costs.
const gathering = 5*tick + early

// wait returns at the time that was set, or when a socket has something. What
// may gather is waited for so long; busy says that there will be something, so
// that arming is spared, and that somebody will probably kick. Where nothing is
// open no socket is waited for: what comes all the same is read some time.
func (p *parking) wait(gather, busy, open bool) {
	if p.err != nil {
		time.Sleep(tick)
		return
	}
	if !open {
		p.rest(p.last.Add(linger))
		return
	}
	if gather && busy {
		p.rest(p.last.Add(gathering))
		return
	}
	p.arm()
	came := false
	p.raw.Read(func(fd uintptr) bool {
		came = p.take(int(fd))
		return came
	})
	if came && gather {
		p.rest(p.last.Add(tick))
	}
}

// rest waits until a time, or the one that was set, whatever the sockets have.
func (p *parking) rest(end time.Time) {
	p.until(end)
	p.raw.Read(func(uintptr) bool { return false })
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
