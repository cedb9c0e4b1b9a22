package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

// The keys that each table may have.
var (
	rootKeys    = []string{"gateway", "generation", "network", "check"}
	networkKeys = []string{"name", "role", "address", "lan", "ingress", "listen_port", "mtu",
		"table", "priority", "device", "may_cover", "hub", "site", "allow"}
	hubKeys   = []string{"name", "public_key", "endpoints", "allowed_ips", "preshared_key_file", "persistent_keepalive", "device"}
	siteKeys  = []string{"name", "public_key", "allowed_ips", "preshared_key_file", "persistent_keepalive"}
	allowKeys = []string{"from", "to", "ports"}
)

// Bounds of what a file may say.
const (
	nameMax         = 32 // characters of a name
	deviceMax       = 15 // bytes of a link's name
	mtuMin, mtuMax  = 1280, 9000
	tableMax        = math.MaxUint32
	priorityMax     = 32765 - tunnels.PrioritySpan // all of a network's rules stand before the main table's
	hubPort         = 51820
	keepaliveMax    = 65535 * time.Second
	DefaultMTU      = 1420             // bytes
	siteKeepalive   = 25 * time.Second // a site is behind a NAT or a firewall more often than not
	reservedTableLo = 253              // default, main and local
	reservedTableHi = 255
)

// Load reads and validates the desired config at path. Its error is Problems
// unless the file could not be read.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, text)
}

// Parse reads and validates a desired config; name is what messages call it.
// Its error is Problems: every mistake of the text.
func Parse(name string, text []byte) (*Config, error) {
	r, root, err := open(name, text)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	c := &Config{Hash: hex.EncodeToString(sum[:]), file: name, places: r.places}
	r.refuseSecrets("", r.root)
	root.only(rootKeys...)
	c.Gateway = root.name("gateway", "the name of this gateway, as in avocet-1")
	c.Generation = uint64(root.integer("generation", 0, math.MaxInt64))
	for _, t := range root.tables("network") {
		c.Networks = append(c.Networks, t.network())
	}
	for _, t := range root.tables("check") {
		c.Checks = append(c.Checks, t.check())
	}
	across{r, c}.all()
	if err := r.problems.asError(); err != nil {
		return nil, err
	}
	return c, nil
}

// name reads a name that must be there: lower case letters, digits and hyphens.
func (t table) name(key, hint string) string {
	s, ok := t.text(key, "")
	if t.v.of[key] == nil {
		t.missing(key, hint)
	}
	if ok {
		t.checkName(key, s)
	}
	return s
}

func (t table) checkName(key, s string) {
	switch {
	case s == "":
		t.problem(key, "", "is empty")
	case len(s) > nameMax:
		t.problem(key, "", "%s has %d characters; a name has at most %d", show(s), len(s), nameMax)
	case !isName(s):
		hint := "lower case letters, digits and hyphens; a letter first, no hyphen last"
		t.problem(key, hint, "%s is not a name", show(s))
	}
}

// isName is true of a lower case letter and up to 31 letters, digits and
// hyphens, the last no hyphen.
func isName(s string) bool {
	const set = "abcdefghijklmnopqrstuvwxyz0123456789-"
	return s != "" && len(s) <= nameMax && strings.Trim(s, set) == "" &&
		s[0] >= 'a' && s[len(s)-1] != '-'
}

// network reads [[network]].
func (t table) network() Network {
	t.only(networkKeys...)
	n := Network{
		Name:       t.name("name", "the name of the virtual network, as in kestrel"),
		Role:       t.role(),
		Address:    t.addresses("address"),
		LAN:        t.prefixes("lan"),
		Ingress:    t.links("ingress"),
		ListenPort: int(t.integer("listen_port", 1, math.MaxUint16)),
		MTU:        int(t.integer("mtu", mtuMin, mtuMax)),
		Table:      int(t.integer("table", 1, tableMax)),
		Priority:   int(t.integer("priority", 1, priorityMax)),
		Device:     t.device(),
		MayCover:   t.words("may_cover"),
	}
	if v := t.v.of["address"]; v == nil {
		t.missing("address", "our own address inside the tunnel, as in [\"100.64.0.7/32\"]")
	} else if v.kind == arrayKind && len(v.list) == 0 {
		t.problem("address", "our own address inside the tunnel, as in [\"100.64.0.7/32\"]", "is empty")
	}
	if n.Table >= reservedTableLo && n.Table <= reservedTableHi {
		t.problem("table", "leave it out: it is derived from the name", "%d is one of the host's own tables", n.Table)
	}
	hubs := t.tables("hub")
	for _, h := range hubs {
		n.Hubs = append(n.Hubs, h.hub())
	}
	for _, s := range t.tables("site") {
		n.Sites = append(n.Sites, s.peer(siteKeys, 0))
	}
	for _, a := range t.tables("allow") {
		n.Allow = append(n.Allow, a.allow())
	}
	t.fit(&n)
	n.derive()
	t.record(&n)
	for i, h := range hubs {
		h.takes("device", "", n.Hubs[i].Device)
	}
	return n
}

func (t table) role() tunnels.Role {
	s, ok := t.text("role", "")
	switch role := tunnels.Role(s); {
	case !ok, role == tunnels.Site:
		return tunnels.Site
	case role == tunnels.Hub:
		return tunnels.Hub
	}
	t.problem("role", `"site" or "hub"; left out it is site`, "%s is not a role", show(s))
	return ""
}

// fit checks that a network has what its role needs, and nothing of the other.
func (t table) fit(n *Network) {
	switch n.Role {
	case tunnels.Site:
		if t.v.of["hub"] == nil {
			t.missing("hub", "at least one [[network.hub]], or role = \"hub\"")
		}
		if t.v.of["site"] != nil {
			t.problem("site", `only a hub accepts sites: role = "hub"`, "does not go with the role site")
		}
		if t.v.of["device"] != nil {
			t.problem("device", "at a site each [[network.hub]] has its own device", "does not go with the role site")
		}
		if n.ListenPort != 0 && len(n.Hubs) > 1 {
			t.problem("listen_port", "leave it out: the kernel chooses one for each",
				"%d cannot be the port of the devices to %s", n.ListenPort, plural(len(n.Hubs), "hub"))
		}
	case tunnels.Hub:
		if t.v.of["hub"] != nil {
			t.problem("hub", "list the gateways that call in as [[network.site]]", "does not go with the role hub")
		}
	}
}

func (n *Network) derive() {
	if n.Role == tunnels.Hub {
		if n.ListenPort == 0 {
			n.ListenPort = hubPort
		}
		if n.Device == "" {
			n.Device = tunnels.DeviceName(n.Name, "")
		}
	}
	for i := range n.Hubs {
		if n.Hubs[i].Device == "" {
			n.Hubs[i].Device = tunnels.DeviceName(n.Name, n.Hubs[i].Name)
		}
	}
	if n.Table == 0 {
		n.Table = tunnels.TableNumber(n.Name)
	}
	if n.Priority == 0 {
		n.Priority = tunnels.RulePriority(n.Name)
	}
}

// hub reads [[network.hub]].
func (t table) hub() Hub {
	h := Hub{Peer: t.peer(hubKeys, siteKeepalive), Device: t.device()}
	for _, e := range t.strings("endpoints", "") {
		if !t.r.endpoint(e) {
			continue
		}
		if i := slices.Index(h.Endpoints, e.text); i >= 0 {
			t.r.problem(e.at, e.path, "", "%s is listed twice", show(e.text))
			continue
		}
		h.Endpoints = append(h.Endpoints, e.text)
	}
	t.wanted("endpoints", "where the hub answers, as in [\"hub-north.example.net:51820\"]")
	return h
}

// wanted says that a list must be there and not be empty.
func (t table) wanted(key, hint string) {
	v := t.v.of[key]
	switch {
	case v == nil:
		t.missing(key, hint)
	case v.kind == arrayKind && len(v.list) == 0:
		t.problem(key, hint, "is empty")
	}
}

// peer reads what a hub and a site have in common.
func (t *table) peer(known []string, keepalive time.Duration) Peer {
	t.only(known...)
	p := Peer{
		Name:       t.name("name", "the name of the other end, as in hub-north"),
		AllowedIPs: t.prefixes("allowed_ips"),
		Keepalive:  keepalive,
	}
	t.wanted("allowed_ips", "what is behind the other end, as in [\"100.64.0.1/32\", \"198.51.100.0/24\"]")
	const hint = "what `ginnel key NETWORK` prints at the other end"
	if s, ok := t.text("public_key", hint); ok {
		if _, err := key.ParsePublic(s); err != nil {
			t.problem("public_key", hint, "%v", err)
		}
		p.PublicKey = s
		t.takes("public_key", "", s)
	} else if t.v.of["public_key"] == nil {
		t.missing("public_key", hint)
	}
	t.takes("name", t.listOf(), p.Name)
	p.PresharedKeyFile = t.file("preshared_key_file")
	if t.v.of["persistent_keepalive"] != nil {
		p.Keepalive = t.keepalive()
	}
	return p
}

// keepalive takes seconds, as wg(8) does, or a duration; 0 switches it off.
func (t table) keepalive() time.Duration {
	const name = "persistent_keepalive"
	if v := t.v.of[name]; v.kind == integerKind {
		return time.Duration(t.integer(name, 0, int64(keepaliveMax/time.Second))) * time.Second
	}
	d := t.duration(name, 0, keepaliveMax)
	if d%time.Second != 0 {
		t.problem(name, "", "%s is not a whole number of seconds", tell(d))
	}
	return d
}

// file reads an absolute path.
func (t table) file(name string) string {
	s, ok := t.text(name, "")
	if ok && (!filepath.IsAbs(s) || filepath.Clean(s) != s) {
		t.problem(name, "as in /etc/ginnel/kestrel.psk", "%s is not an absolute path", show(s))
	}
	return s
}

func (t table) device() string {
	s, ok := t.text("device", "")
	if ok && (!strings.HasPrefix(s, tunnels.DevicePrefix) || len(s) > deviceMax || !linkName(s)) {
		t.problem("device", "leave it out: it is derived from the names",
			"%s is not \"%s\" and up to %d letters, digits and hyphens", show(s), tunnels.DevicePrefix, deviceMax-len(tunnels.DevicePrefix))
	}
	return s
}

// linkName is true of what the kernel takes and a person can type.
func linkName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= deviceMax &&
		strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '/' || c == ':' }) < 0
}

// links reads a list of the host's own links.
func (t table) links(name string) []string {
	var list []string
	for _, e := range t.strings(name, "") {
		_, err := netip.ParsePrefix(e.text)
		switch {
		case err == nil:
			t.r.problem(e.at, e.path, "source prefixes are what `lan` lists; it is enough without ingress", "%s is not a link", show(e.text))
		case !linkName(e.text):
			t.r.problem(e.at, e.path, "as `ip link` prints it, as in eth1", "%s is not a link", show(e.text))
		case strings.HasPrefix(e.text, tunnels.DevicePrefix) || e.text == "lo":
			t.r.problem(e.at, e.path, "a link of the site's LAN, as in eth1", "traffic from %s is never a site's", show(e.text))
		case slices.Contains(list, e.text):
			t.r.problem(e.at, e.path, "", "%s is listed twice", show(e.text))
		default:
			list = append(list, e.text)
		}
	}
	return list
}

func (t table) words(name string) []string {
	var list []string
	for _, e := range t.strings(name, "") {
		list = append(list, e.text)
	}
	return list
}

// allow reads [[network.allow]].
func (t table) allow() tunnels.Allow {
	t.only(allowKeys...)
	a := tunnels.Allow{From: t.side("from"), To: t.side("to")}
	for _, e := range t.strings("ports", "") {
		if !port(e.text) {
			t.r.problem(e.at, e.path, "tcp/443, udp/53 or icmp", "%s is not a port", show(e.text))
			continue
		}
		a.Ports = append(a.Ports, e.text)
	}
	return a
}

const sites = "sites" // the LANs of every site

func (t table) side(name string) string {
	s, ok := t.text(name, "")
	if t.v.of[name] == nil {
		t.missing(name, `a prefix, or "sites"`)
	}
	if !ok || s == sites {
		return s
	}
	e := element{t.v.of[name], join(t.path, name)}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		if a, err := netip.ParseAddr(s); err == nil {
			t.problem(name, host(a).String(), "%s has no length", show(s))
			break
		}
		t.problem(name, `a prefix, or "sites"`, "%s is neither a prefix nor \"sites\"", show(s))
	case !t.r.allowed(e, p):
	case p != p.Masked():
		t.problem(name, fmt.Sprintf("%v is the network, %v the host", p.Masked(), host(p.Addr())),
			"%s has bits set beyond /%d", show(s), p.Bits())
	}
	return s
}

func port(s string) bool {
	if s == "icmp" {
		return true
	}
	proto, number, ok := strings.Cut(s, "/")
	n := 0
	for _, c := range number {
		if c < '0' || c > '9' || n > math.MaxUint16 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return ok && (proto == "tcp" || proto == "udp") && n >= 1 && n <= math.MaxUint16
}
