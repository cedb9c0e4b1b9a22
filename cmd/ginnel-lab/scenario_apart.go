package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playApart looks who can reach whom: a member reaches the services of its
// networks, and networks do not mix, neither at a hub that has both nor behind
// it.
func playApart(ctx context.Context, s *stage) error {
	c, err := startCounty(ctx, s, "avocet", "egret")
	if err != nil {
		return err
	}
	defer c.Close()
	egret := c.Site("egret").Host()
	avocet := c.Site("avocet").Host()
	count := pick(s, 1000, 50)
	for _, p := range []struct {
		from, what string
		to         netip.Addr
		reaches    bool
	}{
		{"avocet-lan", "avocet to a service of kestrel", records, true},
		{"avocet-lan", "avocet to a service of heron", results, true},
		{"egret-lan", "egret to a service of heron", results, true},
		{"egret-lan", "egret to the internet, beside", county.InternetAddress, true},
		{"egret-lan", "egret, not in kestrel, to a service of kestrel", records, false},
		{"hub-north-kestrel", "kestrel's service to heron's, through their hub", results, false},
		{"hub-north-heron", "heron's service to kestrel's, through their hub", records, false},
		{"hub-north-kestrel", "kestrel's service to egret's LAN, only in heron", egret, false},
		{"hub-north-heron", "heron's service to avocet's LAN, in heron elsewhere", avocet, false},
	} {
		node, err := c.Node(p.from)
		if err != nil {
			return err
		}
		seen, err := county.Ping(ctx, node, p.to, 5*time.Millisecond, count)
		if err != nil {
			return err
		}
		detail := fmt.Sprintf("%d sent, %d answered, %d refused", seen.Sent, seen.Answered, seen.Refused)
		if p.reaches {
			s.zero("lost: "+p.what, seen.Lost(), "packets", detail)
		} else {
			s.zero("answered: "+p.what, seen.Answered, "packets", detail)
		}
	}
	return nil
}
