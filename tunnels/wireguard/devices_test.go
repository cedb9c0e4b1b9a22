package wireguard

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/key"
)

func open(t *testing.T) *Devices {
	t.Helper()
	d, err := New(Options{Backend: backend(), Launcher: Setsid{Program: program(t), Log: "/run/dataplane.log"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		if t.Failed() {
			log, _ := os.ReadFile("/run/dataplane.log")
			t.Logf("data planes said:\n%s", log)
		}
	})
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func one(t *testing.T, d *Devices, name string) (tunnels.Device, bool) {
	t.Helper()
	all, err := d.Observe(t.Context())
	must(t, err)
	i := slices.IndexFunc(all, func(x tunnels.Device) bool { return x.Name == name })
	if i < 0 {
		return tunnels.Device{}, false
	}
	return all[i], true
}

func prefixes(s ...string) (p []netip.Prefix) {
	for _, x := range s {
		p = append(p, netip.MustParsePrefix(x))
	}
	return p
}

// needsDataPlane ends a test that is about data-plane processes, where the
// kernel is tested.
func needsDataPlane(t *testing.T) {
	t.Helper()
	if backend() == Kernel {
		t.Skip("the kernel's WireGuard has no data plane")
	}
}

func TestDeviceFromNothingToNothing(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	private, other := key.NewPrivate(), key.NewPrivate()
	const name = "gn-kestrel-nab"

	must(t, d.Create(ctx, name))
	must(t, d.Create(ctx, name)) // adopts
	must(t, d.SetKey(ctx, name, private))
	must(t, d.SetPort(ctx, name, 51820))
	sh(t, "ip link set up "+name)
	peer := tunnels.Peer{PublicKey: other.Public(), PresharedKey: key.NewPreshared(),
		Endpoint: netip.MustParseAddrPort("192.0.2.7:51820"), Keepalive: 25 * time.Second,
		AllowedIPs: prefixes("100.64.0.1/32", "198.51.100.0/24", "2001:db8::/64")}
	must(t, d.AddPeer(ctx, name, peer))
	must(t, d.AddPeer(ctx, name, peer))

	got, ok := one(t, d, name)
	if !ok || got.Backend != string(backend()) || !got.Up || got.ListenPort != 51820 || got.PublicKey != private.Public() {
		t.Fatalf("device is there: %v, as %+v", ok, got)
	}
	if len(got.Peers) != 1 {
		t.Fatalf("peers: %+v", got.Peers)
	}
	p := got.Peers[0]
	slices.SortFunc(p.AllowedIPs, netip.Prefix.Compare)
	want := prefixes("100.64.0.1/32", "198.51.100.0/24", "2001:db8::/64")
	slices.SortFunc(want, netip.Prefix.Compare)
	if p.PublicKey != peer.PublicKey || p.Endpoint != peer.Endpoint || p.Keepalive != peer.Keepalive ||
		!p.PresharedKey.Equal(peer.PresharedKey) || !slices.Equal(p.AllowedIPs, want) || p.Seen.HandshakesFailed != -1 {
		t.Errorf("peer is %+v", p)
	}
	for what, shown := range map[string]string{
		"public-key": private.Public().String(), "listen-port": "51820", "peers": other.Public().String()} {
		if out := sh(t, "wg show "+name+" "+what); out != shown {
			t.Errorf("wg show %s: %q, want %q", what, out, shown)
		}
	}

	t.Run("changes only what is asked for", func(t *testing.T) {
		must(t, d.ChangePeer(ctx, name, tunnels.Peer{PublicKey: peer.PublicKey, Keepalive: 5 * time.Second},
			tunnels.PeerFields{Keepalive: true}))
		must(t, d.ChangePeer(ctx, name, tunnels.Peer{PublicKey: peer.PublicKey, AllowedIPs: prefixes("203.0.113.0/24")},
			tunnels.PeerFields{AddIPs: true}))
		p := first(t, d, name)
		if p.Keepalive != 5*time.Second || len(p.AllowedIPs) != 4 || p.Endpoint != peer.Endpoint || !p.PresharedKey.Equal(peer.PresharedKey) {
			t.Errorf("peer is %+v", p)
		}
		must(t, d.ChangePeer(ctx, name, tunnels.Peer{PublicKey: peer.PublicKey, AllowedIPs: prefixes("203.0.113.0/24")},
			tunnels.PeerFields{ReplaceIPs: true, Preshared: true}))
		p = first(t, d, name)
		if !slices.Equal(p.AllowedIPs, prefixes("203.0.113.0/24")) || !p.PresharedKey.IsZero() || p.Endpoint != peer.Endpoint {
			t.Errorf("peer is %+v", p)
		}
	})
	t.Run("makes no peer by a change", func(t *testing.T) {
		must(t, d.ChangePeer(ctx, name, tunnels.Peer{PublicKey: key.NewPrivate().Public(), AllowedIPs: prefixes("203.0.113.0/24")},
			tunnels.PeerFields{AddIPs: true}))
		if p := first(t, d, name); p.PublicKey != peer.PublicKey || len(p.AllowedIPs) != 1 {
			t.Errorf("peer is %+v", p)
		}
	})
	must(t, d.RemovePeer(ctx, name, peer.PublicKey))
	must(t, d.RemovePeer(ctx, name, peer.PublicKey))
	if got, _ := one(t, d, name); len(got.Peers) != 0 {
		t.Errorf("peers that are left: %+v", got.Peers)
	}
	must(t, d.Delete(ctx, name))
	must(t, d.Delete(ctx, name))
	if _, ok := one(t, d, name); ok {
		t.Error("the device is still there")
	}
	if left := sh(t, "ls -A /run/wireguard 2>/dev/null || true"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func first(t *testing.T, d *Devices, name string) tunnels.Peer {
	t.Helper()
	got, _ := one(t, d, name)
	if len(got.Peers) != 1 {
		t.Fatalf("want one peer, got %+v", got.Peers)
	}
	return got.Peers[0]
}

// A port that is written again is opened again, and packets on their way are
// lost. The socket's inode tells.
func TestUnchangedPortIsNotWrittenAgain(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	must(t, d.Create(ctx, "gn-dunlin"))
	must(t, d.SetKey(ctx, "gn-dunlin", key.NewPrivate()))
	must(t, d.SetPort(ctx, "gn-dunlin", 51833))
	sh(t, "ip link set up gn-dunlin")
	const udp = "cat /proc/net/udp | grep ':CA79 ' | awk '{print $10, $12}'"
	eventually(t, "socket is open", func() bool { return sh(t, udp+" || true") != "" })
	before := sh(t, udp)
	must(t, d.SetPort(ctx, "gn-dunlin", 51833))
	if after := sh(t, udp); after != before {
		t.Errorf("the socket was opened again: %s, before %s", after, before)
	}
	must(t, d.SetPort(ctx, "gn-dunlin", 51834))
	if after := sh(t, udp+" || true"); after != "" {
		t.Errorf("the old port is still open: %s", after)
	}
}

func TestPortTaken(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	must(t, d.Create(ctx, "gn-a"))
	must(t, d.Create(ctx, "gn-b"))
	must(t, d.SetPort(ctx, "gn-a", 51820))
	must(t, d.SetPort(ctx, "gn-b", 51999))
	sh(t, "ip link set up gn-a; ip link set up gn-b")
	open := func(port string) bool { return strings.Contains(sh(t, "cat /proc/net/udp"), ":"+port+" ") }
	eventually(t, "sockets are open", func() bool { return open("CA6C") && open("CB1F") })
	err := d.SetPort(ctx, "gn-b", 51820)
	if !errors.Is(err, ErrPortTaken) || hintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	if b, _ := one(t, d, "gn-b"); b.ListenPort != 51999 || !open("CB1F") {
		t.Errorf("it gave up the port that it had, and has %d", b.ListenPort)
	}
}

func hintOf(err error) string {
	if h, ok := errors.AsType[*Error](err); ok {
		return h.Hint()
	}
	return ""
}

// kill -9 of a data plane takes its link along, but not its socket, and wg(8)
// and wgctrl fail on all devices because of it.
func TestKilledDataPlane(t *testing.T) {
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	d, ctx := open(t), t.Context()
	must(t, d.Create(ctx, "gn-a"))
	must(t, d.Create(ctx, "gn-b"))
	p, ok := Running("gn-a")
	if !ok || p.PID == 0 || p.Version == "" {
		t.Fatalf("gn-a runs as %+v, %v", p, ok)
	}
	must(t, syscall.Kill(p.PID, syscall.SIGKILL))
	eventually(t, "the link is gone", func() bool { _, ok := one(t, d, "gn-a"); return !ok })
	if _, ok := one(t, d, "gn-b"); !ok {
		t.Error("the other device is gone too")
	}
	if state, err := lookAt("gn-a"); state != deadSocket || err != nil {
		t.Fatalf("a killed data plane left %v, %v: the test tests nothing", state, err)
	}
	swept, err := d.SweepSockets(ctx)
	if err != nil || !slices.Equal(swept, []string{"gn-a"}) {
		t.Errorf("swept %v, %v", swept, err)
	}
	sh(t, "wg show all dump")
	must(t, d.Create(ctx, "gn-a"))
	if q, ok := Running("gn-a"); !ok || q.PID == p.PID {
		t.Errorf("gn-a runs as %+v, %v", q, ok)
	}
}

// The way is cleared for a new data plane also without a sweep.
func TestCreateOverDeadSocket(t *testing.T) {
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	d, ctx := open(t), t.Context()
	must(t, d.Create(ctx, "gn-a"))
	p, _ := Running("gn-a")
	must(t, syscall.Kill(p.PID, syscall.SIGKILL))
	eventually(t, "it is dead", func() bool { state, err := lookAt("gn-a"); return err == nil && state == deadSocket })
	must(t, d.Create(ctx, "gn-a"))
	if _, ok := one(t, d, "gn-a"); !ok {
		t.Error("the device is not there")
	}
}

func TestStoppedDataPlaneHarmsNoOther(t *testing.T) {
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	d, ctx := open(t), t.Context()
	var said strings.Builder
	d.log = slog.New(slog.NewTextHandler(&said, nil))
	private := key.NewPrivate()
	for _, name := range []string{"gn-a", "gn-b"} {
		must(t, d.Create(ctx, name))
		must(t, d.SetKey(ctx, name, private))
	}
	p, _ := Running("gn-a")
	must(t, syscall.Kill(p.PID, syscall.SIGSTOP))
	patience = 2 * time.Second
	eventually(t, "gn-a is known to be silent", func() bool { one(t, d, "gn-a"); return strings.Contains(said.String(), "could not read") })
	for range 2 { // the second look does not wait for it again
		a, there := one(t, d, "gn-a")
		if !there || !a.PublicKey.IsZero() {
			t.Errorf("gn-a is there: %v, with %v", there, a.PublicKey)
		}
		if b, _ := one(t, d, "gn-b"); b.PublicKey != private.Public() {
			t.Errorf("gn-b has %v", b.PublicKey)
		}
	}
	if n := strings.Count(said.String(), "could not read a device"); n != 1 {
		t.Errorf("the log tells %d times of one change:\n%s", n, said.String())
	}
	err := d.SetKey(ctx, "gn-a", key.NewPrivate())
	if !errors.Is(err, ErrSilent) || hintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	must(t, syscall.Kill(p.PID, syscall.SIGCONT))
	eventually(t, "gn-a answers again", func() bool { a, _ := one(t, d, "gn-a"); return a.PublicKey == private.Public() })

	must(t, syscall.Kill(p.PID, syscall.SIGSTOP))
	must(t, d.Delete(ctx, "gn-a"))
	must(t, d.Create(ctx, "gn-a"))
	if q, ok := Running("gn-a"); !ok || q.PID == p.PID {
		t.Errorf("a new data plane was to be made, got %+v, %v", q, ok)
	}
}

func TestForeignLinkIsLeftAlone(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	sh(t, "ip link add gn-a type veth peer name other")
	if err := d.Create(ctx, "gn-a"); !errors.Is(err, ErrForeign) || hintOf(err) == "" {
		t.Errorf("got %v, hint %q", err, hintOf(err))
	}
	if err := d.SetKey(ctx, "gn-a", key.NewPrivate()); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v", err)
	}
	if _, ok := one(t, d, "gn-a"); ok {
		t.Error("it is taken for a device of ours")
	}
	sh(t, "ip tuntap add gn-b mode tun") // of a virtual machine, say
	if _, ok := one(t, d, "gn-b"); ok {
		t.Error("a link that no data plane answers for is taken for a device")
	}
	if err := d.Create(ctx, "gn-b"); !errors.Is(err, ErrForeign) {
		t.Errorf("got %v", err)
	}
	if err := d.Delete(ctx, "other"); err == nil {
		t.Error("deleted a link that is not ours")
	}
	if err := d.Create(ctx, "gn-Bad"); err == nil {
		t.Error("a data plane would refuse that name")
	}
}
