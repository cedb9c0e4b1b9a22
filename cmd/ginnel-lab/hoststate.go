package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
	"github.com/ginnel/ginnel/tunnels/host"
)

// hostState is what our programs could change on a host, as text: what
// kernelState tells, sockets, and files in /run.
func hostState(ctx context.Context, n *netns.Node) (string, error) {
	kernel, err := kernelState(ctx, n)
	if err != nil {
		return "", err
	}
	rest, err := n.Run(ctx, "sh", "-ec", `
		ss -Hlntuw0x | awk '{print $1, $5}'
		find /run -printf '%M %p\n'`)
	return kernel + rest, err
}

// kernelState is the links with their aliases, addresses, neighbours, rules,
// routes, nftables with the handles that tell a rule from its copy, and all
// sysctls of the network.
func kernelState(ctx context.Context, n *netns.Node) (string, error) {
	return n.Run(ctx, "sh", "-ec", `
		ip -o link; ip -o addr; ip neigh show nud permanent
		ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
		nft -s -a list ruleset
		grep -rsH . /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/core || [ $? = 2 ]`)
}

// foreignState is kernelState without what is ours, by the tags that it
// carries, and without the sysctls that we may write.
func foreignState(ctx context.Context, n *netns.Node, written ...string) (string, error) {
	all, err := kernelState(ctx, n)
	if err != nil {
		return "", err
	}
	var foreign strings.Builder
	inside := false // a table of ours
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, "table ") {
			inside = strings.HasPrefix(line, "table inet ginnel_")
		}
		if !inside && !isOurs(line) && !slices.ContainsFunc(written, func(w string) bool { return strings.Contains(line, w) }) {
			foreign.WriteString(unnumbered(line))
		}
		if strings.HasPrefix(line, "}") {
			inside = false
		}
	}
	return foreign.String(), nil
}

// isOurs is true for a line with our protocol number, or about a link of ours:
// the kernel's own routes to it, too.
func isOurs(line string) bool {
	return strings.Contains(line, "gn-") || strings.Contains(strings.TrimSpace(line)+" ", fmt.Sprintf(" proto %d ", host.Protocol))
}

// unnumbered takes the handle from the first line of somebody's table: the
// kernel counts tables, ours too.
func unnumbered(line string) string {
	if strings.HasPrefix(line, "table ") {
		line, _, _ = strings.Cut(line, " # handle")
		return strings.TrimSpace(line) + "\n"
	}
	return line
}

// differing lists the lines that are in only one of two texts.
func differing(a, b string) []string {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]--
	}
	for line := range strings.Lines(b) {
		count[line]++
	}
	var lines []string
	for line, n := range count {
		switch {
		case n < 0:
			lines = append(lines, "- "+strings.TrimSpace(line))
		case n > 0:
			lines = append(lines, "+ "+strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// dataPlanes are the processes of our data planes at a node, by device.
func dataPlanes(n *netns.Node) (map[string]int, error) {
	found := map[string]int{}
	err := n.Do(func() error {
		here, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		all, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			return err
		}
		for _, dir := range all {
			// A process may end while we look at it.
			text, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			words := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
			there, _ := os.Readlink(filepath.Join(dir, "ns/net"))
			if there != here || filepath.Base(words[0]) != "ginnel-dataplane" {
				continue
			}
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				return err
			}
			found[words[len(words)-1]] = pid
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for data planes at %s: %w", n.Name, err)
	}
	return found, nil
}
