package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/tunnels"
)

// The keys that each table may have.
var (
	rootKeys    = []string{"gateway", "generation", "signers", "collector", "trial", "network", "check", "manners", "off"}
	networkKeys = []string{"name", "role", "address", "lan", "ingress", "listen_port", "mtu", "probe_interval",
		"table", "priority", "device", "may_cover", "map", "hub", "site", "allow"}
	hubKeys   = []string{"name", "public_key", "endpoints", "allowed_ips", "preshared_key_file", "persistent_keepalive", "device"}
	siteKeys  = []string{"name", "public_key", "allowed_ips", "preshared_key_file", "persistent_keepalive"}
	allowKeys = []string{"from", "to", "ports"}
	mapKeys   = []string{"lan", "as"}
)

// Bounds of what a file may say.
const (
	nameMax            = 32 // characters of a name
	deviceMax          = 15 // bytes of a link's name
	mtuMin, mtuMax     = 1280, 9000
	tableMax           = math.MaxUint32
	priorityMax        = 32765 - tunnels.PrioritySpan // all of a network's rules stand before the main table's
	hubPort            = 51820
	keepaliveMax       = 65535 * time.Second
	DefaultMTU         = 1420             // bytes
	DefaultProbe       = 10 * time.Second // 20 MB a month each way: a metered line can bear it
	probeMin, probeMax = 500 * time.Millisecond, 5 * time.Minute
	siteKeepalive      = 25 * time.Second // a site is behind a NAT or a firewall more often than not
	reservedTableLo    = 253              // default, main and local
	reservedTableHi    = 255
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
func Parse(name string, text []byte) (*Config, error) { return ParseWith(name, text, nil) }

// ParseWith is Parse and CheckKinds in one: what the kinds of checks object to
// stands among the other mistakes. No validate: no kind is asked.
func ParseWith(name string, text []byte, validate func(checks.Spec) error) (*Config, error) {
	r, root, err := open(name, text)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	c := &Config{Hash: hex.EncodeToString(sum[:]), file: name, places: &places{file: name, text: text, of: r.places}}
	r.refuseSecrets("", r.root)
	root.only(rootKeys...)
	c.Gateway = root.name("gateway", "the name of this gateway, as in avocet-1")
	c.Generation = uint64(root.integer("generation", 0, math.MaxInt64))
	c.Signers = root.signers(c.Generation)
	c.Collector = root.collectors()
	c.Trial = cmp.Or(root.duration("trial", trialMin, trialMax), DefaultTrial)
	for _, t := range root.tables("network") {
		c.Networks = append(c.Networks, t.network())
	}
	for _, t := range root.tables("check") {
		c.Checks = append(c.Checks, t.check())
		r.checks = append(r.checks, t)
	}
	c.Manners = root.manners()
	across{r, c}.all()
	if validate != nil {
		r.problems = append(r.problems, r.unsaid(c.CheckKinds(validate))...)
	}
	if err := r.problems.asError(); err != nil {
		return nil, err
	}
	c.places.of = nil
	return c, nil
}

// unsaid leaves out problems at a place where there is one already.
func (r *reader) unsaid(ps Problems) Problems {
	return slices.DeleteFunc(ps, func(p Problem) bool {
		return slices.ContainsFunc(r.problems, func(q Problem) bool {
			return p.Path == q.Path || (p.Line == q.Line && p.Column == q.Column)
		})
	})
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
