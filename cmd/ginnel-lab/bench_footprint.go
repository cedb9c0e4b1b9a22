package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// benchFootprint looks at an agent with 3 networks and 20 checks every 10 s, and
// at its three idle data planes, after ten minutes.
func benchFootprint(ctx context.Context, s *stage) error {
	p, err := newPair(s)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i := range 20 {
		network := i%3 + 1
		fmt.Fprintf(&text, "[[check]]\nname = \"check-%d\"\nkind = %q\nnetwork = \"net%d\"\ntarget = %q\ninterval = \"10s\"\n",
			i, []string{"icmp", "tcp"}[i%2], network, overlayOf(network, true)+[]string{"", ":5201"}[i%2])
	}
	if err := p.configure(ctx, 3, text.String()); err != nil {
		return err
	}
	server, err := p.start(p.hub, "iperf3", "-s")
	if err != nil {
		return err
	}
	defer end(server)
	hub, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(hub)
	agent, err := p.start(p.site, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(agent)
	if _, err := p.site.Run(ctx, "ginnel", "status", "--wait", "60s"); err != nil {
		return err
	}

	length := pick(s, 10*time.Minute, 20*time.Second)
	share, err := cpuShare(ctx, agent.Process.Pid, length)
	if err != nil {
		return err
	}
	rss, err := memoryOf(agent.Process.Pid, "status", "VmRSS")
	if err != nil {
		return err
	}
	s.row(result{Name: "agent, VmRSS", Value: rss, Unit: "MiB", Aim: "<= 32", Met: rss <= 32,
		Detail: fmt.Sprintf("3 networks, 20 checks every 10 s, after %v", length)})
	s.row(result{Name: "agent, CPU", Value: share, Unit: "% of a core", Aim: "<= 0.5", Met: share <= 0.5,
		Detail: fmt.Sprintf("over %v", length)})
	return p.dataplanes(s)
}

// dataplanes makes the rows of the site's data planes: the largest of three.
func (p *pair) dataplanes(s *stage) error {
	pids, err := dataplanesOf(p.site)
	if err != nil {
		return err
	}
	if len(pids) != 3 {
		return fmt.Errorf("%d data planes are there, not 3", len(pids))
	}
	var anon, pss float64
	for _, pid := range pids {
		a, err := memoryOf(pid, "status", "RssAnon")
		if err != nil {
			return err
		}
		b, err := memoryOf(pid, "smaps_rollup", "Pss")
		if err != nil {
			return err
		}
		anon, pss = max(anon, a), max(pss, b)
	}
	s.row(result{Name: "idle data plane, RssAnon", Value: anon, Unit: "MiB", Aim: "<= 5", Met: anon <= 5,
		Detail: "the largest of three"})
	s.row(result{Name: "idle data plane, PSS", Value: pss, Unit: "MiB", Aim: "<= 9", Met: pss <= 9,
		Detail: "the largest of three; three more run at the hub and share the program's pages"})
	return nil
}

// dataplanesOf finds the data planes in a node's network namespace.
func dataplanesOf(n *netns.Node) ([]int, error) {
	var own string
	err := n.Do(func() (err error) {
		own, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, err
	}
	programs, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range programs {
		name, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(name)) != "ginnel-dataplan" {
			continue // gone meanwhile, or somebody else; comm has 15 bytes
		}
		dir := filepath.Dir(path)
		if ns, err := os.Readlink(filepath.Join(dir, "ns/net")); err == nil && ns == own {
			pid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// memoryOf reads a field in kB of a file below /proc/PID, in MiB.
func memoryOf(pid int, file, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		kB, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		return kB / 1024, err
	}
	return 0, fmt.Errorf("%s is not in /proc/%d/%s", field, pid, file)
}

// cpuOf is the CPU time that a process has used, to the nanosecond: its clock has
// the number that clock_getcpuclockid(3) makes of its own.
func cpuOf(pid int) (time.Duration, error) {
	var used unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|2), &used)
	return time.Duration(used.Nano()), os.NewSyscallError("clock_gettime", err)
}
