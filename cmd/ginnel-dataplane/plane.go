package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
)

type options struct {
	mtu   int  // bytes
	plain bool // no offloads
}

// plane is one running device.
type plane struct {
	name string
	lock *lock
	dev  *device.Device
	uapi net.Listener
	opts options
}

// start makes the link and its socket. When it returns without error the
// device can be configured; the link is still down.
func start(name string, opts options) (*plane, error) {
	l, err := acquire(name)
	if err != nil {
		return nil, err
	}
	link, err := tun.CreateTUN(name, opts.mtu)
	if err != nil {
		l.release()
		return nil, fmt.Errorf("create the link %s: %w", name, err)
	}
	p := &plane{name: name, lock: l, opts: opts}
	watched := watch(link)
	if opts.plain {
		if watched.Device, err = withoutOffload(link); err != nil {
			link.Close()
			l.release()
			return nil, err
		}
	}
	p.dev = device.NewDevice(watched, conn.NewDefaultBind(), &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   log.Printf,
	})
	watched.onUp(p.keepUp)
	if p.uapi, err = listen(name); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// run serves the socket until the link is gone, or ctx ends, and says which.
func (p *plane) run(ctx context.Context) (why error) {
	defer p.close()
	lost := p.serve()
	idle := newTrimmer()
	defer idle.stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.dev.Wait():
			return errors.New("the link is gone")
		case <-lost:
			if err := p.relisten(); err != nil {
				return err
			}
			lost = p.serve()
		case <-idle.tick:
			idle.trim()
		}
	}
}

// serve answers on the socket until it is closed or somebody removes it.
func (p *plane) serve() (lost <-chan struct{}) {
	done := make(chan struct{})
	uapi := p.uapi
	go func() {
		defer close(done)
		for {
			c, err := uapi.Accept()
			if err != nil {
				return
			}
			go func() {
				p.dev.IpcHandle(c)
				if p.opts.plain {
					withoutGRO()
				}
			}()
		}
	}()
	return done
}

// relisten puts the socket back after somebody removed it: the sessions of the
// device are worth more than the file. A link that lost its name to somebody
// else's rename cannot be served under it, though.
func (p *plane) relisten() error {
	p.uapi.Close()
	if _, err := net.InterfaceByName(p.name); err != nil {
		return errors.New("socket and link are both gone")
	}
	uapi, err := listen(p.name)
	if err != nil {
		return err
	}
	p.uapi = uapi
	log.Print("put the socket back")
	return nil
}

func listen(name string) (net.Listener, error) {
	f, err := ipc.UAPIOpen(name) // removes a socket that nobody answers on
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socketPath(name), err)
	}
	defer f.Close()
	l, err := ipc.UAPIListen(name, f)
	if err != nil {
		os.Remove(socketPath(name))
		return nil, fmt.Errorf("listen on %s: %w", socketPath(name), err)
	}
	return l, nil
}

// close ends the device and leaves no file behind: a dead device must never
// look alive.
func (p *plane) close() {
	if p.uapi != nil {
		p.uapi.Close()
		os.Remove(socketPath(p.name))
	}
	p.dev.Close()
	p.lock.release()
}

// keepUp brings the device up after its link. wireguard-go tries once; when
// the port is taken at that moment it would stay down for good without a word
// to anyone.
func (p *plane) keepUp(link *watchedLink) {
	for link.isUp() {
		if err := p.dev.Up(); err == nil {
			if p.opts.plain {
				withoutGRO()
			}
			return
		}
		select {
		case <-p.dev.Wait():
			return
		case <-time.After(2 * time.Second):
		}
	}
}

// watchedLink passes on the events of a link and calls tell when it came up.
type watchedLink struct {
	tun.Device
	out chan tun.Event

	mu   sync.Mutex // guards what follows
	up   bool
	tell func(*watchedLink)
}

func watch(link tun.Device) *watchedLink {
	w := &watchedLink{Device: link, out: make(chan tun.Event, 5)}
	go func() {
		defer close(w.out)
		for e := range link.Events() {
			w.out <- e
			w.note(e)
		}
	}()
	return w
}

func (w *watchedLink) Events() <-chan tun.Event { return w.out }

// onUp calls tell, on a goroutine of its own, whenever the link has come up.
func (w *watchedLink) onUp(tell func(*watchedLink)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = tell
	if w.up {
		go tell(w)
	}
}

func (w *watchedLink) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

func (w *watchedLink) note(e tun.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.up
	switch {
	case e&tun.EventUp != 0:
		w.up = true
	case e&tun.EventDown != 0:
		w.up = false
	}
	if w.up && !was && w.tell != nil {
		go w.tell(w)
	}
}
