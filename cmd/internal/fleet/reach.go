package fleet

import (
	"net/netip"
	"slices"
)

// reach holds what an allow lets sites reach of each other together with what
// they have themselves: a packet must have one way to go.
func (r *reading) reach() {
	for i := range r.Sites {
		s := &r.Sites[i]
		others := make([][]netip.Prefix, len(s.Attachments))
		for j := range s.Attachments {
			a := &s.Attachments[j]
			if m := r.memberAt[end{gatewayName(s.ID, 0), a.Network}]; m != nil {
				others[j] = r.otherSites(r.network(a.Network), m)
			}
			for _, l := range a.LANs {
				r.reachesItself(a.Network, l, others[j])
			}
			for k := range j {
				r.reachesTwice(s, k, j, others)
			}
		}
	}
}

// reachesItself tells another site's LAN that is the site's own as well: it is
// not enough that the network tells them apart by an `as` of one of them.
func (r *reading) reachesItself(network string, l LAN, others []netip.Prefix) {
	i := slices.IndexFunc(others, l.Prefix.Overlaps)
	if i < 0 {
		return
	}
	n := r.network(network)
	r.problem(attachmentsFile, l.line, "lan", r.freeHint(n, others[i].Bits(), "fill `as` for the other one, too; "),
		"%v is %v of another site that an allow of %s lets it reach", l.Prefix, others[i], network)
}

// reachesTwice tells a prefix of another site that is in two networks of one.
func (r *reading) reachesTwice(s *Site, one, two int, others [][]netip.Prefix) {
	a, b := &s.Attachments[one], &s.Attachments[two]
	from, same := sharedLAN(a, b)
	if _, _, told := r.clash(a.Network, b.Network); told || !same || len(others[one])+len(others[two]) == 0 {
		return
	}
	for _, p := range append(r.behindHubs(a.Network), others[one]...) {
		for _, q := range append(r.behindHubs(b.Network), others[two]...) {
			if p.Overlaps(q) {
				r.problem(attachmentsFile, max(a.line, b.line), "network", "a packet must belong to one network: fill `as` for one of the other sites",
					"%s and %s both have %v for traffic from %v of %s", a.Network, b.Network, narrower(p, q), from, s.ID)
				return
			}
		}
	}
}
