package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/tunnels/key"
)

// shutRig is a fleet, a signer of it, and a collector that takes lists.
type shutRig struct {
	t       *testing.T
	dir     string // of the fleet
	key     string // whose commands they are: alice's, a file
	bob     string // bob's
	signers bundle.Signers

	list   centre.List
	states []centre.GatewayState
	keys   []centre.Keys
}

const carol = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxl3DCwqiyph/isCgkfJRxcWh0SD24xIs2Gt8QZX9kW carol"

func newShutRig(t *testing.T) *shutRig {
	t.Helper()
	r := &shutRig{t: t, dir: t.TempDir()}
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", t.TempDir())
	r.must(os.CopyFS(r.dir, os.DirFS("../internal/fleet/testdata/county")))
	file := filepath.Join(r.dir, "fleet.toml")
	text := string(r.read(file))
	for _, name := range []string{"alice", "bob"} {
		private := filepath.Join(t.TempDir(), name)
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", private).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
		s, err := bundle.ParseSigner(string(r.read(private + ".pub")))
		r.must(err)
		r.signers = append(r.signers, s)
		before, after, _ := strings.Cut(text, " "+name+`"`)
		text = before[:strings.LastIndex(before, `"`)+1] + s.String() + `"` + after
		if r.bob = private; name == "alice" {
			r.key = private
		}
	}
	r.must(os.WriteFile(file, []byte(text), 0o600))
	mux := http.NewServeMux()
	answer := func(of func() any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(of()) }
	}
	mux.HandleFunc("GET /api/v1/list", answer(func() any { return r.list }))
	mux.HandleFunc("GET /api/v1/fleet", answer(func() any { return r.states }))
	mux.HandleFunc("GET /api/v1/keys", answer(func() any { return r.keys }))
	mux.HandleFunc("PUT /api/v1/list", func(w http.ResponseWriter, q *http.Request) {
		var l centre.NewList
		json.NewDecoder(q.Body).Decode(&l)
		r.list = centre.List{Bundle: l.Bundle, Reached: 2, All: 8}
		r.list.Number = r.inForce().Number
		json.NewEncoder(w).Encode(r.list)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	t.Setenv("GINNEL_COLLECTOR", srv.URL)
	return r
}

func (r *shutRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *shutRig) read(file string) []byte {
	r.t.Helper()
	raw, err := os.ReadFile(file)
	r.must(err)
	return raw
}

// inForce verifies the list that the collector was given.
func (r *shutRig) inForce() *bundle.DenyList {
	r.t.Helper()
	b, err := bundle.Parse(r.list.Bundle)
	r.must(err)
	if by, err := b.Verify(bundle.List, r.signers); err != nil || by.Name != filepath.Base(r.key) {
		r.t.Fatalf("signed by %q: %v", by.Name, err)
	}
	l, err := bundle.ParseList("list", b.Text)
	r.must(err)
	return l
}

// do runs a command as whoever has the key, and answers.
func (r *shutRig) do(answer string, args ...string) (out, errs string, code int) {
	r.t.Helper()
	var o, e bytes.Buffer
	args = append(args, "--fleet", r.dir, "--sign-with", r.key)
	code = run(r.t.Context(), args, cli.IO{In: strings.NewReader(answer), Out: &o, Err: &e})
	return o.String(), e.String(), code
}

// peers are those that a hub's config has, less what is shut out.
func (r *shutRig) peers(hub string) string {
	r.t.Helper()
	f, err := fleet.Load(r.dir)
	r.must(err)
	d, err := f.Compile(hub)
	r.must(err)
	c, err := config.Parse("hub.toml", d.Text(3))
	r.must(err)
	var all []string
	for _, n := range c.Without(r.inForce()).Networks {
		var names []string
		for _, s := range n.Sites {
			names = append(names, s.Name)
		}
		all = append(all, n.Name+": "+strings.Join(names, " "))
	}
	return strings.Join(all, "; ")
}

func TestIsolateAndReconnect(t *testing.T) {
	r := newShutRig(t)
	out, errs, code := r.do("n\n", "isolate", "avocet", "--why", "their LAN scans ours")
	if code != 1 || !strings.Contains(errs, "nothing was signed, nothing was sent") || r.list.Number != 0 {
		t.Fatalf("a no: exit %d: %s%s", code, out, errs)
	}
	want := `list 1, over 0: what is shut out, all of it

  + isolate  avocet-1
             their LAN scans ours

At once and without a trial; nobody else's tunnel changes.
Sign list 1 as alice and put it in force? [y/N] List 1 is sent: in force at 2 of 8 gateways, at the others with their next heartbeat.
Commit generations.csv.
`
	out, errs, code = r.do("y\n", "isolate", "avocet", "--why", "their LAN scans ours")
	if d := cmp.Diff(want, out); d != "" || code != 0 {
		t.Errorf("exit %d: %s\n%s", code, errs, d)
	}
	if got := r.peers("hub-north"); got != "kestrel: bittern-1; heron: dunlin-1 egret-1 egret-2" {
		t.Errorf("with avocet isolated: %s", got)
	}
	d := r.inForce().Denials[0]
	if d.By != "alice" || d.Site != "avocet" || time.Since(d.At) > time.Minute || time.Since(d.At) < 0 {
		t.Errorf("%+v", d)
	}
	out, _, code = r.do("", "isolate", "--organisation", "heron", "--why", "ransomware", "--yes")
	if code != 0 || strings.Count(out, "avocet-1") != 1 || !strings.Contains(out, "    isolate  avocet-1\n") || !strings.Contains(out, "  + isolate  heron: heron, with all 4 gateways in it\n             ransomware\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	if got := r.peers("hub-north"); got != "kestrel: bittern-1; heron: " {
		t.Errorf("with heron isolated: %s", got)
	}
	out, _, code = r.do("", "reconnect", "avocet", "--yes")
	if code != 0 || !strings.Contains(out, "list 3, over 2") || !strings.Contains(out, "  - isolate  avocet-1\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	if got := r.peers("hub-north"); got != "kestrel: avocet-1 bittern-1; heron: " {
		t.Errorf("with avocet reconnected: %s", got)
	}
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"reconnect", "avocet"}, 1, "avocet is not isolated"},
		{[]string{"isolate", "--organisation", "heron", "--why", "x"}, 1, "heron is isolated already"},
		{[]string{"isolate", "gannet", "--why", "x"}, 1, "gannet is not a site of this fleet"},
		{[]string{"isolate", "--organisation", "gannet", "--why", "x"}, 1, "gannet has no network in this fleet"},
		{[]string{"isolate", "hub-north", "--why", "x"}, 1, "hub-north is a hub"},
		{[]string{"isolate", "avocet"}, 2, "--why is missing"},
		{[]string{"isolate", "avocet", "--organisation", "heron", "--why", "x"}, 2, "a SITE, or --organisation ORG"},
		{[]string{"reconnect"}, 2, "a SITE, or --organisation ORG"},
		{[]string{"isolate", "avocet", "--why", "a\nb", "--yes"}, 1, "why: over 500 bytes, or not one line"},
	} {
		if out, errs, code := r.do("", c.args...); code != c.code || !strings.Contains(errs, c.err) {
			t.Errorf("%v: exit %d: %s%s", c.args, code, out, errs)
		}
	}
	if r.list.Number != 3 {
		t.Errorf("list %d", r.list.Number)
	}
}

// What the collector shows is held to the signers and to what gateways say.
func TestListsThatTheCollectorMakes(t *testing.T) {
	r := newShutRig(t)
	r.states = []centre.GatewayState{{Name: "hub-north", List: 8}}
	_, errs, code := r.do("y\n", "isolate", "avocet", "--why", "x")
	if code != 1 || !strings.Contains(errs, "hub-north has list 8, and the collector shows 0") || !strings.Contains(errs, "--after 8") {
		t.Errorf("a lost list: exit %d: %s", code, errs)
	}
	if out, errs, code := r.do("y\n", "isolate", "avocet", "--why", "x", "--after", "8"); code != 0 || r.list.Number != 9 {
		t.Errorf("made anew: exit %d, list %d: %s%s", code, r.list.Number, out, errs)
	}
	// A list of somebody who was a signer once is read before it is signed again.
	gone := r.signers[0]
	file := filepath.Join(r.dir, "fleet.toml")
	whole := r.read(file)
	r.must(os.WriteFile(file, bytes.Replace(whole, []byte(gone.String()), []byte(carol), 1), 0o600))
	r.key = r.bob
	_, errs, code = r.do("y\n", "reconnect", "avocet")
	if code != 1 || !strings.Contains(errs, "a key that is not accepted here: "+gone.Fingerprint()) || !strings.Contains(errs, "--anew") {
		t.Errorf("a former signer's: exit %d: %s", code, errs)
	}
	if out, errs, code := r.do("y\n", "reconnect", "--anew"); code != 0 || r.list.Number != 10 || !strings.Contains(out, "\n    isolate  avocet-1\n") {
		t.Errorf("signed again: exit %d, list %d: %s%s", code, r.list.Number, out, errs)
	}
	if out, errs, code := r.do("y\n", "isolate", "dunlin", "--why", "x"); code != 0 {
		t.Errorf("after that: exit %d: %s%s", code, out, errs)
	}
	r.list.Bundle = bytes.Replace(r.list.Bundle, []byte("avocet-1"), []byte("dunlin-1"), 1)
	_, errs, code = r.do("y\n", "reconnect", "avocet", "--anew")
	if code != 1 || !strings.Contains(errs, "the list that the collector shows: its signature is not of this text") {
		t.Errorf("an altered list: exit %d: %s", code, errs)
	}
}

// A collector that keeps a list back, and says so for its gateways, undoes none:
// the fleet's files remember the number.
func TestListThatIsKeptBack(t *testing.T) {
	r := newShutRig(t)
	if out, errs, code := r.do("y\n", "isolate", "avocet", "--why", "x"); code != 0 || !strings.Contains(out, "Commit generations.csv.") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	r.list = centre.List{}
	_, errs, code := r.do("y\n", "isolate", "dunlin", "--why", "y")
	if code != 1 || !strings.Contains(errs, "generations.csv has list 1, and the collector shows 0") || !strings.Contains(errs, "--after 1") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if out, errs, code := r.do("y\n", "isolate", "dunlin", "--why", "y", "--after", "1"); code != 0 || r.list.Number != 2 {
		t.Errorf("made anew: exit %d, list %d: %s%s", code, r.list.Number, out, errs)
	}
	if _, err := fleet.Load(r.dir); err != nil {
		t.Error(err)
	}
}

// device is another machine of bittern-1: its second key in kestrel, and the
// proof of it, which names the first as well.
func (r *shutRig) device() (key.Public, identity.Proof) {
	r.t.Helper()
	id, err := identity.Open(filepath.Join(r.t.TempDir(), "identity"))
	r.must(err)
	r.must(id.Prepare())
	var public key.Public
	var p identity.Proof
	for range 2 {
		public = key.NewPrivate().Public()
		p, err = id.Prove("bittern-1", map[string]key.Public{"kestrel": public}, identity.Secret{})
		r.must(err)
	}
	return public, p
}

func TestRevoke(t *testing.T) {
	r := newShutRig(t)
	oldKey, oldProof := r.device()
	newKey, newProof := r.device()
	st, err := newProof.Claimed()
	r.must(err)
	print := identity.Fingerprint
	decode := func(text string) []byte { raw, err := base64.StdEncoding.DecodeString(text); r.must(err); return raw }
	keys := string(r.read(filepath.Join(r.dir, "keys.csv")))
	keys = strings.Replace(keys, "uKcL54ceBy8K37wwHH9Vj67Za8P3vHGnoIznBTGbBCo=,CALM-37-UNIT-18", newKey.String()+","+print(decode(newKey.String())), 1)
	keys += fmt.Sprintf("bittern-1,-,%s,%s,2026-11-20\n", base64.StdEncoding.EncodeToString(st.Device), print(st.Device))
	r.must(os.WriteFile(filepath.Join(r.dir, "keys.csv"), []byte(keys), 0o600))
	was, err := oldProof.Claimed()
	r.must(err)
	hash := func(device []byte) string { sum := sha256.Sum256(device); return hex.EncodeToString(sum[:]) }

	r.keys = []centre.Keys{{Gateway: "bittern-1", Proofs: []identity.Proof{oldProof, newProof}}}
	out, errs, code := r.do("y\n", "revoke", "bittern-1", "--why", "replaced, job 4471", "--former")
	if code != 0 {
		t.Fatalf("the former one: exit %d: %s%s", code, out, errs)
	}
	d := r.inForce().Denials[0]
	if code != 0 || len(r.inForce().Denials) != 1 || len(d.Keys) != 2 || d.Keys[1] != oldKey.String() || d.Device != hash(was.Device) {
		t.Errorf("the former one: exit %d: %s%s%+v", code, out, errs, d)
	}
	if got := r.peers("hub-north"); got != "kestrel: avocet-1 bittern-1; heron: avocet-1 dunlin-1 egret-1 egret-2" {
		t.Errorf("its successor is let in: %s", got)
	}
	out, errs, code = r.do("y\n", "revoke", "bittern-1", "--why", "stolen")
	l := r.inForce()
	if code != 0 || l.Number != 2 || l.Denials[1].Keys[0] != newKey.String() || l.Denials[1].Device != hash(st.Device) || l.Revoked(hash(st.Device)) == nil {
		t.Errorf("the present one: exit %d: %s%s%+v", code, out, errs, l)
	}
	if got := r.peers("hub-north"); got != "kestrel: avocet-1; heron: avocet-1 dunlin-1 egret-1 egret-2" {
		t.Errorf("with both shut out: %s", got)
	}
	// A collector that claims somebody's key of now to be a former one.
	avocet, err := key.ParsePublic("3WgDtRHky1doT8aK74c3WQ5sdIefNAuekm170WcezD0=")
	r.must(err)
	liar, err := identity.Open(filepath.Join(t.TempDir(), "identity"))
	r.must(err)
	r.must(liar.Prepare())
	lie, err := liar.Prove("bittern-1", map[string]key.Public{"kestrel": avocet}, identity.Secret{})
	r.must(err)
	r.keys[0].Proofs = []identity.Proof{lie, newProof}
	if out, errs, code := r.do("y\n", "revoke", "bittern-1", "--why", "x", "--former"); code != 1 {
		t.Errorf("a lie: exit %d: %s%s%+v", code, out, errs, r.inForce().Denials)
	}
	for _, c := range []struct {
		args []string
		err  string
	}{
		{[]string{"hub-north"}, "hub-north is a hub"},
		{[]string{"gannet-1"}, "gannet-1 is not a gateway of this fleet"},
		{[]string{"fulmar-1"}, "keys.csv has no key of fulmar-1"},
		{[]string{"avocet-1", "--former"}, "keys.csv has no device of avocet-1"},
	} {
		if out, errs, code := r.do("y\n", append([]string{"revoke", "--why", "x"}, c.args...)...); code != 1 || !strings.Contains(errs, c.err) {
			t.Errorf("%v: exit %d: %s%s", c.args, code, out, errs)
		}
	}
	if r.list.Number != 2 {
		t.Errorf("list %d", r.list.Number)
	}
}
