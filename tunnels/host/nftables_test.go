package host

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/tunnels"
	"github.com/ginnel/ginnel/tunnels/wireguard"
)

// withoutNetfilter makes the calling thread's kernel answer as one without
// nfnetlink, for good.
func withoutNetfilter(t *testing.T) {
	t.Helper()
	stmt := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: k}
	}
	const number, family, protocol = 0, 16, 32 // in struct seccomp_data
	load := uint16(unix.BPF_LD | unix.BPF_W | unix.BPF_ABS)
	program := []unix.SockFilter{
		stmt(load, number), unless(unix.SYS_SOCKET, 5),
		stmt(load, family), unless(unix.AF_NETLINK, 3),
		stmt(load, protocol), unless(unix.NETLINK_NETFILTER, 1),
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.EPROTONOSUPPORT)),
		stmt(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW),
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	must(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	must(t, unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0))
}

// A kernel without nftables can be looked at, and starts no network; it is said
// what is missing. Links and routes are watched all the same.
func TestWithoutNftables(t *testing.T) {
	if !apart(t) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and end with it
		withoutNetfilter(t)
		h := open(t)
		err := h.Nftables()
		hint, _ := errors.AsType[*wireguard.Error](err)
		if !errors.Is(err, ErrNoNftables) || hint == nil || !strings.Contains(hint.Hint(), "modprobe nf_tables") {
			t.Errorf("it says %v", err)
		}
		if _, err := h.Observe(t.Context()); err != nil {
			t.Errorf("the host cannot be looked at: %v", err)
		}
		if _, _, blocked, err := h.ForwardBlock(t.Context()); blocked || err != nil {
			t.Errorf("blocked: %v, %v", blocked, err)
		}
		for _, op := range []tunnels.Op{tunnels.Add, tunnels.Remove} {
			step := tunnels.Step{Op: op, Kind: tunnels.FilterKind, Filter: &tunnels.Filter{Table: "ginnel_a"}}
			if err := h.Apply(t.Context(), step); !errors.Is(err, ErrNoNftables) {
				t.Errorf("%c: %v", op, err)
			}
		}
	}()
	<-done
	h := open(t)
	if err := h.Nftables(); err != nil {
		t.Errorf("where nftables are: %v", err)
	}
}

// What is invalid or not supported is no kernel without nftables where there are
// some.
func TestWrongIsNotMissing(t *testing.T) {
	if !apart(t) {
		return
	}
	h := open(t)
	table := h.nft.AddTable(&nftables.Table{Name: "filter", Family: nftables.TableFamilyINet})
	h.nft.AddChain(&nftables.Chain{Name: "forward", Table: table, // no such chain can be there
		Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
	wrong := h.nft.Flush()
	if !unsupported(wrong) {
		t.Fatalf("the kernel says %v: the test tests nothing", wrong)
	}
	for _, err := range []error{wrong, unix.EINVAL, fmt.Errorf("list: %w", unix.EINVAL), unix.EAFNOSUPPORT} {
		if noNftables(err) {
			t.Errorf("%v is taken for a kernel without nftables", err)
		}
	}
	if left := sh(t, "nft list ruleset"); left != "" {
		t.Errorf("asking left %s", left)
	}
}

// A table of ours that somebody else puts something into is made anew, and it
// is said that somebody did.
func TestForeignInOurTable(t *testing.T) {
	if !apart(t) {
		return
	}
	county(t)
	h := open(t)
	var said strings.Builder
	h.log = slog.New(slog.NewTextHandler(&said, nil))
	converge(t, h, siteSpec)
	before := sh(t, "nft -s list ruleset")
	if said.Len() != 0 {
		t.Errorf("nobody else did anything: %s", said.String())
	}
	for _, fill := range []string{
		"add rule inet ginnel_kestrel forward accept",
		"insert rule inet ginnel_kestrel input counter accept comment foreign",
		"add chain inet ginnel_kestrel theirs { type filter hook forward priority -10; policy drop; }",
		"add chain inet ginnel_kestrel theirs; add rule inet ginnel_kestrel theirs drop; add rule inet ginnel_kestrel forward jump theirs",
		"add set inet ginnel_kestrel theirs { type ipv4_addr; }; add rule inet ginnel_kestrel forward ip saddr @theirs accept",
		"flush table inet ginnel_kestrel",
		"delete table inet ginnel_kestrel; add table inet ginnel_kestrel; add chain inet ginnel_kestrel theirs",
	} {
		said.Reset()
		h.evidence.spoilt = nil
		sh(t, "nft '"+fill+"'")
		steps := converge(t, h, siteSpec)
		if len(steps) != 1 || !strings.Contains(steps[0], "filter") {
			t.Errorf("%s: steps %q", fill, steps)
		}
		if after := sh(t, "nft -s list ruleset"); after != before {
			t.Errorf("%s: left over:\n%s", fill, after)
		}
		if n := strings.Count(said.String(), "somebody else changed our nftables table"); n != 1 {
			t.Errorf("%s: it is said %d times: %s", fill, n, said.String())
		}
	}
}
