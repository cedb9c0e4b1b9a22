// Package host reads and writes what tunnels wants of a machine: links with
// their addresses, routes, policy rules, nftables tables and sysctls. What is
// ours is told by a tag, never by a list that could be lost: link names begin
// with gn-, routes and rules carry our protocol number, tables begin with
// ginnel_. Only the former values of sysctls, which cannot carry a tag, are
// remembered in a file.
//
// Each step may be applied twice. Nothing that is not ours is changed.
//
// Requests go to the network namespace of the thread that called New; methods
// are to be called from that namespace too.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// Protocol is the number that our routes and rules carry, as `ip route` and
// `ip rule` show it ("proto 103"). Numbers from 100 on are free for whoever
// takes one (linux/rtnetlink.h); the well-known daemons sit at 186 to 196 and
// below 20, and 99 is what people type in examples.
const Protocol = 103

// Options are what a Host is told.
type Options struct {
	Remember string             // file for the former values of sysctls; needed
	Uplinks  []string           // links that lead to the WAN; none: found by their routes
	Backend  wireguard.Backend  // zero: chosen by a probe when a device is made
	Launcher wireguard.Launcher // starts data planes; nil: there can be none
	Log      *slog.Logger       // nil: nothing is logged
}

// Host implements tunnels.Host on one network namespace.
type Host struct {
	*wireguard.Devices
	opts     Options
	log      *slog.Logger
	net      *netlink.Handle
	nft      *nftables.Conn
	settings *settings
	evidence evidence

	nftMu sync.Mutex // held while a transaction is put together

	beside     sync.Mutex  // held by Beside
	besideOpen atomic.Bool // its rule is there
}

var _ tunnels.Host = (*Host)(nil)

// New opens the calling thread's network namespace. It changes nothing.
func New(opts Options) (*Host, error) {
	if opts.Remember == "" {
		return nil, errors.New("no file is named to remember sysctls in")
	}
	log := opts.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Host{opts: opts, log: log}
	var err error
	if h.settings, err = loadSettings(opts.Remember); err != nil {
		return nil, err
	}
	if h.net, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if h.nft, err = nftables.New(); err != nil {
		h.net.Close()
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	h.Devices, err = wireguard.New(wireguard.Options{Backend: opts.Backend, Launcher: opts.Launcher, Log: log})
	if err != nil {
		h.net.Close()
		return nil, err
	}
	return h, nil
}

// Close lets go of the namespace and leaves everything in it as it is.
func (h *Host) Close() error {
	h.net.Close()
	return h.Devices.Close()
}

// Observe returns everything of ours that is there, also what a former process
// left.
func (h *Host) Observe(ctx context.Context) (tunnels.State, error) {
	s, err := h.observe(ctx)
	return s, permitted(err)
}

func (h *Host) observe(ctx context.Context) (s tunnels.State, err error) {
	if s.Devices, err = h.devices(ctx); err != nil {
		return s, err
	}
	if s.Routes, err = h.routes(); err != nil {
		return s, err
	}
	if s.Rules, err = h.rules(); err != nil {
		return s, err
	}
	if s.Filters, err = h.filters(); err != nil && !noNftables(err) {
		return s, err
	}
	h.tellFilters(s.Filters)
	s.Settings, err = h.settings.observe()
	return s, err
}

// Apply takes one step.
func (h *Host) Apply(ctx context.Context, step tunnels.Step) error {
	if err := complete(step); err != nil {
		return err
	}
	var err error
	switch step.Kind {
	case tunnels.DeviceKind:
		err = h.applyDevice(ctx, step)
	case tunnels.KeyKind:
		err = h.SetKey(ctx, step.Device.Name, step.Device.PrivateKey)
	case tunnels.PortKind:
		err = h.SetPort(ctx, step.Device.Name, step.Device.ListenPort)
	case tunnels.MTUKind:
		err = h.setMTU(step.Device.Name, step.Device.MTU)
	case tunnels.AddressKind:
		err = h.applyAddress(step)
	case tunnels.PeerKind:
		err = h.applyPeer(ctx, step)
	case tunnels.RouteKind:
		err = h.applyRoute(step)
	case tunnels.RuleKind:
		err = h.applyRule(step)
	case tunnels.FilterKind:
		err = h.applyFilter(step)
	case tunnels.SettingKind:
		err = h.applySetting(step)
	}
	return permitted(err)
}

// permitted gives the lack of a capability its name.
func permitted(err error) error {
	if errors.Is(err, unix.EPERM) && !errors.Is(err, wireguard.ErrNoCapability) {
		return fmt.Errorf("%w (%w)", wireguard.NoCapability(), err)
	}
	return err
}

// complete refuses a step that lacks its object.
func complete(s tunnels.Step) error {
	have := false
	switch s.Kind {
	case tunnels.DeviceKind, tunnels.KeyKind, tunnels.PortKind, tunnels.MTUKind:
		have = s.Device != nil
	case tunnels.AddressKind:
		have = s.Device != nil && s.Address != ""
	case tunnels.PeerKind:
		have = s.Device != nil && s.Peer != nil
	case tunnels.RouteKind:
		have = s.Route != nil
	case tunnels.RuleKind:
		have = s.Rule != nil
	case tunnels.FilterKind:
		have = s.Filter != nil
	case tunnels.SettingKind:
		have = s.Setting != nil
	default:
		return fmt.Errorf("there is no kind of step %q", string(s.Kind))
	}
	if !have {
		return fmt.Errorf("a step of kind %s came without its object", s.Kind)
	}
	if s.Op != tunnels.Add && s.Op != tunnels.Change && s.Op != tunnels.Remove {
		return fmt.Errorf("there is no step %q", string(s.Op))
	}
	return nil
}

// families are the IP versions that this kernel has; one may be started without
// IPv6.
func (h *Host) families() []int {
	if _, err := h.net.RuleList(netlink.FAMILY_V6); errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return []int{netlink.FAMILY_V4}
	}
	return []int{netlink.FAMILY_V4, netlink.FAMILY_V6}
}

// again asks for a list until it came whole: the kernel starts over when what
// it lists changes meanwhile.
func again[T any](list func() ([]T, error)) (all []T, err error) {
	for range 10 {
		all, err = list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return all, err
}
