// Package wireguard makes and configures WireGuard devices through wgctrl:
// in the kernel where the kernel has WireGuard, else in a data-plane process
// for each device. It writes the smallest change that does the job, so that a
// live session is never disturbed by a change that is not about it.
//
// Addresses, routes and the like are the business of tunnels/host; what should
// be there is that of tunnels.
//
// Requests go to the network namespace of the calling thread.
package wireguard

import (
	"regexp"
	"strings"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

// Backend is where a device's packets are handled.
type Backend string

const (
	Auto      Backend = ""          // the kernel if it can, else userspace
	Kernel    Backend = "kernel"    // the kernel's module
	Userspace Backend = "userspace" // wireguard-go in a process of its own
)

// runDir is where wg(8), wgctrl and wireguard-go have their sockets.
const runDir = "/var/run/wireguard"

// patience is how long a data plane may take to start, to end, or to answer. It
// is a variable for the tests.
var patience = 5 * time.Second

// Ours tells whether a link with this name is ours.
func Ours(link string) bool { return strings.HasPrefix(link, tunnels.DevicePrefix) }

// nameOfOurs is what a data plane accepts for a name.
var nameOfOurs = regexp.MustCompile(`^gn-[a-z0-9-]{1,12}$`)
