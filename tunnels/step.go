package tunnels

// Op is what a Step does to its object.
type Op byte

const (
	Add    Op = '+'
	Change Op = '~'
	Remove Op = '-'
)

// Step is one write to the host. Exactly one of the object pointers that its
// Kind names is set; Device steps carry the device and, where the step is about
// one peer, the peer.
type Step struct {
	Network string // the network it belongs to; empty: something of ours that no network wants
	Op      Op
	Kind    Kind
	Text    string // as `ginnel plan` prints it, without op and kind
	Cuts    bool   // sessions or packets are lost by it

	Device  *Device
	Peer    *Peer // Kind is PeerKind: the whole wanted peer, or the one to remove
	Fields  PeerFields
	Route   *Route
	Rule    *Rule
	Filter  *Filter
	Setting *Setting
	Address string // Kind is AddressKind: the prefix

	// Before and After are writes that belong to this one, and are taken
	// with it: the routes of a peer that comes, changes or goes.
	Before, After []Step
}

// Kind is the kind of object that a Step writes.
type Kind string

const (
	DeviceKind  Kind = "device"  // Add: create with MTU, key and port, then set up; Change: set up; Remove
	KeyKind     Kind = "key"     // Change of a device's private key
	PortKind    Kind = "port"    // Change of a device's listen port; 0: another one
	MTUKind     Kind = "mtu"     //
	AddressKind Kind = "address" //
	PeerKind    Kind = "peer"    //
	RouteKind   Kind = "route"   //
	RuleKind    Kind = "rule"    //
	FilterKind  Kind = "filter"  //
	SettingKind Kind = "setting" // a sysctl
)

// PeerFields says which fields of a Change of a peer are written; the others
// are left as they are, so that a live session is never touched for nothing.
type PeerFields struct {
	Endpoint, Keepalive, Preshared bool
	AddIPs                         bool // Peer.AllowedIPs, then the missing ones only, are added
	ReplaceIPs                     bool // Peer.AllowedIPs replace the present ones
	Make                           bool // the peer may not be there yet: it has a new key
}
