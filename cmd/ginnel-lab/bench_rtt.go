package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/builtin"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/wan"
)

// rttError is how far reported times were from those on the wire, microseconds.
type rttError struct{ median, p99 float64 }

// benchRTT compares the times that programs report with a capture on their own
// link, whose stamps are the kernel's, in nanoseconds.
func benchRTT(ctx context.Context, s *stage) error {
	for _, setting := range []struct {
		name string
		line *wan.Line
		busy bool
		p99  float64
	}{
		{"veth", nil, false, 20},
		{"5 ms line", &wan.Line{Delay: 2500 * time.Microsecond}, false, 20},
		{"veth, both cores busy", nil, true, 50},
	} {
		p, err := newProbing(s, setting.line)
		if err != nil {
			return err
		}
		if setting.busy {
			for range 2 {
				cmd, err := p.start(p.site, "sh", "-c", "while :; do :; done")
				if err != nil {
					return err
				}
				defer stopped(cmd)
			}
		}
		if err := p.rttErrors(ctx, s, setting.name, setting.p99); err != nil {
			return fmt.Errorf("%s: %w", setting.name, err)
		}
	}
	return nil
}

// rttErrors measures us and the peers in turn, and makes the rows.
func (p *probing) rttErrors(ctx context.Context, s *stage, setting string, most float64) error {
	const targets = 1000
	programs := slices.DeleteFunc(timedPrograms(targets), func(t timed) bool { return !p.has(ctx, t.name, t.args[0]) })
	medians, p99s := map[string][]float64{}, map[string][]float64{}
	for i := range pick(s, 3, 1) {
		order := slices.Clone(programs)
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, program := range order {
			e, n, err := p.errorOf(ctx, s, program)
			switch {
			case err != nil && program.name != programs[0].name: // we are measured all the same
				fmt.Printf("  %-28s %-20s no figure: %v\n", setting, program.name, err)
				continue
			case err != nil:
				return fmt.Errorf("%s: %w", program.name, err)
			}
			fmt.Printf("  %-28s %-20s p50 %8.2f  p99 %8.2f us, of %d\n", setting, program.name, e.median, e.p99, n)
			medians[program.name], p99s[program.name] = append(medians[program.name], e.median), append(p99s[program.name], e.p99)
		}
	}
	var others strings.Builder
	for _, program := range programs[1:] {
		if medians[program.name] == nil {
			continue
		}
		fmt.Fprintf(&others, "; %s p50 %.1f, p99 %.1f", program.name, spreadOf(medians[program.name]).Median, spreadOf(p99s[program.name]).Median)
	}
	for _, row := range []struct {
		name   string
		values map[string][]float64
		most   float64
	}{{"p50", medians, 3}, {"p99", p99s, most}} {
		own := row.values[programs[0].name]
		ours := spreadOf(own)
		r := result{Name: "RTT error, " + row.name + ", " + setting, Value: ours.Median, Unit: "us",
			Aim: fmt.Sprintf("<= %g", row.most), Met: ours.Median <= row.most,
			Detail: fmt.Sprintf("%d targets at 1/s, interval %.2f to %.2f of %d runs%s", targets, ours.Low, ours.High, len(own), others.String())}
		if fping := row.values["fping"]; fping != nil {
			r.Beside = new(spreadOf(fping).Median)
			r.Ratio = new(ours.Median / *r.Beside)
		}
		s.row(r)
	}
	return nil
}

// timed is a program that tells the time of each answer.
type timed struct {
	name string
	args []string
	ask  *scrape
	rate int
	// read finds the address and the time in a line that the program writes.
	read func(line string) (to netip.Addr, rtt time.Duration, ok bool)
}

func timedPrograms(targets int) []timed {
	list := []timed{{name: "ginnel", args: []string{"ginnel-lab", boxProbe, strconv.Itoa(targets)}, read: plainTime}}
	for _, peer := range echoPeers(targets) {
		t := timed{name: peer.name, args: peer.args, ask: peer.ask, rate: peer.rate, read: plainTime}
		switch peer.name {
		case "fping":
			t.args, t.read = append([]string{"fping", "-l"}, peer.args[3:]...), fpingTime
		case "pro-bing", "blackbox_exporter":
		default:
			continue
		}
		list = append(list, t)
	}
	return list
}

// plainTime reads "ADDRESS ... NANOSECONDS".
func plainTime(line string) (netip.Addr, time.Duration, bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return netip.Addr{}, 0, false
	}
	to, err := netip.ParseAddr(fields[0])
	ns, err2 := strconv.ParseInt(fields[len(fields)-1], 10, 64)
	return to, time.Duration(ns), err == nil && err2 == nil
}

// fpingTime reads "198.18.0.1 : [0], 64 bytes, 0.034 ms (...)".
func fpingTime(line string) (netip.Addr, time.Duration, bool) {
	fields := strings.Fields(line)
	if len(fields) < 7 || fields[1] != ":" {
		return netip.Addr{}, 0, false
	}
	to, err := netip.ParseAddr(fields[0])
	ms, err2 := strconv.ParseFloat(fields[5], 64)
	return to, time.Duration(ms * float64(time.Millisecond)), err == nil && err2 == nil
}

// errorOf runs a program under a capture and compares.
func (p *probing) errorOf(ctx context.Context, s *stage, program timed) (rttError, int, error) {
	wire, err := p.capture()
	if err != nil {
		return rttError{}, 0, err
	}
	defer wire.close()
	if program.ask != nil {
		if err := p.blackboxConfig(); err != nil {
			return rttError{}, 0, err
		}
	}
	var out bytes.Buffer
	cmd := p.site.Command(context.Background(), program.args[0], program.args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, p.log
	if program.ask != nil {
		cmd.Stdout = p.log // what it says comes otherwise
	}
	if err := p.site.Start(cmd); err != nil {
		return rttError{}, 0, err
	}
	length := pick(s, 12*time.Second, 8*time.Second)
	if program.ask == nil {
		sleep(ctx, length)
		end(cmd)
	} else {
		p.scraped(ctx, program, length, &out)
		end(cmd)
	}
	told := map[netip.Addr][]time.Duration{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		if to, rtt, ok := program.read(lines.Text()); ok {
			told[to] = append(told[to], rtt)
		}
	}
	return wire.compare(told)
}

// scraped asks a program that answers when asked, and writes what it says as
// plainTime reads it; -1 for what it left unanswered.
func (p *probing) scraped(ctx context.Context, program timed, length time.Duration, out *bytes.Buffer) {
	if err := program.ask.listens(ctx, p); err != nil {
		fmt.Printf("  %s: %v\n", program.name, err)
		return
	}
	asking, stop := context.WithTimeout(ctx, length)
	defer stop()
	var mu sync.Mutex
	missing := 0
	last := program.ask.at(asking, p, program.rate, func(target, text string) {
		ns := int64(-1)
		for line := range strings.Lines(text) {
			seconds, is := strings.CutPrefix(line, `probe_icmp_duration_seconds{phase="rtt"} `)
			if x, err := strconv.ParseFloat(strings.TrimSpace(seconds), 64); is && err == nil {
				ns = int64(x * 1e9)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, target, ns)
		if ns < 0 {
			missing++
		}
	})
	if last != nil { // it is too slow: what it says is compared all the same
		fmt.Printf("  %s left %d questions unanswered: %v\n", program.name, missing, last)
	}
}

// compare takes the absolute differences between told times and the wire's, in
// order for each address, up to the first that is not told: nobody knows which of
// those on the wire that was.
func (w *wireCapture) compare(told map[netip.Addr][]time.Duration) (rttError, int, error) {
	seen := w.times()
	var errors []float64
	for to, rtts := range told {
		real := seen[to]
		if len(rtts) > len(real) {
			return rttError{}, 0, fmt.Errorf("%v: %d times told, %d seen on the wire", to, len(rtts), len(real))
		}
		for i, rtt := range rtts {
			if rtt < 0 {
				break
			}
			errors = append(errors, math.Abs(float64(rtt-real[i]))/1000)
		}
	}
	if len(errors) < 1000 {
		return rttError{}, 0, fmt.Errorf("%d times told only", len(errors))
	}
	slices.Sort(errors)
	return rttError{errors[len(errors)/2], errors[len(errors)*99/100]}, len(errors), nil
}

// runProbe is the program ginnel-lab box-probe N: the checks of an agent, as it
// runs them, which tell each time that they took when they are ended.
func runProbe(ctx context.Context, n int) int {
	var told toldTimes
	kinds, err := checks.NewRegistry(builtin.ICMP())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	runner := checks.NewRunner(checks.RunnerOptions{Gateway: "avocet-1", Registry: kinds, Sink: &told})
	var specs []checks.Spec
	for i := range n {
		specs = append(specs, checks.Spec{Name: fmt.Sprint("check-", i), Kind: "icmp", Interval: time.Second,
			Target: checks.Target{Address: farTarget(i).String(), Options: map[string]any{"count": int64(1)}}})
	}
	runner.Sync(specs)
	<-ctx.Done()
	runner.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, t := range told.times {
		fmt.Fprintln(out, t.to, t.stamps, t.rtt.Nanoseconds())
	}
	return 0
}

// toldTimes is a Sink that keeps them.
type toldTimes struct {
	mu    sync.Mutex
	times []toldTime
}

type toldTime struct {
	to     string
	stamps checks.Stamps
	rtt    time.Duration
}

func (t *toldTimes) Sample(s checks.Spec, r checks.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, rtt := range r.RTT {
		t.times = append(t.times, toldTime{s.Target.Address, r.Stamps, rtt})
	}
}

func (t *toldTimes) Edge(checks.Spec, checks.Edge) {}

// stopped ends a program at once.
func stopped(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
