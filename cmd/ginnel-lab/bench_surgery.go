package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
	"github.com/ginnel/ginnel/tunnels"
)

// benchSurgery looks at what a usual surgery's gateway needs in a day: CPU, and
// bytes on its line. It measures for a while, in which every check runs equally
// often in each five minutes, and makes a day of it; what happens once a day, and
// trouble, is not in it.
func benchSurgery(ctx context.Context, s *stage) error {
	c, err := buildCounty(ctx, county.Surgery().ByHand(), "bench-"+s.name)
	if err != nil {
		return err
	}
	defer c.Close()
	c.Collector.Heartbeat = 30 * time.Second // its default; a push would wait for two
	site := c.Site(county.Surgeries)
	if err := c.Greet(site.LAN, 9100, 631); err != nil {
		return err
	}
	if err := bringUp(ctx, c); err != nil {
		return err
	}
	length := pick(s, 10*time.Minute, 5*time.Second)
	sleep(ctx, pick(s, time.Minute, 0)) // the start, and what a new agent tells at first
	day := func(x float64) float64 { return x * 24 * float64(time.Hour) / float64(length) }

	agent, planes, line, err := surgeryFor(ctx, c, length)
	if err != nil {
		return err
	}
	st, err := site.Status(ctx)
	if err != nil {
		return err
	}
	up := 0
	for _, k := range st.Checks {
		if k.State == "up" {
			up++
		}
	}
	s.holds("all of its checks are up", up == len(st.Checks) && up == 20, fmt.Sprintf("%d of %d, with %d tunnels; a day is made of %v", up, len(st.Checks), len(st.Tunnels), length))
	told := func(name string, value float64, unit, detail string) {
		s.row(result{Name: name, Value: value, Unit: unit, Aim: "any", Met: true, Detail: detail})
	}
	told("CPU of the agent", day(agent.Seconds()), "s/day", fmt.Sprintf("%.2f %% of a core", 100*agent.Seconds()/length.Seconds()))
	told("CPU of its two data planes", day(planes.Seconds()), "s/day", fmt.Sprintf("%.2f %% of a core", 100*planes.Seconds()/length.Seconds()))
	const MB = 1e6
	told("bytes up", day(float64(line.up()))/MB, "MB/day", fmt.Sprintf("frames of the line; and %.3g MB/day down", day(float64(line.down))/MB))
	told("of these, the checks' own", day(float64(line.beside+line.through))/MB, "MB/day",
		fmt.Sprintf("%.3g beside the tunnels, with what resolves names; %.3g through them", day(float64(line.beside))/MB, day(float64(line.through))/MB))
	told("of these, the tunnels' own", day(float64(line.tunnels-line.through))/MB, "MB/day", "probes every 10 s, handshakes, keepalives")
	told("of these, reports", day(float64(line.reports))/MB, "MB/day", "to the collector: heartbeats every 30 s, a block a minute, acknowledgements")
	return nil
}

// surgeryFor measures for so long.
func surgeryFor(ctx context.Context, c *county.County, length time.Duration) (agent, planes time.Duration, line lineShare, err error) {
	site := c.Site(county.Surgeries)
	pids, err := dataplanesOf(site.Node)
	if err != nil {
		return 0, 0, line, err
	}
	if len(pids) != 2 {
		return 0, 0, line, fmt.Errorf("%d data planes are there, not 2", len(pids))
	}
	used := func() (agent, planes time.Duration, err error) {
		for _, pid := range pids {
			one, err := cpuOf(pid)
			if err != nil {
				return 0, 0, err
			}
			planes += one
		}
		agent, err = cpuOf(site.PID())
		return agent, planes, err
	}
	share, err := shareLine(c, site)
	if err != nil {
		return 0, 0, line, err
	}
	agent0, planes0, err := used()
	if err != nil {
		return 0, 0, line, err
	}
	sleep(ctx, length)
	agent1, planes1, err := used()
	return agent1 - agent0, planes1 - planes0, share.stop(), err
}

// lineShare is bytes of frames on a line, upwards but for down.
type lineShare struct {
	reports uint64 // to the collector
	tunnels uint64 // WireGuard to hubs
	through uint64 // of these, what checks send through tunnels
	beside  uint64 // all else
	down    uint64
}

func (l lineShare) up() uint64 { return l.reports + l.tunnels + l.beside }

// sharing counts until stop.
type sharing struct {
	mu    sync.Mutex
	share lineShare
	stops []func()
}

func shareLine(c *county.County, site *county.Site) (*sharing, error) {
	sh := &sharing{}
	hubs := map[netip.Addr]bool{}
	for _, h := range c.Hubs {
		hubs[h.Address] = true
	}
	for _, j := range site.Joins {
		own := c.Hub(j.Hubs[0]).Overlay[j.Network]
		device := tunnels.DeviceName(j.Network, j.Hubs[0])
		r, err := readLink(site.Node, device, func(p seenPacket) {
			probe := len(p.head) >= 20 && p.head[9] == unix.IPPROTO_ICMP && netip.AddrFrom4([4]byte(p.head[16:20])) == own
			if p.out && !probe {
				sh.mu.Lock()
				defer sh.mu.Unlock()
				sh.share.through += uint64(sealed(p.size))
			}
		})
		if err != nil {
			sh.stop()
			return nil, fmt.Errorf("%s: %w", device, err)
		}
		sh.stops = append(sh.stops, r.close)
	}
	sh.stops = append(sh.stops, site.Line.Watch(func(f wan.Frame) {
		p := wan.Parse(f.Bytes)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		switch to := p.Dst.Addr(); {
		case f.Direction != wan.Out:
			sh.share.down += uint64(p.Length)
		case to == county.CollectorAddress:
			sh.share.reports += uint64(p.Length)
		case hubs[to]:
			sh.share.tunnels += uint64(p.Length)
		default:
			sh.share.beside += uint64(p.Length)
		}
	}))
	return sh, nil
}

func (sh *sharing) stop() lineShare {
	for _, stop := range sh.stops {
		stop()
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.share
}

// sealed is the frame that a packet is in once it is in a tunnel: Ethernet, IPv4,
// UDP, and WireGuard's head and tag about it, padded to 16 bytes (the WireGuard
// paper, 5.4.6).
func sealed(size int) int { return 14 + 20 + 8 + 16 + (size+15)/16*16 + 16 }
