package control

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
)

func TestEnrolment(t *testing.T) {
	r := newRig(t)
	dir, file := filepath.Join(t.TempDir(), "identity"), filepath.Join(t.TempDir(), "avocet.toml")
	pack := r.pack("avocet", time.Hour)
	if err := identity.WritePack(file, pack); err != nil {
		t.Fatal(err)
	}
	pack, err := identity.ReadPack(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	shown := ""
	id, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: pack, Dir: dir, Version: "0.1.0",
		Progress: func(step string, ok bool, text string) {
			steps = append(steps, map[bool]string{true: "ok ", false: "FAIL "}[ok]+step)
			if step == uplink.StepKey {
				shown = text
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if want := identity.Fingerprint(id.Certificate().RawSubjectPublicKeyInfo) + ", made here, "; !strings.HasPrefix(shown, want) {
		t.Errorf("the technician is shown %q, and the desk %q", shown, want)
	}
	want := []string{"ok site pack", "ok device key", "ok certificate", "ok session", "ok token"}
	if d := cmp.Diff(want, steps); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}

	g, err := r.store.Gateway(t.Context(), "avocet-1")
	if err != nil || g.InstanceUID != id.UID().String() {
		t.Errorf("the store has gateway %+v, %v; want instance %s", g, err, id.UID())
	}
	c := id.Certificate()
	if c.Subject.CommonName != "avocet-1" || identity.InstanceOf(c) != id.UID().String() {
		t.Errorf("certificate of %q, URIs %v", c.Subject, c.URIs)
	}
	if life := time.Until(c.NotAfter).Round(time.Hour); life != deviceLife {
		t.Errorf("certificate lives %v, want %v", life, deviceLife)
	}
	if d := id.RenewAt().Sub(c.NotBefore) - (deviceLife+backdate)*2/3; d.Abs() > time.Minute {
		t.Errorf("renewal is due at %v of %v to %v", id.RenewAt(), c.NotBefore, c.NotAfter)
	}
	if a := r.server.Agents(); len(a) != 1 || a[0].Gateway != "avocet-1" || a[0].Version != "0.1.0" {
		t.Errorf("the session was not heard: %+v", a)
	}
	if got := r.events("enrol"); len(got) != 1 || got[0].Object != "avocet-1" || got[0].From != "127.0.0.1" {
		t.Errorf("audit: %+v", got)
	}

	again, err := identity.Open(dir)
	if err != nil || !again.Enrolled() || again.UID() != id.UID() {
		t.Fatalf("opened again: %v, %v", again, err)
	}
	if d := cmp.Diff(pack.Site, again.Site()); d != "" {
		t.Errorf("site (-pack +identity):\n%s", d)
	}
	if err := identity.SpendPack(file); err != nil {
		t.Fatal(err)
	}
	spent, err := identity.ReadPack(file)
	if err != nil || !errors.Is(spent.Usable(time.Now()), identity.ErrSpent) {
		t.Errorf("the pack's file: %v, usable: %v; want it spent", err, spent.Usable(time.Now()))
	}
	noSecretOnDisk(t, pack.Token, dir, filepath.Dir(file), r.dir)
}

// noSecretOnDisk looks for the token in all files, and at their modes.
func noSecretOnDisk(t *testing.T, token identity.Token, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), token.Reveal()) {
				t.Errorf("%s: the token is still in it", path)
			}
			if st, err := d.Info(); err == nil && strings.Contains(string(text), "PRIVATE KEY") && st.Mode().Perm() != 0o600 {
				t.Errorf("%s: a private key with mode %v", path, st.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	r := newRig(t)
	used := r.pack("bittern", time.Hour)
	if _, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: used, Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	wrong := r.pack("curlew", time.Hour)
	wrong.Token = identity.NewToken()
	swapped, owner := r.pack("egret", time.Hour), r.pack("fulmar", time.Hour)
	swapped.Token = owner.Token
	tests := []struct {
		name string
		pack identity.Pack
		code string
		text string
	}{
		{"wrong", wrong, "token_unknown", "enrol: certificate: the collector refused (401): this collector does not know the token"},
		{"used", used, "token_used", "enrol: certificate: the collector refused (401): the token was used already, by another device"},
		{"of another site", swapped, "token_other", "enrol: certificate: the collector refused (401): the token is not for egret-1"},
		{"expired", r.pack("dunlin", -time.Minute), "token_expired", "enrol: certificate: the collector refused (401): the token has expired"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := r.requests.Load()
			id, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: tt.pack, Dir: t.TempDir()})
			trouble, ok := errors.AsType[*uplink.Trouble](err)
			if !ok || id != nil {
				t.Fatalf("got %v, %v; want a refusal", id, err)
			}
			if trouble.Code != tt.code || err.Error() != tt.text || trouble.Hint() == "" {
				t.Errorf("code %q, hint %q, text:\n%s\nwant %q:\n%s", trouble.Code, trouble.Hint(), err, tt.code, tt.text)
			}
			if n := r.requests.Load() - before; n != 1 {
				t.Errorf("asked %d times, a refusal is final", n)
			}
			if n := len(r.events("enrol refused")); n != i+1 {
				t.Errorf("%d refusals in the audit log, want %d", n, i+1)
			}
		})
	}
	if _, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: owner, Dir: t.TempDir()}); err != nil {
		t.Errorf("the token that somebody else tried is spent: %v", err)
	}
}

// The answer of the first enrolment is lost; the token is spent by then.
func TestLostAnswer(t *testing.T) {
	r := newRig(t)
	var served atomic.Int64
	r.cut = func(*http.Request) bool { return served.Add(1) == 1 }
	id, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: r.pack("avocet", time.Hour), Dir: t.TempDir()})
	if err != nil || !id.Enrolled() {
		t.Fatalf("enrolled after a lost answer: %v", err)
	}
	if n := len(r.events("enrol")); n != 2 {
		t.Errorf("the collector gave %d certificates, want 2: one was lost", n)
	}
}

func TestEnrolmentChangesNothingWhenRefusedAtHome(t *testing.T) {
	r := newRig(t)
	good := r.pack("avocet", time.Hour)
	old, spent := good, good
	old.Expires, spent.Token = time.Now().Add(-time.Hour), identity.Token{}
	other := r.enrolled("bittern")
	for _, tt := range []struct {
		name string
		e    uplink.Enrolment
		want string
	}{
		{"expired", uplink.Enrolment{Pack: old, Dir: filepath.Join(t.TempDir(), "id")}, "enrol: site pack: the site pack has expired"},
		{"spent", uplink.Enrolment{Pack: spent, Dir: filepath.Join(t.TempDir(), "id")}, "enrol: site pack: the site pack was used already"},
		{"other", uplink.Enrolment{Pack: good, Dir: other.Dir()}, "enrol: site pack: this host is enrolled as bittern-1 already, the pack is for avocet-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := r.requests.Load()
			_, err := uplink.Enrol(t.Context(), tt.e)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if _, err := os.Stat(tt.e.Dir); err == nil && tt.name != "other" {
				t.Error("an identity directory was made")
			}
			if n := r.requests.Load() - before; n != 0 {
				t.Errorf("the collector was asked %d times", n)
			}
		})
	}
}

// A pack of one collector and the address of another: nothing secret is sent.
func TestForeignCollector(t *testing.T) {
	r, stranger := newRig(t), newRig(t)
	pack := r.pack("avocet", time.Hour)
	pack.Collector = []string{"https://" + stranger.addr}
	_, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: pack, Dir: t.TempDir()})
	trouble, ok := errors.AsType[*uplink.Trouble](err)
	if !ok || trouble.Kind != uplink.Foreign || !strings.Contains(err.Error(), "shows a certificate of a foreign CA, not the one of the site pack (it is by \"CN=Ginnel CA ") {
		t.Errorf("got %v", err)
	}
	if n := stranger.requests.Load(); n != 0 {
		t.Errorf("%d requests went to the stranger", n)
	}
}
