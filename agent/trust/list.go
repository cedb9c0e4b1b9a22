package trust

import (
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
	if t.list != nil && l.Number <= t.list.Number {
		return false, nil
	}
	next := t.kept
	next.List = slices.Clone(raw)
	if err := t.write(next); err != nil {
		return false, err
	}
	t.list = l
	return true, nil
}
