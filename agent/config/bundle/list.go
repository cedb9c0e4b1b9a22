package bundle

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// MaxList bounds the text of a list, in bytes: 4,000 revoked gateways.
const MaxList = 1 << 20

// Kind says what a denial does.
type Kind string

const (
	Revoke  Kind = "revoke"  // a device is shut out for good; its successor of the same name is not
	Isolate Kind = "isolate" // gateways or networks are shut out until they are reconnected
)

// DenyList is what is shut out, all of it: it replaces the one
// before, and its number is higher. Nil is the empty list, number 0.
type DenyList struct {
	Number  uint64   `toml:"number"`
	Denials []Denial `toml:"deny"`
}

// Denial is [[deny]].
type Denial struct {
	Kind         Kind      `toml:"kind"`
	Gateways     []string  `toml:"gateways"`
	Keys         []string  `toml:"keys"`         // of Revoke: public WireGuard keys of the device, base64; none: whoever has the name
	Device       string    `toml:"device"`       // of Revoke: SHA-256 of its public device key (PKIX), in hex; may be empty
	Site         string    `toml:"site"`         // for people, as is what follows but Networks
	Organisation string    `toml:"organisation"` //
	Networks     []string  `toml:"networks"`     // of Isolate: with everybody in them
	Why          string    `toml:"why"`
	By           string    `toml:"by"`
	At           time.Time `toml:"at"`
}

// Peer finds what shuts out a peer of a hub, by its gateway's name and its
// public key in base64; nil: nothing does.
func (l *DenyList) Peer(gateway, key string) *Denial {
	return l.find(func(d Denial) bool {
		if len(d.Keys) > 0 {
			return slices.Contains(d.Keys, key)
		}
		return slices.Contains(d.Gateways, gateway)
	})
}

// Network finds what shuts out a whole network; nil: nothing does.
func (l *DenyList) Network(name string) *Denial {
	return l.find(func(d Denial) bool { return slices.Contains(d.Networks, name) })
}

// Revoked finds what shuts out a device, by the SHA-256 of its public key
// (PKIX) in hex; nil: nothing does.
func (l *DenyList) Revoked(device string) *Denial {
	return l.find(func(d Denial) bool { return d.Device != "" && d.Device == device })
}

func (l *DenyList) find(is func(Denial) bool) *Denial {
	if l == nil {
		return nil
	}
	if i := slices.IndexFunc(l.Denials, is); i >= 0 {
		return &l.Denials[i]
	}
	return nil
}

// Serial is the list's number; 0 of none.
func (l *DenyList) Serial() uint64 {
	if l == nil {
		return 0
	}
	return l.Number
}

// Next is the list that follows: without the denials that drop is true of, nil:
// with all, and with others added.
func (l *DenyList) Next(drop func(Denial) bool, add ...Denial) *DenyList {
	next := &DenyList{Number: l.Serial() + 1}
	if l != nil {
		next.Denials = slices.Clone(l.Denials)
	}
	if drop != nil {
		next.Denials = slices.DeleteFunc(next.Denials, drop)
	}
	next.Denials = append(next.Denials, add...)
	return next
}

// ParseList reads the text of a list; name is what errors call it. They tell
// every mistake.
func ParseList(name string, text []byte) (*DenyList, error) {
	if len(text) > MaxList {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLarge, len(text), MaxList)
	}
	l := &DenyList{}
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(l)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var errs []error
		for _, e := range strict.Errors {
			row, column := e.Position()
			errs = append(errs, fmt.Errorf("%s:%d:%d: %s: unknown key", name, row, column, strings.Join(e.Key(), ".")))
		}
		return nil, errors.Join(errs...)
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, column := bad.Position()
		return nil, fmt.Errorf("%s:%d:%d: %s is not as a list has it", name, row, column, cmp.Or(strings.Join(bad.Key(), "."), "this"))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not a list", name)
	}
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// Validate says all that is wrong with a list.
func (l *DenyList) Validate() error {
	var errs []error
	if l.Number == 0 || l.Number > math.MaxInt64 {
		errs = append(errs, fmt.Errorf("number: %d is not between 1 and %d", l.Number, int64(math.MaxInt64)))
	}
	for i, d := range l.Denials {
		for _, err := range d.validate() {
			errs = append(errs, fmt.Errorf("deny[%d].%w", i, err))
		}
	}
	return errors.Join(errs...)
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (d Denial) validate() (errs []error) {
	problem := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	switch d.Kind {
	case Revoke:
		if len(d.Gateways) == 0 {
			problem("gateways: nobody is revoked")
		}
		if len(d.Networks) > 0 {
			problem("networks: a network can be isolated, not revoked")
		}
	case Isolate:
		if len(d.Gateways) == 0 && len(d.Networks) == 0 {
			problem("gateways: nobody is isolated")
		}
		if len(d.Keys) > 0 || d.Device != "" {
			problem("keys: who is isolated is named by gateway or network")
		}
	default:
		problem("kind: %s is neither %s nor %s", strconv.QuoteToASCII(string(d.Kind)), Revoke, Isolate)
	}
	for _, names := range []struct {
		key  string
		list []string
	}{{"gateways", d.Gateways}, {"networks", d.Networks}} {
		for i, n := range names.list {
			if !namePattern.MatchString(n) {
				problem("%s[%d]: %s is not a name", names.key, i, strconv.QuoteToASCII(n))
			}
		}
	}
	for i, k := range d.Keys {
		// Only the one way to write it: Peer compares texts.
		if b, err := base64.StdEncoding.DecodeString(k); err != nil || len(b) != 32 || base64.StdEncoding.EncodeToString(b) != k {
			problem("keys[%d]: not a public WireGuard key", i)
		}
	}
	if b, err := hex.DecodeString(d.Device); d.Device != "" && (err != nil || len(b) != 32 || d.Device != strings.ToLower(d.Device)) {
		problem("device: not a SHA-256 in hex")
	}
	for _, s := range []struct{ key, text string }{{"site", d.Site}, {"organisation", d.Organisation}, {"why", d.Why}, {"by", d.By}} {
		if len(s.text) > 500 || strings.ContainsFunc(s.text, func(c rune) bool { return c < ' ' || c >= 0x7f && c < 0xa0 }) {
			problem("%s: over 500 bytes, or not one line", s.key)
		}
	}
	return errs
}

// Format is the text of a list, as it is signed.
func (l *DenyList) Format() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# What is shut out of the virtual networks, all of it.\nnumber = %d\n", l.Number)
	text := func(key, s string) {
		if s != "" {
			fmt.Fprintf(&b, "%s = %s\n", key, strconv.QuoteToASCII(s))
		}
	}
	list := func(key string, of []string) {
		if len(of) == 0 {
			return
		}
		quoted := make([]string, len(of))
		for i, s := range of {
			quoted[i] = strconv.QuoteToASCII(s)
		}
		fmt.Fprintf(&b, "%s = [%s]\n", key, strings.Join(quoted, ", "))
	}
	for _, d := range l.Denials {
		b.WriteString("\n[[deny]]\n")
		text("kind", string(d.Kind))
		list("gateways", d.Gateways)
		list("keys", d.Keys)
		text("device", d.Device)
		text("site", d.Site)
		text("organisation", d.Organisation)
		list("networks", d.Networks)
		text("why", d.Why)
		text("by", d.By)
		if !d.At.IsZero() {
			fmt.Fprintf(&b, "at = %s\n", d.At.UTC().Truncate(time.Second).Format(time.RFC3339))
		}
	}
	return b.String()
}
