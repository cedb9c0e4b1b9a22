package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/ginnel/ginnel/checks"
)

// idForm is what an ID is: it is a file's name, and part of a URL.
var idForm = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}-[0-9a-f]{8}$`)

// IsID says whether s may be the ID of a bundle.
func IsID(s string) bool { return idForm.MatchString(s) }

// NewID names the bundle of a change; it sorts by time.
func NewID(gateway, name string, at time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", gateway, name, at.UnixNano()))
	return at.UTC().Format("20060102T150405") + "-" + hex.EncodeToString(sum[:4])
}

// Encode writes the document. One that is too long loses its oldest packets, then
// what is said of steps, and says so.
func (b *Bundle) Encode() ([]byte, error) {
	c := *b
	for {
		text, err := json.Marshal(&c)
		if err != nil || len(text) <= MaxSize {
			return text, err
		}
		if !c.shrink() {
			return nil, fmt.Errorf("evidence %s has %d bytes without its packets", b.ID, len(text))
		}
	}
}

// shrink takes something out; false: there is nothing more to take.
func (b *Bundle) shrink() bool {
	if n := len(b.Packets); n > 0 {
		n = (n + 3) / 4
		b.Packets, b.Dropped = b.Packets[n:], b.Dropped+n
		return true
	}
	for _, l := range []**Look{&b.LastGood, &b.Last, &b.MTU, &b.Path} {
		if *l != nil && len((*l).Steps) > 0 {
			short := **l
			short.Steps = nil
			*l = &short
			b.NotLooked = append(b.NotLooked, "the steps of "+short.Kind+" had no room")
			return true
		}
	}
	if len(b.Links) > 0 {
		b.Links = nil
		return true
	}
	return false
}

// Decode reads a document that came from elsewhere, and refuses one that is not
// whole, or that nobody could read.
func Decode(text []byte) (*Bundle, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("it has %d bytes; %d is the most", len(text), MaxSize)
	}
	var b Bundle
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("it is no evidence: %w", err)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return &b, nil
}

func (b *Bundle) check() error {
	switch {
	case b.Version != Version:
		return fmt.Errorf("version %d is not known here; %d is", b.Version, Version)
	case !IsID(b.ID):
		return fmt.Errorf("id %q is not of the form of one", b.ID)
	case b.Gateway == "" || b.Subject.Name == "":
		return errors.New("it names no gateway, or no check")
	case !within(b.Made), !within(b.Change.At), !within(b.Change.Noticed):
		return errors.New("a time in it cannot be")
	case !state(b.Change.From) || !state(b.Change.To):
		return fmt.Errorf("from %q to %q is no change of state", b.Change.From, b.Change.To)
	}
	for _, p := range b.Packets {
		if math.Abs(p.At) > 1e7 || p.RTT < 0 || p.RTT > 1e6 {
			return fmt.Errorf("a packet at %v s, back after %v s", p.At, p.RTT)
		}
	}
	return nil
}

// within the years that a page can show.
func within(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2200 }

func state(s checks.State) bool {
	switch s {
	case checks.Up, checks.DegradedState, checks.Down, checks.UnknownState, checks.MaintenanceMode:
		return true
	}
	return false
}

// most is how long a line of foreign text gets, in bytes.
const most = 300

// Line makes one line of foreign text.
func Line(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), unicode.IsControl), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
