package plan

import (
	"slices"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

// NotSigner names the gateways that would refuse what by signs, by the signers
// of what they run.
func (p *Plan) NotSigner(by bundle.Signer) (gateways []string) {
	for _, c := range p.Changes {
		if trusted, known := c.trusts(); known && !has(trusted, by) {
			gateways = append(gateways, c.Gateway)
		}
	}
	return gateways
}

// trusts are the signers of what a gateway runs. Not known: it runs nothing, or
// what has none; then they are those of its pack.
func (c *Change) trusts() (trusted bundle.Signers, known bool) {
	if c.old == nil || len(c.old.Signers) == 0 {
		return nil, false
	}
	trusted, err := bundle.ParseSigners(c.old.Signers)
	if err != nil {
		return nil, true
	}
	return trusted, true
}

// Handover says, where a plan takes signers out, who leaves, and who may sign it:
// those that all its gateways trust now, and that stay. What one who leaves has
// signed, the way back too, is refused by whoever kept the change. Both are empty
// where nobody leaves.
func (p *Plan) Handover() (leave, stay bundle.Signers) {
	first := true
	for _, c := range p.Changes {
		trusted, known := c.trusts()
		if !known {
			continue
		}
		next, err := bundle.ParseSigners(c.new.Signers)
		if err != nil {
			next = nil // which config.Parse has refused
		}
		for _, s := range trusted {
			if !has(next, s) && !has(leave, s) {
				leave = append(leave, s)
			}
		}
		if first {
			stay = next
		}
		first = false
		stay = slices.DeleteFunc(slices.Clone(stay), func(s bundle.Signer) bool { return !has(trusted, s) })
	}
	if len(leave) == 0 {
		return nil, nil
	}
	return leave, stay
}

func has(all bundle.Signers, s bundle.Signer) bool {
	return slices.ContainsFunc(all, func(o bundle.Signer) bool { return string(o.Key.Marshal()) == string(s.Key.Marshal()) })
}
