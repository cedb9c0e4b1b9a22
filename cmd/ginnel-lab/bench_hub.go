package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/county"
	"github.com/ginnel/ginnel/cmd/ginnel-lab/internal/netns"
)

// crowd are sites of a hub of which there is nothing but their lines in its
// config: the same ones each time.
type crowd int

// key is a public key of which nobody has the private half.
func (c crowd) key(i int) string {
	k := sha256.Sum256(fmt.Append(nil, "site ", i))
	return base64.StdEncoding.EncodeToString(k[:])
}

// prefixes are the overlay address of a site, and its LAN.
func (c crowd) prefixes(i int) [2]netip.Prefix {
	at := func(base string, step, bits int) netip.Prefix {
		a := netip.MustParseAddr(base).As4()
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(i*step))
		return netip.PrefixFrom(netip.AddrFrom4(a), bits)
	}
	return [2]netip.Prefix{at("100.64.1.0", 1, 32), at("192.168.0.0", 4, 30)}
}

// crowdDevice is the hub's link, crowdPort its port.
const crowdDevice, crowdPort = "gn-crowd", 51820

// config is the hub's.
func (c crowd) config() string {
	var text strings.Builder
	fmt.Fprintf(&text, "gateway = \"hub-north\"\n[[network]]\nname = \"crowd\"\nrole = \"hub\"\naddress = [\"100.64.0.1/32\"]\nlisten_port = %d\n", crowdPort)
	for i := range int(c) {
		p := c.prefixes(i)
		fmt.Fprintf(&text, "[[network.site]]\nname = \"site-%d\"\npublic_key = %q\nallowed_ips = [\"%v\", \"%v\"]\n", i, c.key(i), p[0], p[1])
	}
	return text.String()
}

// wgConfig is the same as wg(8) takes it. The changed site has one prefix more;
// -1: none has.
func (c crowd) wgConfig(private string, port, changed int) string {
	var text strings.Builder
	fmt.Fprintf(&text, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", private, port)
	for i := range int(c) {
		p := c.prefixes(i)
		fmt.Fprintf(&text, "[Peer]\nPublicKey = %s\nAllowedIPs = %v, %v", c.key(i), p[0], p[1])
		if i == changed {
			fmt.Fprintf(&text, ", %v", one)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// one is a prefix more.
var one = netip.MustParsePrefix("203.0.113.0/24")

// newHub makes a machine with the crowd's config.
func newHub(ctx context.Context, s *stage, c crowd) (*pair, error) {
	p := new(pair)
	var err error
	if p.hub, err = netns.New("hub", "127.0.0.1 localhost\n", "127.0.0.1"); err != nil {
		return nil, err
	}
	if p.log, err = os.Create(filepath.Join(netns.Out, "bench-"+s.name+".log")); err != nil {
		return nil, err
	}
	if _, err := p.hub.Run(ctx, "ginnel", "key", "crowd"); err != nil {
		return nil, err
	}
	if err := p.hub.WriteFile("/etc/ginnel/ginnel.toml", county.HostConfig(), 0o644); err != nil {
		return nil, err
	}
	return p, p.hub.WriteFile("/etc/ginnel/desired.toml", c.config(), 0o644)
}

// benchCold takes the time from the start of an agent to the last of 1,000 sites
// on its device, and of the plain program with wg setconf.
func benchCold(ctx context.Context, s *stage) error {
	sites := crowd(pick(s, 1000, 200))
	p, err := newHub(ctx, s, sites)
	if err != nil {
		return err
	}
	private, _, err := wgKey(ctx, p.hub)
	if err != nil {
		return err
	}
	if err := p.hub.WriteFile("/run/wg.conf", sites.wgConfig(private, crowdPort, -1), 0o600); err != nil {
		return err
	}
	ours, theirs, err := inPairs(s, "s",
		func() (float64, error) { return p.coldOurs(ctx, sites) },
		func() (float64, error) { return p.coldPlain(ctx) })
	if err != nil {
		return err
	}
	s.row(beside(fmt.Sprintf("start to %d sites on the device", sites), "s", "wireguard-go and wg setconf", atMost(1.2), ours, theirs))
	return nil
}

// coldOurs starts the agent, waits for the last site, and clears all away.
func (p *pair) coldOurs(ctx context.Context, sites crowd) (float64, error) {
	began := time.Now()
	agent, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return 0, err
	}
	err = p.crowded(ctx, sites)
	took := time.Since(began)
	end(agent)
	if err != nil {
		return 0, err
	}
	return took.Seconds(), p.all(ctx, p.hub, "ginnel cleanup")
}

// coldPlain does the same with the plain program, in a session of its own.
func (p *pair) coldPlain(ctx context.Context) (float64, error) {
	began := time.Now()
	if err := p.all(ctx, p.hub, "setsid --wait wireguard-go wg-crowd", "wg setconf wg-crowd /run/wg.conf"); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took.Seconds(), p.all(ctx, p.hub, "ip link del wg-crowd")
}

// crowded waits until the hub's device has all sites.
func (p *pair) crowded(ctx context.Context, sites crowd) error {
	err := eventually(ctx, 5*time.Minute, func() bool {
		n := 0
		err := p.hub.Do(func() (err error) {
			n, err = peersOf("/run/wireguard/" + crowdDevice + ".sock")
			return err
		})
		return err == nil && n == int(sites)
	})
	if err != nil {
		return fmt.Errorf("%d sites on %s: %w", sites, crowdDevice, err)
	}
	return nil
}

// peersOf counts the peers of a device by its socket.
func peersOf(socket string) (int, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "get=1\n\n"); err != nil {
		return 0, err
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return 0, err
	}
	text, err := io.ReadAll(conn)
	return strings.Count(string(text), "public_key="), err
}

// benchIdle looks at the agent of a hub with 10,000 sites that has nothing to do.
func benchIdle(ctx context.Context, s *stage) error {
	sites := crowd(pick(s, 10000, 500))
	p, err := newHub(ctx, s, sites)
	if err != nil {
		return err
	}
	agent, err := p.start(p.hub, "ginnel", "run")
	if err != nil {
		return err
	}
	defer end(agent)
	began := time.Now()
	if err := p.crowded(ctx, sites); err != nil {
		return err
	}
	filled := time.Since(began)
	sleep(ctx, pick(s, 30*time.Second, 2*time.Second)) // its second look
	length := pick(s, 2*time.Minute, 5*time.Second)
	share, err := cpuShare(ctx, agent.Process.Pid, length)
	if err != nil {
		return err
	}
	rss, err := memoryOf(agent.Process.Pid, "status", "VmRSS")
	if err != nil {
		return err
	}
	s.row(result{Name: fmt.Sprintf("agent with %d sites, CPU when idle", sites), Value: share, Unit: "% of a core", Aim: "<= 1", Met: share <= 1,
		Detail: fmt.Sprintf("over %v; they were on the device after %.1f s", length, filled.Seconds())})
	s.row(result{Name: fmt.Sprintf("agent with %d sites, VmRSS", sites), Value: rss, Unit: "MiB", Aim: "<= 128", Met: rss <= 128,
		Detail: "half of what ginnel.service may have"})
	return nil
}

// cpuShare is what a process uses of one core, in percent.
func cpuShare(ctx context.Context, pid int, length time.Duration) (float64, error) {
	before, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	sleep(ctx, length)
	after, err := cpuOf(pid)
	return 100 * (after - before).Seconds() / length.Seconds(), err
}
