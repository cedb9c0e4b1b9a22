package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
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
	seen, err := seenAlive(ctx, c)
	if err != nil {
		return err
	}
	s.holds("the capture knows packets for heron again while the hub is there", seen.Encrypted >= known,
		fmt.Sprintf("%d sent, %d seen", known, seen.Encrypted))
	o, err := cutHubSouth(ctx, c, packets, nil)
	if err != nil {
		return err
	}
	s.holds("the site names the first broken step", strings.Contains(o.said, "heron") && strings.Contains(o.said, "hub-south"),
		fmt.Sprintf("after %.1f s: %s", o.after.Seconds(), o.said))
	refused := o.passage.Refused()
	s.row(result{Name: "packets for heron refused at the site", Value: float64(refused), Unit: "packets",
		Aim: fmt.Sprint(packets), Met: refused == packets && o.heron.Refused > 0,
		Detail: fmt.Sprintf("%d sent, %d came to the gateway, %d were routed on, %d answered;\n"+
			"the sender was told %d times (the kernel tells it once a second)",
			o.heron.Sent, o.passage.Arrived, o.passage.Routed, o.heron.Answered, o.heron.Refused)})
	s.zero("packets for heron seen on the WAN", o.wan.Clear, "packets", "in clear, by capture")
	s.zero("packets for heron sent to the dead hub", o.wan.Encrypted, "packets",
		fmt.Sprintf("encrypted, known by their length; besides %d probes of the agent's own and %d handshakes", o.wan.Other, o.wan.Offers))
	s.zero("lost to the internet beside it", o.internet.Lost(), "packets", fmt.Sprintf("%d sent", o.internet.Sent))
	s.zero("lost in the other network", o.kestrel.Lost(), "packets", fmt.Sprintf("%d sent", o.kestrel.Sent))
	s.row(result{Name: "all up again after the hub was back", Value: o.healed.Seconds(), Unit: "s", Aim: "<= 30", Met: o.healed.Seconds() <= 30})
	return nil
}

// known is how many packets the capture is tried with.
const known = 20

// seenAlive captures pings through the tunnel that is to be cut. A way to watch
// that saw nothing of them would see nothing later either.
func seenAlive(ctx context.Context, c *county.County) (county.Seen, error) {
	avocet := c.Site("avocet")
	watch := c.WatchNetwork(avocet, "heron", "hub-south", nil)
	_, err := county.PingLong(ctx, avocet.LAN, results, 5*time.Millisecond, known)
	return watch.Stop(), err
}
