package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/config/bundle/bundletest"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/keychain"
	"github.com/ginnel/ginnel/tunnels/key"
)

const fleetTOML = `
[rollout]
rings = ["canary", "rest"]
pause = { gateways = 1, share = "2%", within = "10m" }

[organisation]
kestrel = "Kestrel Practices (invented)"

[network.kestrel]
organisation = "kestrel"
overlay      = "100.64.0.0/18"
hubs         = ["hub-north"]

[hub.hub-north]
endpoints.kestrel = ["192.0.2.10:51820"]
lan               = { kestrel = ["198.51.100.0/24"] }
`

// bench is a desk: a fleet's folder, an operator's key, and a collector that
// believes what it is told, with gateways that do what it says.
type bench struct {
	t    testing.TB
	dir  string
	toml string
	key  string // file of the operator's key
	pub  bundle.Signer
	mu   sync.Mutex
	ids  map[string]*identity.Identity
	said map[string]*centre.GatewayState

	proofs   map[string][]identity.Proof
	bundles  map[string][]byte
	pushed   []centre.NewRollout
	rollouts []centre.Rollout // the newest first
	refuse   *centre.Problem  // of the next push
	status   int
	freeze   centre.Freeze
	lists    int // that were put in force
	list     []byte
}

// nowhere is an address at which no service answers.
const nowhere = "198.51.100.29"

func newBench(t *testing.T) *bench {
	t.Helper()
	b := newDesk(t)
	for _, g := range []string{"hub-north", "avocet-1", "bittern-1"} {
		b.enrol(g)
	}
	return b
}

// newDesk is one of whose gateways none is enrolled.
func newDesk(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), ids: map[string]*identity.Identity{}, said: map[string]*centre.GatewayState{},
		proofs: map[string][]identity.Proof{}, bundles: map[string][]byte{}}
	b.key, b.pub = operatorKey(t, "alice")
	_, other := operatorKey(t, "bob")
	b.toml = "signers = [\n  \"" + b.pub.String() + "\",\n  \"" + other.String() + "\",\n]\n" + fleetTOML
	b.write("fleet.toml", b.toml)
	b.write("sites.csv", "site,name,kind,ring\navocet,Avocet Surgery,gp,canary\nbittern,Bittern Practice,gp,rest\n")
	b.write("attachments.csv", "site,network,lan,as\navocet,kestrel,192.168.10.0/24,\nbittern,kestrel,192.168.20.0/24,\n")
	t.Setenv(keychain.StoreVariable, t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", "")
	srv := httptest.NewServer(b.api())
	t.Cleanup(srv.Close)
	t.Setenv("GINNEL_COLLECTOR", srv.URL)
	return b
}

// operatorKey is a key in a file, as ssh-keygen makes it.
func operatorKey(t testing.TB, name string) (file string, pub bundle.Signer) {
	t.Helper()
	o := bundletest.New(name)
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, o.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, o.Accepted()
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string) string {
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	return string(text)
}

// enrol makes a gateway's pack, device and key, as site add and enrol do.
func (b *bench) enrol(gateway string) { b.enrolIn(gateway, "kestrel") }

func (b *bench) enrolIn(gateway string, networks ...string) {
	b.t.Helper()
	store, err := keychain.OpenStore()
	if err != nil {
		b.t.Fatal(err)
	}
	secret := identity.NewSecret()
	if err := store.Add(gateway, secret); err != nil {
		b.t.Fatal(err)
	}
	id, err := identity.Open(b.t.TempDir())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := id.Prepare(); err != nil {
		b.t.Fatal(err)
	}
	keys := map[string]key.Public{}
	for _, n := range networks {
		keys[n] = key.NewPrivate().Public()
	}
	p, err := id.Prove(gateway, keys, secret)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ids[gateway] = id
	b.arrived(gateway, strings.TrimSuffix(gateway, "-1"), p)
}

// arrived is what the collector keeps of a gateway that enrolled.
func (b *bench) arrived(gateway, site string, p identity.Proof) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proofs[gateway] = append(b.proofs[gateway], p)
	wanted := b.wanted(gateway) // is given to the next device, too
	b.said[gateway] = &centre.GatewayState{Name: gateway, Site: site, Enrolled: time.Now(), LastSeen: time.Now(), Desired: wanted, Running: wanted}
}

// wanted is what the last push wanted of a gateway.
func (b *bench) wanted(gateway string) centre.ConfigRef {
	if s := b.said[gateway]; s != nil {
		return s.Desired
	}
	return centre.ConfigRef{}
}

// do runs ginnelctl in the fleet's folder, with an answer to what it asks.
func (b *bench) do(answer string, args ...string) (out string, code int) {
	b.t.Helper()
	b.t.Chdir(b.dir)
	var o, e bytes.Buffer
	code = run(b.t.Context(), args, cli.IO{In: strings.NewReader(answer), Out: &o, Err: &e})
	return o.String() + e.String(), code
}

// want does so, and fails unless the code and every word are there.
func (b *bench) want(code int, words []string, args ...string) string {
	b.t.Helper()
	out, got := b.do("y\n", args...)
	if got != code {
		b.t.Errorf("%v: exit %d, want %d:\n%s", args, got, code, out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			b.t.Errorf("%v: %q is not in\n%s", args, w, out)
		}
	}
	return out
}

func (b *bench) api() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, int)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			b.mu.Lock()
			defer b.mu.Unlock()
			v, status := f(r)
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(v)
		})
	}
	handle("GET /api/v1/ca", func(*http.Request) (any, int) {
		return centre.CA{URL: "https://collector.example.net:8443", PEM: testCA}, 200
	})
	handle("POST /api/v1/sites", func(*http.Request) (any, int) { return centre.Site{}, 200 })
	handle("GET /api/v1/fleet", func(*http.Request) (any, int) {
		all := []centre.GatewayState{}
		for _, s := range b.said {
			all = append(all, *s)
		}
		return all, 200
	})
	handle("GET /api/v1/keys", func(*http.Request) (any, int) {
		all := []centre.Keys{}
		for g, p := range b.proofs {
			all = append(all, centre.Keys{Gateway: g, Proofs: p})
		}
		return all, 200
	})
	handle("POST /api/v1/configs", func(r *http.Request) (any, int) {
		var asked centre.Hashes
		json.NewDecoder(r.Body).Decode(&asked)
		got := centre.Bundles{Bundles: map[string][]byte{}}
		for _, h := range asked.Hashes {
			if raw, ok := b.bundles[h]; ok {
				got.Bundles[h] = raw
			}
		}
		return got, 200
	})
	handle("GET /api/v1/rollouts", func(*http.Request) (any, int) { return b.rollouts, 200 })
	handle("GET /api/v1/rollouts/{id}", func(*http.Request) (any, int) { return b.rollouts[0], 200 })
	handle("POST /api/v1/rollouts/{id}/{move}", func(*http.Request) (any, int) {
		b.rollouts[0].State = centre.RolloutUndone
		return b.rollouts[0], 200
	})
	handle("GET /api/v1/audit", func(*http.Request) (any, int) { return []centre.Act{}, 200 })
	handle("GET /api/v1/list", func(*http.Request) (any, int) {
		return centre.List{Number: uint64(b.lists), Bundle: b.list, All: len(b.said)}, 200
	})
	handle("PUT /api/v1/list", func(r *http.Request) (any, int) {
		var asked centre.NewList
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			return centre.Problem{Error: err.Error()}, 400
		}
		b.lists, b.list = b.lists+1, asked.Bundle
		return centre.List{Number: uint64(b.lists), Bundle: b.list, All: len(b.said)}, 200
	})
	handle("GET /api/v1/freeze", func(*http.Request) (any, int) { return b.freeze, 200 })
	handle("POST /api/v1/rollouts", func(r *http.Request) (any, int) {
		var asked centre.NewRollout
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			return centre.Problem{Error: err.Error()}, 400
		}
		if b.refuse != nil {
			return b.refuse, b.status
		}
		return b.takeAll(asked), 200
	})
	return mux
}

// takeAll has every gateway run what it is pushed, unless it leads nowhere: then
// the first one goes back, and the rest is not offered it.
func (b *bench) takeAll(asked centre.NewRollout) centre.Rollout {
	ring := centre.RingState{Name: "all", All: len(asked.Pushes), Applied: len(asked.Pushes)}
	r := centre.Rollout{ID: "1", Name: asked.Name, By: "alice", State: centre.RolloutDone}
	for _, p := range asked.Pushes {
		signed, err := bundle.Parse(p.Bundle)
		if err != nil {
			b.t.Error(err)
			continue
		}
		if _, err := signed.Verify(bundle.Config, bundle.Signers{b.pub}); err != nil {
			b.t.Error(err)
		}
		c, err := config.Parse(p.Gateway, signed.Text)
		if err != nil {
			b.t.Error(err)
			continue
		}
		b.bundles[signed.Hash()] = p.Bundle
		s := b.said[p.Gateway]
		if s.Desired != p.Over {
			b.t.Errorf("%s: pushed over %+v, which is %+v", p.Gateway, p.Over, s.Desired)
		}
		s.Desired, s.Mark = centre.ConfigRef{Generation: c.Generation, Hash: signed.Hash()}, c.Generation
		if strings.Contains(string(signed.Text), nowhere) {
			s.State = block.ConfigFailed
			ring.Applied, ring.Failed = 0, 1
			r.State, r.Reason = centre.RolloutPaused, "1 of 1 failed"
			r.Gateways = []centre.PushState{{Gateway: p.Gateway, State: "failed", Reason: "records was good and is dead"}}
			break
		}
		s.Running, s.State = s.Desired, block.ConfigApplied
	}
	b.pushed = append(b.pushed, asked)
	r.Rings = []centre.RingState{ring}
	b.rollouts = append([]centre.Rollout{r}, b.rollouts...)
	return r
}
