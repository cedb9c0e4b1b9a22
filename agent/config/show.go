package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/tunnels"
)

// Summary counts what the config has: "1 network, 1 hub, 1 check".
func (c *Config) Summary() string {
	hubs, sites := 0, 0
	for _, n := range c.Networks {
		hubs += len(n.Hubs)
		sites += len(n.Sites)
	}
	parts := []string{plural(len(c.Networks), "network")}
	if hubs > 0 {
		parts = append(parts, plural(hubs, "hub"))
	}
	if sites > 0 {
		parts = append(parts, plural(sites, "site"))
	}
	return strings.Join(append(parts, plural(len(c.Checks), "check")), ", ")
}

// Format is the config with every default and derived value in it, as TOML that
// Parse reads to the same Config. Options that look like secrets are not told.
func (c *Config) Format() string {
	w := &writer{}
	w.put("gateway", c.Gateway)
	if c.Generation != 0 {
		w.put("generation", c.Generation)
	}
	some(w, "signers", c.Signers)
	some(w, "collector", c.Collector)
	w.put("trial", tell(c.Trial))
	for _, n := range c.Networks {
		w.network(n)
	}
	for _, k := range c.Checks {
		w.check(k)
	}
	w.manners(c.Manners)
	return w.String()
}

// writer writes TOML: one key a line, aligned with nothing.
type writer struct{ strings.Builder }

func (w *writer) head(name string) { fmt.Fprintf(w, "\n[[%s]]\n", name) }

func (w *writer) put(key string, v any) { fmt.Fprintf(w, "%s = %s\n", bareOrQuoted(key), literal(v)) }

// some writes a list that has something in it.
func some[T any](w *writer, key string, list []T) {
	if len(list) > 0 {
		w.put(key, list)
	}
}

func (w *writer) network(n Network) {
	w.head("network")
	w.put("name", n.Name)
	w.put("role", string(n.Role))
	w.put("address", n.Address)
	some(w, "lan", n.LAN)
	some(w, "ingress", n.Ingress)
	if n.ListenPort != 0 {
		w.put("listen_port", n.ListenPort)
	}
	w.put("mtu", cmp.Or(n.MTU, DefaultMTU))
	w.put("probe_interval", tell(n.Probe))
	w.put("table", n.Table)
	w.put("priority", n.Priority)
	if n.Role == tunnels.Hub {
		w.put("device", n.Device)
	}
	some(w, "may_cover", n.MayCover)
	for _, m := range n.Map {
		w.head("network.map")
		w.put("lan", m.LAN)
		w.put("as", m.As)
	}
	for _, h := range n.Hubs {
		w.head("network.hub")
		w.put("name", h.Name)
		w.put("public_key", h.PublicKey)
		w.put("endpoints", h.Endpoints)
		w.peer(h.Peer)
		w.put("device", h.Device)
	}
	for _, s := range n.Sites {
		w.head("network.site")
		w.put("name", s.Name)
		w.put("public_key", s.PublicKey)
		w.peer(s)
	}
	for _, a := range n.Allow {
		w.head("network.allow")
		w.put("from", a.From)
		w.put("to", a.To)
		some(w, "ports", a.Ports)
	}
}

func (w *writer) peer(p Peer) {
	w.put("allowed_ips", p.AllowedIPs)
	if p.PresharedKeyFile != "" {
		w.put("preshared_key_file", p.PresharedKeyFile)
	}
	w.put("persistent_keepalive", int(p.Keepalive/time.Second))
}

func (w *writer) check(k Check) {
	w.head("check")
	w.put("name", k.Name)
	w.put("kind", k.Kind)
	if k.Network != "" {
		w.put("network", k.Network)
	}
	if k.Target != "" {
		w.put("target", k.Target)
	}
	if k.Beside != "" {
		w.put("beside", k.Beside)
	}
	w.put("interval", tell(k.Interval))
	w.put("timeout", tell(k.Timeout))
	w.put("down", k.Down)
	w.put("up", k.Up)
	if k.Degraded != 0 {
		w.put("degraded", tell(k.Degraded))
	}
	w.put("unstable", k.Unstable)
	if k.StandsFor != "" {
		w.put("stands_for", k.StandsFor)
	}
	w.put("required", k.Required)
	if len(k.Options) == 0 {
		return
	}
	w.WriteString("\n[check.options]\n")
	for _, name := range slices.Sorted(maps.Keys(k.Options)) {
		w.put(name, hide(name, k.Options[name]))
	}
}

// hide replaces what looks like a secret, at any depth.
func hide(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = hide(k, e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = hide(name, e)
		}
		return list
	default:
		if isSecret(name, fmt.Sprint(v)) {
			return "(not shown)"
		}
		return v
	}
}

// literal writes a value as TOML.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case netip.Prefix:
		return quote(v.String())
	case []netip.Prefix:
		return listed(v)
	case []string:
		return listed(v)
	case []any:
		return listed(v)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if strings.Trim(s, "-0123456789") == "" {
			s += ".0"
		}
		return strings.ToLower(strings.TrimPrefix(s, "+"))
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, bareOrQuoted(k)+" = "+literal(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return fmt.Sprint(v)
	}
}

func listed[T any](list []T) string {
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = literal(e)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func bareOrQuoted(key string) string {
	if isBare(key) {
		return key
	}
	return quote(key)
}

// quote writes a TOML basic string in ASCII.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c >= ' ' && c <= '~':
			b.WriteRune(c)
		case c <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			fmt.Fprintf(&b, `\U%08X`, c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
