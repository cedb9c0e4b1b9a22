package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
)

// playLeave looks at a gateway's host before the agent ever ran, and after it
// was stopped and cleaned up. Between the two it went through removals, crashes
// and a fight; and the tunnels went on alone.
func playLeave(ctx context.Context, s *stage) error {
	h, err := newHealing(ctx, s)
	if err != nil {
		return err
	}
	defer h.close()
	during, err := hostState(ctx, h.node)
	if err != nil {
		return err
	}
	s.holds("the host is changed while the agent runs", during != h.before, fmt.Sprintf("%d lines differ", len(differing(h.before, during))))
	if err := h.hardLife(ctx); err != nil {
		return err
	}
	if err := h.site.StopAgent(ctx); err != nil {
		return err
	}
	seen, err := county.Ping(ctx, h.site.LAN, records, time.Millisecond, pick(s, 10000, 1000))
	if err != nil {
		return err
	}
	s.zero("lost through the tunnel after the agent was stopped", seen.Lost(), "packets", fmt.Sprintf("%s sent", thousands(seen.Sent)))
	return h.leaves(ctx)
}

// hardLife takes each kind of object, kills the agent at its work, and has others
// fight with it.
func (h *healing) hardLife(ctx context.Context) error {
	took, err := h.rounds(ctx, slices.Concat(byEvents(removals), shared), pick(h.stage, 5, 1))
	if err != nil {
		return err
	}
	c, err := h.crashes(ctx, uint64(time.Now().UnixNano()), pick(h.stage, 20, len(situations)))
	if err != nil {
		return err
	}
	all := h.fighters()
	for _, f := range all {
		if err := h.letIn(ctx, f); err != nil {
			return err
		}
		defer f.sendAway()
	}
	sleep(ctx, pick(h.stage, 20*time.Second, 5*time.Second))
	for _, f := range all {
		f.sendAway()
	}
	h.stage.holds("before that: removals, crashes and a fight", c.converged == c.turns,
		fmt.Sprintf("%d kinds taken; %d of %d starts after kill -9 made the host whole; %d programs fought", len(took), c.converged, c.turns, len(all)))
	return h.site.AwaitPlanned(within(ctx, 2*time.Minute))
}

// leaves stops the agent, withdraws everything, and makes the rows about what is
// left.
func (h *healing) leaves(ctx context.Context) error {
	_ = h.site.StopAgent(ctx) // it may have ended before
	said, err := h.node.Run(ctx, "ginnel", "cleanup")
	if err != nil {
		return err
	}
	// The package's remove script does the rest; the pack is the technician's.
	if _, err := h.node.Run(ctx, "sh", "-ec", "rm -r /run/ginnel; [ ! -e /run/wireguard ] || rmdir /run/wireguard; rm -f /run/site.pack /run/*.sh"); err != nil {
		return err
	}
	after, err := hostState(ctx, h.node)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(differing(h.before, after), func(line string) bool {
		return county.Backend == "kernel" && strings.Contains(line, byTheModule)
	})
	h.stage.zero("left on the host after cleanup", len(left), "lines",
		strings.Join(append([]string{fmt.Sprintf("%s lines compared", thousands(strings.Count(after, "\n")))}, left...), "\n"))
	planes, err := dataPlanes(h.node)
	if err != nil {
		return err
	}
	h.stage.zero("data planes left after cleanup", len(planes), "processes", "")
	return h.stays(ctx, said)
}

// remembered is where the agent keeps the sysctls of before us.
const remembered = "/var/lib/ginnel/sysctls.json"

// stays lists what is kept on purpose, and is said to be.
func (h *healing) stays(ctx context.Context, said string) error {
	files, err := h.node.Run(ctx, "find", "/etc/ginnel", "/var/lib/ginnel", "-type", "f")
	if err != nil {
		return err
	}
	kept := strings.Fields(files)
	slices.Sort(kept)
	good := !slices.Contains(kept, remembered) && strings.Contains(said, "/etc/ginnel") && strings.Contains(said, "/var/lib/ginnel")
	h.stage.holds("what stays is said, and is not "+remembered, good, strings.Join(kept, "\n"))
	return nil
}
