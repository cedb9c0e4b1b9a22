package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Options say how devices are made.
type Options struct {
	Backend  Backend      // zero: chosen by a probe when a device is made
	Launcher Launcher     // starts data planes; nil: there can be none
	Log      *slog.Logger // nil: nothing is logged
}

// Devices are the WireGuard links of one network namespace whose names begin
// with gn-.
type Devices struct {
	opts  Options
	log   *slog.Logger
	links *netlink.Handle

	mu    sync.Mutex
	asked map[string]*question       // by device
	mute  map[string]bool            // devices that could not be read at the last look
	last  map[string]*wgtypes.Device // what data planes said last

	places map[place]seen // of peers
}

// New opens the calling thread's namespace.
func New(opts Options) (*Devices, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Devices{opts: opts, log: log, links: h, asked: map[string]*question{}, mute: map[string]bool{}, last: map[string]*wgtypes.Device{},
		places: map[place]seen{}}, nil
}

// Close lets go of the namespace. Devices live on.
func (d *Devices) Close() error {
	d.links.Close()
	return nil
}

// Backend says which back end a new device would have.
func (d *Devices) Backend() (Backend, error) {
	s, err := probe(d.links)
	if err != nil {
		return "", err
	}
	return s.Choose(d.opts.Backend)
}

// Create makes a device that is not there, down and without a key. One that is
// there already is adopted as it is, with its sessions, whichever back end it
// has; the caller knows by Foreign that it may be.
func (d *Devices) Create(ctx context.Context, name string) error {
	if !nameOfOurs.MatchString(name) {
		return fmt.Errorf("refused the device name %q: it must be gn- and 1 to 12 of a-z, 0-9, -", name)
	}
	if err := d.NameBack(name); err != nil {
		return err
	}
	there, err := d.adopt(ctx, name)
	if err == nil && !there {
		err = d.create(ctx, name)
	}
	if err != nil {
		return err
	}
	return d.tag(name)
}

func (d *Devices) create(ctx context.Context, name string) error {
	backend, err := d.Backend()
	if err != nil {
		return err
	}
	if backend == Kernel {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		err := d.links.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("create %s in the kernel: %w", name, err)
		}
		return nil
	}
	return d.launch(ctx, name)
}

// adopt tells whether the device is there and alive. A link that its data
// plane has just left vanishes within moments; we wait for that.
func (d *Devices) adopt(ctx context.Context, name string) (there bool, err error) {
	err = waitFor(ctx, patience, func() (bool, error) {
		link, err := d.links.LinkByName(name)
		if isNoLink(err) {
			there = false
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for %s: %w", name, err)
		}
		switch backendOf(link) {
		case Kernel:
			there = true
		case Userspace:
			state, err := lookAt(name)
			if err != nil {
				return false, err
			}
			there = state == aliveSocket
		default:
			return false, foreign(name, link.Type())
		}
		return there, nil
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = foreign(name, "tun, and no data plane answers for it")
	}
	return there, err
}

func foreign(name, kind string) error {
	return hinted("ip link del "+name+", if nothing needs it", "%s (%s): %w", name, kind, ErrForeign)
}

// Taken is ErrForeign of what Foreign found, with what to do about it.
func Taken(name, what string) error { return foreign(name, what) }

// launch starts a data plane, and clears the way for it first.
func (d *Devices) launch(ctx context.Context, name string) error {
	if d.opts.Launcher == nil {
		return hinted("install ginnel-dataplane", "no way to start a data plane for %s is set up", name)
	}
	if _, err := d.sweep(ctx, name); err != nil {
		return fmt.Errorf("clear the way for a data plane for %s: %w", name, err)
	}
	if err := d.opts.Launcher.Launch(ctx, name); err != nil {
		return err
	}
	if p, ok := Running(name); ok {
		d.log.Info("started a data plane", "device", name, "pid", p.PID, "version", p.Version)
	}
	return nil
}

// Delete removes a device with its sessions; its data plane ends by that, and
// is waited for, and killed if it does not. A device that is not there is fine.
func (d *Devices) Delete(ctx context.Context, name string) error {
	if !Ours(name) {
		return fmt.Errorf("refused to delete %s: it is not ours", name)
	}
	d.mu.Lock()
	delete(d.last, name)
	d.mu.Unlock()
	former, known := Running(name)
	link, err := d.find(name)
	if err == nil && d.deviceOf(link) != name {
		return foreign(name, link.Type())
	}
	if err == nil {
		err = d.links.LinkDel(link)
	}
	if err != nil && !isNoLink(err) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	ended := func() (bool, error) {
		latter, again := Running(name) // somebody may have made it anew already
		return known && again && latter != former || !held(name), nil
	}
	if err := waitFor(ctx, patience, ended); err != nil {
		if err := kill(name); err != nil {
			return err
		}
		d.log.Warn("killed a data plane that did not end with its link", "device", name)
		if err := waitFor(ctx, patience, ended); err != nil {
			return silent(name)
		}
	}
	_, err = d.sweep(ctx, name)
	return err
}

// backendOf tells by its kind what handles a link's packets; empty: it is no
// WireGuard of ours.
func backendOf(link netlink.Link) Backend {
	switch link.Type() {
	case "wireguard":
		return Kernel
	case "tun", "tuntap":
		return Userspace
	}
	return ""
}

func isNoLink(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok
}
