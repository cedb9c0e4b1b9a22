package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

var hostKeys = []string{"backend", "log_level", "proxy", "extra_ca", "uplinks", "offload", "metrics", "dataplane_memory", "protected"}

// LoadHost reads ginnel.toml at path; a file that is not there is the zero
// Host.
func LoadHost(path string) (Host, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Host{}, nil
	}
	if err != nil {
		return Host{}, err
	}
	return ParseHost(path, text)
}

// ParseHost reads and validates ginnel.toml; name is what messages call it. Its
// error is Problems.
func ParseHost(name string, text []byte) (Host, error) {
	r, t, err := open(name, text)
	if err != nil {
		return Host{}, err
	}
	r.refuseSecrets("", r.root)
	t.only(hostKeys...)
	h := Host{
		Backend:   t.choice("backend", "kernel", "userspace"),
		LogLevel:  t.choice("log_level", "debug", "info", "warn", "error"),
		Proxy:     t.proxy(),
		ExtraCA:   t.file("extra_ca"),
		Uplinks:   t.links("uplinks"),
		Offload:   t.boolean("offload"),
		Metrics:   t.loopback("metrics"),
		Protected: t.prefixes("protected"),

		DataplaneMemory: t.memory("dataplane_memory"),
	}
	if err := r.problems.asError(); err != nil {
		return Host{}, err
	}
	return h, nil
}

// choice reads one of a few words; empty where there is none.
func (t table) choice(key string, words ...string) string {
	hint := oneOf(words) + "; left out, we choose"
	s, ok := t.text(key, hint)
	if ok && !slices.Contains(words, s) {
		t.problem(key, hint, "%s is not known", show(s))
		return ""
	}
	return s
}

// loopback reads an address and port of this host alone: nothing of ours answers
// on a network.
func (t table) loopback(key string) netip.AddrPort {
	const form = "as in 127.0.0.1:9115"
	s, ok := t.text(key, form)
	if !ok {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil || a.Port() == 0:
		t.problem(key, form, "%s is not an address with a port", show(s))
	case !a.Addr().IsLoopback():
		t.problem(key, "a Prometheus elsewhere asks through a proxy of the site's own; "+form, "%s is not on loopback", show(s))
	default:
		return a
	}
	return netip.AddrPort{}
}

// memory reads a size of memory as systemd writes one, in bytes; 0 where there
// is none.
func (t table) memory(key string) int64 {
	const form = "\"32M\" at the least, and \"2G\" at the most"
	s, ok := t.text(key, form)
	if !ok {
		return 0
	}
	digits, shift := strings.TrimSuffix(s, "M"), 20
	if g, ok := strings.CutSuffix(s, "G"); ok {
		digits, shift = g, 30
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || digits == s || n<<shift < 32<<20 || n<<shift > 2<<30 {
		t.problem(key, form, "%s is not a size that a data plane can have", show(s))
		return 0
	}
	return int64(n) << shift
}

// proxy reads the URL of an HTTP CONNECT proxy. Messages never repeat it: a
// URL may carry a password.
func (t table) proxy() string {
	const form = "as in http://proxy.example.net:3128"
	s, ok := t.text("proxy", form)
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Port() == "":
		t.problem("proxy", form, "is not a URL with a host and a port")
	case u.Scheme != "http" && u.Scheme != "https":
		t.problem("proxy", form, "%s is not a scheme that we speak to a proxy", show(u.Scheme))
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		t.problem("proxy", form, "has something behind its port")
	}
	return s
}
