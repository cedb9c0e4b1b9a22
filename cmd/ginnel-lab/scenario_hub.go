package main

import (
	"context"
	"fmt"
	"strings"
)

// playHub cuts a hub off. The site says what broke first, traffic for the
// network is refused and does not leave, and the rest goes on.
func playHub(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "avocet")
	if err != nil {
		return err
	}
	defer c.Close()
	packets := pick(s, 4000, 400)
	o, err := cutHubSouth(ctx, c, packets, nil)
	if err != nil {
		return err
	}
	s.holds("the site names the first broken step", strings.Contains(o.said, "heron") && strings.Contains(o.said, "hub-south"),
		fmt.Sprintf("after %.1f s: %s", o.after.Seconds(), o.said))
	s.row(result{Name: "packets for heron refused at the site", Value: float64(o.heron.Refused), Unit: "packets",
		Aim: fmt.Sprint(packets), Met: o.heron.Refused == packets, Detail: fmt.Sprintf("%d sent, %d answered", o.heron.Sent, o.heron.Answered)})
	s.zero("packets for heron seen on the WAN", o.wan.Clear, "packets", "in clear, by capture")
	s.zero("packets for heron sent to the dead hub", o.wan.Encrypted, "packets",
		fmt.Sprintf("encrypted, by capture; besides %d handshakes", o.wan.Offers))
	s.zero("lost to the internet beside it", o.internet.Lost(), "packets", fmt.Sprintf("%d sent", o.internet.Sent))
	s.zero("lost in the other network", o.kestrel.Lost(), "packets", fmt.Sprintf("%d sent", o.kestrel.Sent))
	s.row(result{Name: "all up again after the hub was back", Value: o.healed.Seconds(), Unit: "s", Aim: "<= 30", Met: o.healed.Seconds() <= 30})
	return nil
}
