package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// acuteKinds are sites where somebody may come to harm while the line is away.
// Their gateways wait for the last ring unless their own column says otherwise.
var acuteKinds = []string{"acute", "ambulance", "hospital", "community-hospital", "emergency", "urgent-care", "hospice", "maternity", "111", "999"}

// acuteCare is the repair care level that only such a site pays for: six hours,
// on any day.
const acuteCare = 4

func (s *Site) acute() bool {
	return slices.Contains(acuteKinds, normalKind(s.Kind)) || s.CareLevel == acuteCare
}

func normalKind(kind string) string {
	return strings.ReplaceAll(normal(kind), "_", "-")
}

// ringOf is a site's ring, as an index into Fleet.Rings. Its own column wins;
// then a share takes those whose hash falls into it, so that a site stays in its
// ring whatever other sites come and go; the last takes all that are left, and
// every acute site.
func (f *Fleet) ringOf(s *Site) int {
	rings := f.Rollout.Rings
	if i := slices.Index(rings, s.Ring); i >= 0 {
		return i + 1
	}
	if s.acute() {
		return len(rings)
	}
	at, below := spot(s.ID), 0.0
	for i, ring := range rings {
		if share, ok := percent(ring); ok {
			if below += share; at < below {
				return i + 1
			}
		}
	}
	return len(rings)
}

// spot is a site's place in 0 to 100, the same on every machine.
func spot(site string) float64 {
	sum := sha256.Sum256([]byte("ginnel ring\x00" + site))
	return float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32) * 100
}
