package trust

import (
	"fmt"
	"slices"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

// TakeList takes a signed list of what is shut out, raw as bundle.Parse reads
// it. It says whether the list in force is another one now: one whose number is
// not above that of the list in force is left alone. The error is a Refusal.
func (t *Trust) TakeList(raw []byte) (changed bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, err := bundle.Parse(raw)
	if err == nil {
		_, err = verify(b, bundle.List, t.signers())
	}
	if err != nil {
		return false, unsigned("list", err, bundle.List, t.signers())
	}
	l, err := bundle.ParseList("list", b.Text)
	if err != nil {
		return false, refuse(err, "it was signed so: ginnelctl makes one that can be read")
	}
	before := uint64(0)
	if t.list != nil {
		before = t.list.Number
	}
	switch {
	case l.Number <= before:
		return false, nil
	case l.Number > before+leap:
		return false, refuse(fmt.Errorf("list refused: %w: %d, and %d is in force", ErrLeap, l.Number, before),
			fmt.Sprintf("at most %d above it; who signed that?", leap))
	}
	next := t.kept
	next.List = slices.Clone(raw)
	if err := t.write(next); err != nil {
		return false, err
	}
	t.list = l
	return true, nil
}
