package tunnels

import "context"

// Host reads and writes the objects of one machine (or one network namespace).
// tunnels/host and tunnels/wireguard together are the real one.
type Host interface {
	// Facts tells what Want needs besides the Spec.
	Facts(ctx context.Context, spec Spec) (Facts, error)
	// Observe returns everything that carries our tags, whoever's Spec it
	// came from, and nothing else.
	Observe(ctx context.Context) (State, error)
	// Apply takes one step, without its Before and After. It succeeds when
	// the object is already as the step wants it. It is called for several
	// networks at once.
	Apply(ctx context.Context, step Step) error
}

// Crowded is a Host that adds many peers to a device, or many routes, at less than
// what each of them costs. After an error some of them may be there.
type Crowded interface {
	// AddPeers does what Steps that add these peers do.
	AddPeers(ctx context.Context, device string, peers []Peer) error
	// AddRoutes does what Steps that add these routes do, where none of them
	// is there yet.
	AddRoutes(ctx context.Context, routes []Route) error
}

// Detective is a Host that can guess who else changes its objects.
type Detective interface {
	// Culprit names the program that most likely undid what s put there,
	// in words: "NetworkManager", "ip (pid 312), started by fight.sh".
	// Empty: there is nobody to name.
	Culprit(s Step) string
}

// Taken is something that the Spec needs and that somebody else has on this
// host: its config must be refused before a write.
type Taken struct {
	Network string
	Kind    TakenKind
	Device  string // of TakenDevice and TakenPort: which of the network's
	By      string // the host's object, in words: "link gn-kestrel-nc5e is a bridge"
	Hint    string // what to do about it
}

// TakenKind is what is taken.
type TakenKind string

const (
	TakenDevice   TakenKind = "device"      // a link of that name is not ours
	TakenTable    TakenKind = "table"       // the routing table has routes of somebody else
	TakenPriority TakenKind = "priority"    // a rule of somebody else stands among ours
	TakenPort     TakenKind = "listen_port" // the UDP port is bound by somebody else
)
