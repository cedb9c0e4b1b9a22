package wan

import (
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Port reads and writes whole Ethernet frames.
type Port interface {
	io.ReadWriteCloser
}

// longest is room for any frame of a link with an MTU of 1500.
const longest = 2048

// inFlight bounds the frames on their way in one direction. At 1500 bytes and
// a delay of 100 ms it is 480 Mbit/s.
const inFlight = 4096

// Direction says which way a frame goes.
type Direction bool

const (
	Out Direction = true  // leaves the place
	In  Direction = false // reaches it
)

// Frame is a frame seen at the place's end of the link.
type Frame struct {
	At        time.Time
	Direction Direction
	Bytes     []byte // not to be kept or changed
}

// Count is what became of the frames of one direction.
type Count struct {
	Passed, Lost uint64
}

// Link is the line between a place and its provider.
type Link struct {
	Name string

	near, far Port
	line      atomic.Pointer[Line]
	out, in   counter
	sleep     func(time.Duration)
	wg        sync.WaitGroup

	mu       sync.Mutex // guards watchers for writing
	watchers atomic.Pointer[[]*watcher]
}

type counter struct{ passed, lost atomic.Uint64 }

type watcher struct{ see func(Frame) }

// Join makes a link of two ports and starts to carry frames. Close ends it and
// closes the ports.
func Join(name string, near, far Port) *Link {
	return join(name, near, far, sleepExactly)
}

func join(name string, near, far Port, sleep func(time.Duration)) *Link {
	l := &Link{Name: name, near: near, far: far, sleep: sleep}
	l.line.Store(&Line{})
	l.watchers.Store(new([]*watcher))
	l.carry(near, far, Out, &l.out)
	l.carry(far, near, In, &l.in)
	return l
}

// Set changes what the line does, for frames that enter from now on; a cut
// takes those on their way too.
func (l *Link) Set(line Line) { l.line.Store(&line) }

// Line is what the line does now.
func (l *Link) Line() Line { return *l.line.Load() }

// Count tells what became of the frames of one direction so far.
func (l *Link) Count(d Direction) Count {
	c := &l.in
	if d == Out {
		c = &l.out
	}
	return Count{Passed: c.passed.Load(), Lost: c.lost.Load()}
}

// Watch calls see for every frame at the place's end until stop is called,
// from two goroutines. Frames that the place sends are seen before the line
// can lose them; frames to it after.
func (l *Link) Watch(see func(Frame)) (stop func()) {
	w := &watcher{see: see}
	l.change(func(ws []*watcher) []*watcher { return append(ws, w) })
	return func() {
		l.change(func(ws []*watcher) []*watcher {
			return slices.DeleteFunc(ws, func(x *watcher) bool { return x == w })
		})
	}
}

func (l *Link) change(f func([]*watcher) []*watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers.Store(new(f(slices.Clone(*l.watchers.Load()))))
}

// Close closes the ports and waits until the link carries nothing more.
func (l *Link) Close() {
	_ = l.near.Close()
	_ = l.far.Close()
	l.wg.Wait()
}

type onTheWay struct {
	due   time.Time
	bytes []byte
}

// carry takes frames from one port to the other until the first one closes.
func (l *Link) carry(from, to Port, d Direction, c *counter) {
	queue := make(chan onTheWay, inFlight)
	l.wg.Go(func() {
		defer close(queue)
		l.take(from, d, c, queue)
	})
	l.wg.Go(func() {
		for f := range queue {
			l.sleep(time.Until(f.due))
			l.deliver(f.bytes, to, d, c)
		}
	})
}

// take reads frames, decides their fate and queues those that will arrive.
func (l *Link) take(from Port, d Direction, c *counter, queue chan<- onTheWay) {
	shape := shaper{random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}
	for {
		buf := make([]byte, longest)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if d == Out {
			l.show(Frame{At: now, Direction: d, Bytes: buf[:n]})
		}
		f := shape.decide(l.Line(), now, n)
		if f.lost {
			c.lost.Add(1)
			continue
		}
		select {
		case queue <- onTheWay{due: f.due, bytes: buf[:n]}:
		default:
			c.lost.Add(1)
		}
	}
}

func (l *Link) deliver(bytes []byte, to Port, d Direction, c *counter) {
	if l.Line().Cut {
		c.lost.Add(1)
		return
	}
	if _, err := to.Write(bytes); err != nil {
		c.lost.Add(1) // the link at that end is down or gone
		return
	}
	c.passed.Add(1)
	if d == In {
		l.show(Frame{At: time.Now(), Direction: d, Bytes: bytes})
	}
}

func (l *Link) show(f Frame) {
	for _, w := range *l.watchers.Load() {
		w.see(f)
	}
}

// sleepExactly sleeps on the thread: the runtime's own timers are up to a
// millisecond late when nothing else happens, which would be most of an RTT.
func sleepExactly(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // woken early by a signal: a little early is no harm
}
