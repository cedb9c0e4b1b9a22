package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// Diff says what changes between two configs of a gateway, one line each, so
// that the same change at two gateways is the same line. A nil old is a gateway
// that runs nothing yet. Values that a config hides are not told. Generation,
// hash are no changes of their own, nor is what comes with a first config anyway;
// two configs that are otherwise the same give nothing.
func Diff(old, want *config.Config) []string {
	d := &differ{}
	if old == nil {
		d.networks(&config.Config{}, want)
		d.checks(nil, want.Checks)
		return d.lines
	}
	d.networks(old, want)
	d.checks(old.Checks, want.Checks)
	d.signers(old.Signers, want.Signers)
	if !slices.Equal(old.Collector, want.Collector) {
		d.change("collector: %s", or(strings.Join(want.Collector, ", "), "as the site pack says"))
	}
	if old.Trial != want.Trial {
		d.change("trial %v -> %v", old.Trial, want.Trial)
	}
	if !reflect.DeepEqual(old.Manners, want.Manners) {
		d.manners(old.Manners, want.Manners)
	}
	return d.lines
}

// manners tells what is switched off or on again, and that the rest differs.
func (d *differ) manners(old, want checks.Manners) {
	what := func(o checks.Off) string { return strings.TrimSpace(o.Check+o.Kind+o.Target) + ": " + o.Reason }
	for _, o := range want.Off {
		if !slices.Contains(old.Off, o) {
			d.change("switched off: %s", what(o))
		}
	}
	for _, o := range old.Off {
		if !slices.Contains(want.Off, o) {
			d.change("on again: %s", what(o))
		}
	}
	old.Off, want.Off = nil, nil
	if !reflect.DeepEqual(old, want) {
		d.change("manners of checks")
	}
}

type differ struct{ lines []string }

func (d *differ) add(format string, a ...any)    { d.line('+', format, a) }
func (d *differ) change(format string, a ...any) { d.line('~', format, a) }
func (d *differ) remove(format string, a ...any) { d.line('-', format, a) }

func (d *differ) line(op tunnels.Op, format string, a []any) {
	d.lines = append(d.lines, fmt.Sprintf("%c ", op)+fmt.Sprintf(format, a...))
}

func (d *differ) networks(old, want *config.Config) {
	var peers peerChanges
	for _, n := range want.Networks {
		was, there := find(old.Networks, n.Name, networkName)
		if !there {
			d.add("%s", newNetwork(n))
			continue
		}
		d.network(was, n)
		peers.compare(was.Sites, n.Sites)
	}
	for _, n := range old.Networks {
		if _, there := find(want.Networks, n.Name, networkName); !there {
			d.remove("%s", n.Name)
		}
	}
	if text := peers.String(); text != "" {
		d.change("peers: %s", text)
	}
}

func networkName(n config.Network) string { return n.Name }

func newNetwork(n config.Network) string {
	if n.Role == tunnels.Hub {
		return fmt.Sprintf("%s, hub of %s", n.Name, plural(len(n.Sites), "site"))
	}
	text := n.Name
	for _, p := range n.LAN {
		text += ", lan " + p.String()
		if i := slices.IndexFunc(n.Map, func(m tunnels.Map) bool { return m.LAN == p }); i >= 0 {
			text += " as " + n.Map[i].As.String()
		}
	}
	return text
}

// network compares what is neither peer of a hub nor new.
func (d *differ) network(was, n config.Network) {
	name := n.Name
	prefixes := func(what string, old, want []netip.Prefix) {
		for _, p := range want {
			if !slices.Contains(old, p) {
				d.add("%s, %s %v", name, what, p)
			}
		}
		for _, p := range old {
			if !slices.Contains(want, p) {
				d.remove("%s, %s %v", name, what, p)
			}
		}
	}
	value := func(what string, old, want any) {
		if a, b := tell(old), tell(want); a != b {
			d.change("%s, %s %s -> %s", name, what, or(a, "none"), or(b, "none"))
		}
	}
	value("role", was.Role, n.Role)
	prefixes("address", was.Address, n.Address)
	prefixes("lan", was.LAN, n.LAN)
	value("map", mapped(was.Map), mapped(n.Map))
	value("ingress", was.Ingress, n.Ingress)
	value("listen port", was.ListenPort, n.ListenPort)
	value("mtu", cmp.Or(was.MTU, config.DefaultMTU), cmp.Or(n.MTU, config.DefaultMTU))
	value("probe interval", was.Probe, n.Probe)
	value("table", was.Table, n.Table)
	value("priority", was.Priority, n.Priority)
	value("device", was.Device, n.Device)
	value("may cover", was.MayCover, n.MayCover)
	d.hubs(name, was.Hubs, n.Hubs)
	d.allows(name, was.Allow, n.Allow)
}

func (d *differ) hubs(network string, old, want []config.Hub) {
	name := func(h config.Hub) string { return h.Name }
	for _, h := range want {
		was, there := find(old, h.Name, name)
		if !there {
			d.add("hub %s on %s", h.Name, network)
			continue
		}
		d.hub(network, was, h)
	}
	for _, h := range old {
		if _, there := find(want, h.Name, name); !there {
			d.remove("hub %s on %s", h.Name, network)
		}
	}
	if a, b := names(old), names(want); len(a) == len(b) && !slices.Equal(a, b) && slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))) {
		d.change("%s, %s first", network, b[0])
	}
}

func (d *differ) hub(network string, was, h config.Hub) {
	head := fmt.Sprintf("hub %s on %s: ", h.Name, network)
	for _, p := range h.AllowedIPs {
		if !slices.Contains(was.AllowedIPs, p) {
			d.change("%s+ %v", head, p)
		}
	}
	for _, p := range was.AllowedIPs {
		if !slices.Contains(h.AllowedIPs, p) {
			d.change("%s- %v", head, p)
		}
	}
	if was.PublicKey != h.PublicKey {
		d.change("%sanother public key", head)
	}
	for _, f := range []struct {
		what      string
		old, want any
	}{
		{"endpoints", was.Endpoints, h.Endpoints}, {"keepalive", was.Keepalive, h.Keepalive},
		{"device", was.Device, h.Device}, {"preshared key", was.PresharedKeyFile, h.PresharedKeyFile},
	} {
		if a, b := tell(f.old), tell(f.want); a != b {
			d.change("%s%s %s", head, f.what, or(b, "none"))
		}
	}
}

func (d *differ) allows(network string, old, want []tunnels.Allow) {
	has := func(list []tunnels.Allow, a tunnels.Allow) bool {
		return slices.ContainsFunc(list, func(b tunnels.Allow) bool { return reflect.DeepEqual(a, b) })
	}
	for _, a := range want {
		if !has(old, a) {
			d.add("allow %s on %s", allowText(a), network)
		}
	}
	for _, a := range old {
		if !has(want, a) {
			d.remove("allow %s on %s", allowText(a), network)
		}
	}
}

func allowText(a tunnels.Allow) string {
	return strings.TrimSpace(fmt.Sprintf("%s -> %s %s", a.From, a.To, strings.Join(a.Ports, ", ")))
}

func (d *differ) checks(old, want []config.Check) {
	name := func(c config.Check) string { return c.Name }
	for _, c := range want {
		was, there := find(old, c.Name, name)
		if !there {
			d.add("check %s", place(c))
			continue
		}
		for _, what := range checkChanges(was, c) {
			d.change("check %s: %s", place(c), what)
		}
	}
	for _, c := range old {
		if _, there := find(want, c.Name, name); !there {
			d.remove("check %s", place(c))
		}
	}
}

func place(c config.Check) string {
	if c.Network == "" {
		return c.Name + ", beside the tunnels"
	}
	return c.Name + " on " + c.Network
}

// checkChanges tells the fields of a check that differ; what is in its options
// is not told.
func checkChanges(was, c config.Check) (what []string) {
	a, b := reflect.ValueOf(was), reflect.ValueOf(c)
	for i := range a.NumField() {
		field := strings.ToLower(a.Type().Field(i).Name)
		switch x, y := a.Field(i).Interface(), b.Field(i).Interface(); {
		case reflect.DeepEqual(x, y):
		case field == "options":
			what = append(what, "options")
		default:
			what = append(what, fmt.Sprintf("%s %s -> %s", field, or(tell(x), "none"), or(tell(y), "none")))
		}
	}
	return what
}

func (d *differ) signers(old, want []string) {
	for _, s := range want {
		if !slices.Contains(old, s) {
			d.add("signer %s", signer(s))
		}
	}
	for _, s := range old {
		if !slices.Contains(want, s) {
			d.remove("signer %s", signer(s))
		}
	}
}

// signer is what people call a key: its comment, and some of its fingerprint.
func signer(line string) string {
	s, err := bundle.ParseSigner(line)
	if err != nil {
		return line
	}
	return strings.TrimSpace(s.Name + " " + ssh.FingerprintSHA256(s.Key)[:17])
}

// peerChanges are the changes of a hub's sites, over all its networks.
type peerChanges struct{ added, changed, removed []string }

func (p *peerChanges) compare(old, want []config.Peer) {
	was := make(map[string]config.Peer, len(old))
	for _, o := range old {
		was[o.Name] = o
	}
	for _, w := range want {
		o, there := was[w.Name]
		delete(was, w.Name)
		switch {
		case !there:
			p.added = append(p.added, w.Name)
		case !reflect.DeepEqual(o, w):
			p.changed = append(p.changed, w.Name)
		}
	}
	for _, o := range old {
		if _, left := was[o.Name]; left {
			p.removed = append(p.removed, o.Name)
		}
	}
}

// String names a few of each, and counts the rest.
func (p *peerChanges) String() string {
	var parts []string
	for _, c := range []struct {
		op   string
		list []string
	}{{"+", p.added}, {"~", p.changed}, {"-", p.removed}} {
		slices.Sort(c.list)
		list := slices.Compact(c.list)
		switch {
		case len(list) == 0:
		case len(list) <= 3:
			parts = append(parts, c.op+" "+strings.Join(list, ", "))
		default:
			parts = append(parts, fmt.Sprintf("%s %s and %d more", c.op, list[0], len(list)-1))
		}
	}
	return strings.Join(parts, "; ")
}

func find[T any](list []T, name string, of func(T) string) (T, bool) {
	if i := slices.IndexFunc(list, func(v T) bool { return of(v) == name }); i >= 0 {
		return list[i], true
	}
	var none T
	return none, false
}

func names(hubs []config.Hub) (list []string) {
	for _, h := range hubs {
		list = append(list, h.Name)
	}
	return list
}

func mapped(list []tunnels.Map) (text []string) {
	for _, m := range list {
		text = append(text, fmt.Sprintf("%v as %v", m.LAN, m.As))
	}
	return text
}

// tell is a value in a few words; empty for what is not set.
func tell(v any) string {
	switch v := v.(type) {
	case []string:
		return strings.Join(v, ", ")
	case time.Duration:
		if v == 0 {
			return ""
		}
		return v.String()
	case int:
		if v == 0 {
			return ""
		}
	}
	return fmt.Sprint(v)
}

func or(text, otherwise string) string { return cmp.Or(text, otherwise) }
