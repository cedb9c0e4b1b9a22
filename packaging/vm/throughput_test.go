package vm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
)

// BenchmarkKernelThroughput sends TCP from site to hub through our tunnel of the
// kernel's WireGuard, and through one that ip and wg alone set up, in
// alternation. Each iteration is a pair:
//
//	go test -run '^$' -bench KernelThroughput -benchtime 20x ./packaging/vm
func BenchmarkKernelThroughput(b *testing.B) {
	s := boot(b)
	s.step("a hub and a LAN are there", s.surroundings)
	s.step("install offline: dpkg -i of all packages", s.install)
	s.step("enrol with a site pack", s.enrol)
	s.step("tunnel up, kernel WireGuard, checks up", s.up("kernel WireGuard"))
	s.step("a second tunnel, by ip and wg setconf", s.plain)
	var ours, theirs, ratios []float64
	for i := 0; b.Loop(); i++ {
		us, them := 0.0, 0.0
		order := []*float64{&us, &them}
		if i%2 == 1 { // going second helps nobody
			order[0], order[1] = order[1], order[0]
		}
		for _, which := range order {
			network := "100.64.0"
			if which == &them {
				network = "100.65.0"
			}
			s.step(fmt.Sprintf("pair %d, %s.7 to %s.1", i+1, network, network), func(ctx context.Context) (string, error) {
				rate, err := s.iperf(ctx, network)
				*which = rate
				return fmt.Sprintf("%.0f Mbit/s", rate), err
			})
		}
		ours, theirs, ratios = append(ours, us), append(theirs, them), append(ratios, us/them)
	}
	r := spreadOf(ratios)
	b.ReportMetric(spreadOf(ours).Median, "Mbit/s")
	b.ReportMetric(spreadOf(theirs).Median, "plain-Mbit/s")
	b.ReportMetric(r.Median, "ratio")
	form := "full"
	if len(ratios) < 20 {
		form = "short"
	}
	them := spreadOf(theirs).Median
	line := row{
		Name: "vm: TCP site to hub, kernel WireGuard", Value: spreadOf(ours).Median, Unit: "Mbit/s", Beside: &them, Ratio: &r.Median,
		Aim: "interval contains 1", Met: r.Low <= 1 && 1 <= r.High, Form: form,
		Detail: fmt.Sprintf("beside ip link and wg setconf, %d pairs, 95 %% interval %.3f to %.3f, software emulation", len(ratios), r.Low, r.High),
	}
	fmt.Printf("  %s: %.0f Mbit/s, plain %.0f, ratio %.3f (%.3f to %.3f)\n", line.Name, line.Value, them, r.Median, r.Low, r.High)
	keep(b, []row{line}, named("vm: TCP"))
}

// plain makes the peer to compare with, between the same two ends.
func (s *site) plain(ctx context.Context) (string, error) {
	return "", s.quiet(ctx, `set -e
cd /root; umask 077
wg genkey >a.key; wg genkey >b.key
printf '[Interface]\nPrivateKey = %s\n[Peer]\nPublicKey = %s\nEndpoint = 192.0.2.1:51821\nAllowedIPs = 100.65.0.1/32\nPersistentKeepalive = 25\n' \
	"$(cat a.key)" "$(wg pubkey <b.key)" >a.conf
printf '[Interface]\nPrivateKey = %s\nListenPort = 51821\n[Peer]\nPublicKey = %s\nAllowedIPs = 100.65.0.7/32\n' \
	"$(cat b.key)" "$(wg pubkey <a.key)" >b.conf
ip link add plain type wireguard
wg setconf plain a.conf
ip addr add 100.65.0.7/32 dev plain
ip link set plain up
ip route add 100.65.0.1/32 dev plain
ip -n hub link add plain type wireguard
ip netns exec hub wg setconf plain b.conf
ip -n hub addr add 100.65.0.1/32 dev plain
ip -n hub link set plain up
ip -n hub route add 100.65.0.7/32 dev plain
ip netns exec hub iperf3 -s -D
ping -c 3 -W 5 -I 100.65.0.7 100.65.0.1
ping -c 3 -W 5 -I 100.64.0.7 100.64.0.1`)
}

// iperf sends for two seconds and gives Mbit/s, as the receiver counts.
func (s *site) iperf(ctx context.Context, network string) (float64, error) {
	out, err := s.run(ctx, fmt.Sprintf("iperf3 -c %s.1 -B %s.7 -t 2 -O 1 -J", network, network))
	if err != nil {
		return 0, err
	}
	var r struct {
		End struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	err = json.Unmarshal([]byte(out), &r)
	return r.End.Received.Rate / 1e6, err
}
