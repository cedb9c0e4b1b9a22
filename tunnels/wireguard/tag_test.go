package wireguard

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/tunnels/key"
)

// A link that somebody renamed is known by its tag, and is named back with its
// sessions and its data plane.
func TestRenamedLink(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	private := key.NewPrivate()
	must(t, d.Create(ctx, "gn-a"))
	must(t, d.SetKey(ctx, "gn-a", private))
	sh(t, "ip link set gn-a up")
	before, _ := Running("gn-a")
	for _, other := range []string{"other", "gn-other"} {
		sh(t, "ip link set gn-a down; ip link set gn-a name "+other+"; ip link set "+other+" up")
		found, there := one(t, d, "gn-a")
		if !there || found.Found != other || found.PublicKey != private.Public() {
			t.Errorf("renamed to %s it is there: %v, as %+v", other, there, found)
		}
		if swept, err := d.SweepSockets(ctx); err != nil || len(swept) != 0 {
			t.Errorf("swept %v, %v", swept, err)
		}
		must(t, d.NameBack("gn-a"))
		must(t, d.NameBack("gn-a"))
		if found, there := one(t, d, "gn-a"); !there || found.Found != "" || found.PublicKey != private.Public() || !found.Up {
			t.Errorf("named back it is there: %v, as %+v", there, found)
		}
	}
	sh(t, "ip link set gn-a alias ''")
	if found, there := one(t, d, "gn-a"); there != (backend() == Userspace) || there && !found.Untagged {
		t.Errorf("without its tag it is there: %v, as %+v", there, found)
	}
	must(t, d.Create(ctx, "gn-a")) // adopts
	if found, there := one(t, d, "gn-a"); !there || found.Untagged || found.PublicKey != private.Public() {
		t.Errorf("tagged again it is %+v", found)
	}
	if after, _ := Running("gn-a"); after != before {
		t.Errorf("its data plane was %+v, and is %+v", before, after)
	}

	if backend() == Kernel { // killed between making and tagging it
		sh(t, "ip link add gn-b type wireguard")
		if found, there := one(t, d, "gn-b"); !there || !found.Untagged {
			t.Errorf("without a tag and a key it is there: %v, as %+v", there, found)
		}
		must(t, d.Delete(ctx, "gn-b"))
	}

	sh(t, "ip link set gn-a down; ip link set gn-a name other; ip link add gn-a type veth peer name far")
	if err := d.NameBack("gn-a"); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "other") {
		t.Errorf("somebody else has the name: %v", err)
	}
	must(t, d.Delete(ctx, "gn-a"))
	links := sh(t, "ip -o link | awk '{print $2}'")
	if strings.Contains(links, "other") || !strings.Contains(links, "gn-a") {
		t.Errorf("ours was to be deleted, and not theirs: %s", links)
	}
}

// What has a name of ours, and is not.
func TestForeign(t *testing.T) {
	if !apart(t) {
		return
	}
	d, ctx := open(t), t.Context()
	own := key.NewPrivate()
	must(t, d.Create(ctx, "gn-ours"))
	must(t, d.SetKey(ctx, "gn-ours", own))
	sh(t, `ip link add gn-veth type veth peer name far; ip link add gn-bridge type bridge; ip tuntap add gn-tun mode tun
		ip link set gn-bridge alias "ginnel gn-bridge"`)
	for name, want := range map[string]string{"gn-ours": "", "gn-none": "", "gn-veth": "a veth link", "gn-bridge": "a bridge",
		"gn-tun": "a tun link without a data plane of ours"} {
		if got, err := d.Foreign(ctx, name, own.Public()); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
		if want == "" {
			continue
		}
		if err := d.Delete(ctx, name); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: deleted, %v", name, err)
		}
		if _, there := one(t, d, name); there {
			t.Errorf("%s is taken for ours", name)
		}
	}

	// One of ours without its tag, as a former version of us left it.
	sh(t, `ip link set gn-ours alias ""`)
	if got, err := d.Foreign(ctx, "gn-ours", own.Public()); got != "" || err != nil {
		t.Errorf("without a tag: %q, %v", got, err)
	}
	if got, _ := d.Foreign(ctx, "gn-ours", key.NewPrivate().Public()); (got != "") != (backend() == Kernel) {
		t.Errorf("without a tag, with another key: %q", got)
	}
	must(t, d.Create(ctx, "gn-ours"))
	if show := sh(t, "ip link show gn-ours"); !strings.Contains(show, "alias ginnel gn-ours") {
		t.Errorf("it was not tagged again: %s", show)
	}
}

// A data plane that hangs delays no look at the others, and is told as it was
// until it is known to be silent.
func TestLookPastStoppedDataPlane(t *testing.T) {
	if !apart(t) {
		return
	}
	needsDataPlane(t)
	d, ctx := open(t), t.Context()
	private := key.NewPrivate()
	names := []string{"gn-a", "gn-b", "gn-c", "gn-d"}
	for i, name := range names {
		must(t, d.Create(ctx, name))
		must(t, d.SetKey(ctx, name, private))
		must(t, d.SetPort(ctx, name, 51820+i))
	}
	_, _ = one(t, d, "gn-a")
	for _, name := range names[:2] {
		p, _ := Running(name)
		must(t, syscall.Kill(p.PID, syscall.SIGSTOP))
	}
	began := time.Now()
	var longest time.Duration
	silent := false
	for !silent && time.Since(began) < 10*time.Second {
		look := time.Now()
		all, err := d.Observe(ctx)
		must(t, err)
		longest = max(longest, time.Since(look))
		if len(all) != len(names) {
			t.Fatalf("%d devices are there", len(all))
		}
		i := slices.Index(names, all[0].Name)
		silent = i >= 0 && all[0].PublicKey.IsZero()
		if all[0].ListenPort != 51820+i {
			t.Fatalf("%s has port %d", all[0].Name, all[0].ListenPort)
		}
		if last := all[len(all)-1]; last.PublicKey != private.Public() {
			t.Fatalf("%s has %v", last.Name, last.PublicKey)
		}
	}
	if longest > time.Second || !silent {
		t.Errorf("the longest look took %v; silent: %v after %v", longest, silent, time.Since(began))
	}
	t.Logf("the longest look took %v, with two of four stopped", longest)
}
