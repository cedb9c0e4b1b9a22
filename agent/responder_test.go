package agent

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/stamp"
	"github.com/ginnel/ginnel/tunnels"
)

func TestResponderPlaces(t *testing.T) {
	addresses := []netip.Prefix{netip.MustParsePrefix("100.64.0.1/32"), netip.MustParsePrefix("2001:db8:64::1/128")}
	c := &config.Config{Networks: []config.Network{
		{Name: "kestrel", Role: tunnels.Hub, Address: addresses, Device: "gn-kestrel"},
		{Name: "heron", Role: tunnels.Site, Address: addresses[:1]},
	}}
	if got, want := responderPlaces(c), []responderPlace{{netip.MustParseAddrPort("100.64.0.1:8620"), "gn-kestrel"}, {netip.MustParseAddrPort("[2001:db8:64::1]:8620"), "gn-kestrel"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if checks.EchoPort != 8620 {
		t.Errorf("the port is %d", checks.EchoPort)
	}
}

// TestEchoing: responders come and go with the config, and one whose port is taken
// keeps nothing from running.
func TestEchoing(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	first := responderPlace{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), "lo"}
	second := responderPlace{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port), "lo"}
	var log bytes.Buffer
	e := echoing{log: slog.New(slog.NewTextHandler(&log, nil))}
	e.sync([]responderPlace{first, second})
	if answersTestPackets(second.at) != true || !bytes.Contains(log.Bytes(), []byte("sites' test packets are not answered")) {
		t.Errorf("beside a port that is taken: %s", log.String())
	}
	taken.Close()
	e.sync([]responderPlace{first})
	if !answersTestPackets(first.at) || answersTestPackets(second.at) {
		t.Error("not as the config has it")
	}
	e.sync(nil)
	if answersTestPackets(first.at) {
		t.Error("it answers though nothing is wanted")
	}
}

func answersTestPackets(at netip.AddrPort) bool {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Second))
	conn.Write(stamp.Question{Seq: 7}.Append(nil))
	b := make([]byte, 100)
	n, err := conn.Read(b)
	a, ok := stamp.ParseAnswer(b[:n])
	return err == nil && ok && a.Question.Seq == 7
}
