package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
)

type options struct {
	mtu    int   // bytes
	plain  bool  // no offloads
	memory int64 // bytes; 0: we choose
	limit  *limiter
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
	if opts.plain {
		plain, err := withoutOffload(link)
		if err != nil {
			link.Close()
			l.release()
			return nil, err
		}
		link = plain
	}
	p := &plane{name: name, lock: l, opts: opts}
	p.dev = device.NewDevice(link, conn.NewDefaultBind(), &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   log.Printf,
	})
	if p.uapi, err = listen(name); err == nil && opts.plain {
		// wireguard-go opens its sockets in its own time; then they are open.
		err = p.dev.Up()
		withoutGRO()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// run serves the socket until the link is gone, or ctx ends, and says which.
func (p *plane) run(ctx context.Context) (why error) {
	defer p.close()
	lost := p.serve()
	idle := newTrimmer(func() int64 { return carried(p.dev.IpcGet) })
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
		case <-p.opts.limit.tick:
			p.opts.limit.squeeze()
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

// listen makes the socket. wg(8) removes a socket that refuses it, and a new one
// does so for a moment, between its making and the first listening.
func listen(name string) (l net.Listener, err error) {
	for range 10 {
		if l, err = listenOnce(name); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return l, err
}

func listenOnce(name string) (net.Listener, error) {
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
