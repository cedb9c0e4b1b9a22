package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

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
