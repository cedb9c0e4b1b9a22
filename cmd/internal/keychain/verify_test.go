package keychain

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/tunnels/key"
)

var day = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// gateway is one that proves keys.
type gateway struct {
	t    *testing.T
	name string
	id   *identity.Identity
}

func newGateway(t *testing.T, name string) *gateway {
	t.Helper()
	id, err := identity.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Prepare(); err != nil {
		t.Fatal(err)
	}
	return &gateway{t, name, id}
}

func (g *gateway) prove(s identity.Secret, networks ...string) identity.Proof {
	g.t.Helper()
	keys := map[string]key.Public{}
	for _, n := range networks {
		keys[n] = key.NewPrivate().Public()
	}
	p, err := g.id.Prove(g.name, keys, s)
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

// edit changes a proof as a collector could, which has none of the keys.
func edit(t *testing.T, p identity.Proof, change func(*identity.Statement)) identity.Proof {
	t.Helper()
	st, err := p.Claimed()
	if err != nil {
		t.Fatal(err)
	}
	st.Keys = maps.Clone(st.Keys)
	change(&st)
	p.Text, _ = json.Marshal(st)
	return p
}

// record is keys.csv after these proofs were taken.
func record(t *testing.T, gateway string, secret identity.Secret, proofs ...identity.Proof) []fleet.Key {
	t.Helper()
	st, err := Verify(gateway, proofs, []identity.Secret{secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Merge(nil, st, day).New
}

func without(p identity.Proof) identity.Proof { p.MAC = nil; return p }

// Whatever a collector can do with what it holds is refused, or waits for a
// person; and it is said where, and what was shown.
func TestSubstitutionIsSeen(t *testing.T) {
	secret, none := identity.NewSecret(), identity.Secret{}
	site := newGateway(t, "fulmar-1")
	first := site.prove(secret, "kestrel")
	second := site.prove(none, "heron")
	third := site.prove(none, "kestrel") // its file was lost, and it made another
	thief := newGateway(t, "fulmar-1")   // the collector's own device
	forged := thief.prove(identity.NewSecret(), "heron", "kestrel")
	hub := newGateway(t, "hub-north")
	hubs := hub.prove(secret, "kestrel")
	other := newGateway(t, "bittern-1").prove(secret, "kestrel")
	mine := func(p identity.Proof, network string) string {
		st, err := p.Claimed()
		if err != nil {
			t.Fatal(err)
		}
		return fingerprint(st.Keys[network])
	}
	swap := func(p identity.Proof, network string) identity.Proof {
		return edit(t, p, func(st *identity.Statement) { st.Keys[network] = key.Public{1} })
	}
	swapped := fingerprint(key.Public{1})
	_, both := mine(first, "kestrel"), record(t, "fulmar-1", secret, first, second)
	for _, tt := range []struct {
		name, gateway string
		shown         []identity.Proof
		secrets       []identity.Secret
		known         []fleet.Key
		want          string
	}{
		{"a site's key", "fulmar-1", []identity.Proof{swap(first, "kestrel")}, []identity.Secret{secret}, nil,
			"fulmar-1 kestrel " + swapped + ": a proof that the collector shows is spoilt: its signature is not of the device key"},
		{"a hub's key", "hub-north", []identity.Proof{swap(hubs, "kestrel")}, []identity.Secret{secret}, record(t, "hub-north", secret, hubs),
			"hub-north kestrel " + swapped + ": a proof that the collector shows is spoilt: its signature is not of the device key"},
		{"a later key", "fulmar-1", []identity.Proof{first, swap(second, "heron")}, nil, both,
			"fulmar-1 heron " + swapped + ": a proof that the collector shows is spoilt: its signature is not of the device key"},
		{"the device key in a proof", "fulmar-1", []identity.Proof{edit(t, first, func(st *identity.Statement) { st.Device = device(t, forged) })}, []identity.Secret{secret}, nil,
			"fulmar-1 kestrel " + mine(first, "kestrel") + ": a proof that the collector shows is spoilt: its signature is not of the device key"},
		{"another device before anything is known", "fulmar-1", []identity.Proof{forged}, []identity.Secret{secret}, nil,
			"fulmar-1 heron " + mine(forged, "heron") + ": no proof of it has the MAC of its pack's secret"},
		{"another device with the first one's MAC", "fulmar-1", []identity.Proof{{Text: forged.Text, MAC: first.MAC, Signature: forged.Signature}}, []identity.Secret{secret}, nil,
			"fulmar-1 heron " + mine(forged, "heron") + ": no proof of it has the MAC of its pack's secret"},
		{"another device instead", "fulmar-1", []identity.Proof{forged}, nil, both,
			"fulmar-1 heron " + mine(forged, "heron") + ": it is stated by another device than the one in keys.csv, and no pack's secret here vouches for that"},
		{"another device after ours", "fulmar-1", []identity.Proof{first, second, forged}, []identity.Secret{secret}, both,
			"fulmar-1 heron " + mine(forged, "heron") + ": it is stated by another device than the one in keys.csv, and no pack's secret here vouches for that"},
		{"the MAC is missing", "fulmar-1", []identity.Proof{without(first)}, []identity.Secret{secret}, nil,
			"fulmar-1 kestrel " + mine(first, "kestrel") + ": no proof of it has the MAC of its pack's secret"},
		{"nobody here can tell", "fulmar-1", []identity.Proof{first}, nil, nil,
			"fulmar-1 kestrel " + mine(first, "kestrel") + ": neither is the secret of its pack here, nor its device key in keys.csv"},
		{"an older proof again", "fulmar-1", []identity.Proof{first, second}, nil, record(t, "fulmar-1", secret, first, second, third),
			"fulmar-1 kestrel " + mine(first, "kestrel") + ": the collector shows proofs that are older than keys.csv, which has " + mine(third, "kestrel")},
		{"newer proofs dropped", "fulmar-1", []identity.Proof{first}, nil, both,
			"fulmar-1 heron: the collector shows proofs that are older than keys.csv, which has " + mine(second, "heron")},
		{"all proofs dropped", "fulmar-1", nil, []identity.Secret{secret}, both,
			"fulmar-1: the collector shows proofs that are older than keys.csv, which has " + both[0].Fingerprint},
		{"another gateway's proof", "fulmar-1", []identity.Proof{first, other}, []identity.Secret{secret}, nil,
			"fulmar-1: the collector shows a proof of bittern-1 for it"},
		{"a pack used twice", "fulmar-1", []identity.Proof{first, thief.prove(secret, "kestrel")}, []identity.Secret{secret}, nil,
			"fulmar-1 " + identity.Fingerprint(device(t, forged)) + ": two devices used the secret of one pack"},
		{"nonsense", "fulmar-1", []identity.Proof{{Text: []byte("x")}}, []identity.Secret{secret}, nil,
			"fulmar-1: a proof that the collector shows is spoilt: its text is not a statement"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			st, err := Verify(tt.gateway, tt.shown, tt.secrets, tt.known)
			if err == nil {
				t.Fatalf("believed: %+v", st)
			}
			if d := cmp.Diff(tt.want, err.Error()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.Hint() == "" || e.Gateway != tt.gateway {
				t.Errorf("no hint, or not for the gateway: %#v", err)
			}
		})
	}
	if _, err := Verify("fulmar-1", nil, nil, nil); !errors.Is(err, ErrWaiting) {
		t.Errorf("nothing there: %v", err)
	}
}

// Two copies of a disk that both made a key under the same number are two keys
// of one device.
func TestTwoKeysOfOneNumber(t *testing.T) {
	secret := identity.NewSecret()
	g := newGateway(t, "fulmar-1")
	first := g.prove(secret, "kestrel")
	dir := t.TempDir()
	copyDir(t, g.id.Dir(), dir)
	id, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	twin := &gateway{t, "fulmar-1", id}
	proofs := []identity.Proof{first, g.prove(identity.Secret{}, "heron"), twin.prove(identity.Secret{}, "heron")}
	_, err = Verify("fulmar-1", proofs, []identity.Secret{secret}, nil)
	if err == nil || !strings.Contains(err.Error(), "fulmar-1 heron") || !strings.Contains(err.Error(), "one device stated two keys") {
		t.Errorf("got %v", err)
	}
}

// A gateway's life in keys.csv: first seen, a network later, a key that it lost,
// and another machine in its place.
func TestLifeOfKeys(t *testing.T) {
	secret, later := identity.NewSecret(), identity.NewSecret()
	g := newGateway(t, "fulmar-1")
	proofs := []identity.Proof{g.prove(secret, "kestrel")}
	verify := func(secrets []identity.Secret, known []fleet.Key) Merged {
		t.Helper()
		st, err := Verify("fulmar-1", proofs, secrets, known)
		if err != nil {
			t.Fatal(err)
		}
		return Merge(known, st, day)
	}
	m := verify([]identity.Secret{secret}, nil)
	if networks(m) != "-+ kestrel+" || m.New[1].FirstSeen != "2026-11-20" || m.New[0].Public != encode(device(t, proofs[0])) {
		t.Fatalf("first: %s %+v", networks(m), m)
	}
	known := m.New
	// Any operator who has keys.csv verifies the next ones, without a secret.
	proofs = append(proofs, g.prove(identity.Secret{}, "heron"))
	if m = verify(nil, known); networks(m) != "heron+" {
		t.Errorf("a network later: %s", networks(m))
	}
	known = append(known, m.New...)
	if m = verify(nil, known); networks(m) != "" {
		t.Errorf("again: %s", networks(m))
	}
	proofs = append(proofs, g.prove(identity.Secret{}, "kestrel"))
	if m = verify(nil, known); networks(m) != "kestrel~" || m.Changed[0].Old != known[1] {
		t.Errorf("a lost key: %s", networks(m))
	}
	// Another machine, by a new pack; the old one's proofs are still shown.
	next := newGateway(t, "fulmar-1")
	proofs = append(proofs, next.prove(later, "kestrel", "heron", "merlin"))
	if m = verify([]identity.Secret{later, secret}, known); networks(m) != "-~ heron~ kestrel~ merlin~" || m.Changed[3].Old != (fleet.Key{}) {
		t.Errorf("replaced: %s", networks(m))
	}
	approved := slices.Clone(known[:0])
	for _, c := range m.Changed {
		approved = append(approved, c.New)
	}
	// Once approved, neither the other operator nor one with the first pack's
	// secret alone takes the old machine for the gateway.
	for _, secrets := range [][]identity.Secret{nil, {secret}, {later, secret}} {
		if m = verify(secrets, approved); networks(m) != "" {
			t.Errorf("after the approval, with %d secrets: %s", len(secrets), networks(m))
		}
	}
}

// What the device before had, and the next one has not, goes with the approval:
// else no proof would ever account for it, and the old device would keep its way
// in.
func TestReplacedInFewerNetworks(t *testing.T) {
	secret := identity.NewSecret()
	first, next := newGateway(t, "fulmar-1"), newGateway(t, "fulmar-1")
	st, err := Verify("fulmar-1", []identity.Proof{first.prove(secret, "kestrel", "heron")}, []identity.Secret{secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	known := Merge(nil, st, day).New
	proofs := []identity.Proof{next.prove(secret2, "kestrel")}
	if st, err = Verify("fulmar-1", proofs, []identity.Secret{secret2}, known); err != nil {
		t.Fatal(err)
	}
	m := Merge(known, st, day)
	if networks(m) != "heron- -~ kestrel~" {
		t.Fatalf("replaced: %s", networks(m))
	}
	if st, err = Verify("fulmar-1", proofs, nil, []fleet.Key{m.Changed[0].New, m.Changed[1].New}); err != nil || networks(Merge([]fleet.Key{m.Changed[0].New, m.Changed[1].New}, st, day)) != "" {
		t.Errorf("once approved: %v", err)
	}
	if _, err = Verify("fulmar-1", proofs, nil, append(m.Gone, m.Changed[0].New, m.Changed[1].New)); err == nil {
		t.Error("with the old device's row it would pass, too")
	}
}

var secret2 = identity.NewSecret()

// networks are a merge in short: "osprey- heron+ kestrel~".
func networks(m Merged) string {
	var all []string
	for _, k := range m.Gone {
		all = append(all, k.Network+"-")
	}
	for _, c := range m.Changed {
		all = append(all, c.New.Network+"~")
	}
	for _, k := range m.New {
		all = append(all, k.Network+"+")
	}
	return strings.Join(all, " ")
}

func device(t *testing.T, p identity.Proof) []byte {
	t.Helper()
	st, err := p.Claimed()
	if err != nil {
		t.Fatal(err)
	}
	return st.Device
}
