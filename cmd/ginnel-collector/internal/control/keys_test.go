package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/agent/uplink"
	"github.com/ginnel/ginnel/agent/wire"
	"github.com/ginnel/ginnel/cmd/internal/keychain"
	"github.com/ginnel/ginnel/tunnels/key"
)

// disk is a gateway's keys by network, made on first use.
type disk map[string]key.Public

func (d disk) key(network string) (key.Public, error) {
	if _, ok := d[network]; !ok {
		d[network] = key.NewPrivate().Public()
	}
	return d[network], nil
}

// A gateway proves its keys at enrolment, and the operator who made the pack
// verifies them, whatever lies between.
func TestKeysReachTheOperator(t *testing.T) {
	r := newRig(t)
	pack, keys := r.pack("avocet", time.Hour), disk{}
	var steps []string
	id, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: pack, Dir: t.TempDir(), Keys: keys.key,
		Progress: func(step string, _ bool, text string) { steps = append(steps, step+": "+text) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(id.Proofs()) != 0 {
		t.Error("the collector keeps the proof, and the gateway does not know")
	}
	kestrel := keys["kestrel"]
	if !slices.Contains(steps, "key kestrel: "+identity.Fingerprint(kestrel[:])) {
		t.Errorf("the technician saw %q", steps)
	}
	st := r.verify("avocet-1", pack.Secret)
	if len(st.Keys) != 2 || st.Keys["kestrel"] != kestrel || st.Keys["heron"] != keys["heron"] {
		t.Errorf("stated %v, has %v", st.Keys, keys)
	}
	if e := r.events("keys"); len(e) != 1 || !strings.Contains(e[0].Detail, "kestrel "+identity.Fingerprint(kestrel[:])) {
		t.Errorf("%+v", e)
	}
	if snaps, _, err := r.store.Snapshot(t.Context(), "avocet-1"); err == nil {
		t.Errorf("an enrolment measured something: %+v", snaps)
	}
}

// verify is what the operator's desk makes of what the collector shows.
func (r *rig) verify(gateway string, s identity.Secret) identity.Statement {
	r.t.Helper()
	all, err := r.server.Keys(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, k := range all {
		if k.Gateway == gateway {
			st, err := keychain.Verify(gateway, k.Proofs, []identity.Secret{s}, nil)
			if err != nil {
				r.t.Fatal(err)
			}
			return st
		}
	}
	return identity.Statement{}
}

// The answer to the session is lost, and the program ends: the agent that starts
// later tells the proof until it hears that it is kept.
func TestLostProofIsSentAgain(t *testing.T) {
	r := newRig(t)
	pack, keys, dir := r.pack("avocet", time.Hour), disk{}, t.TempDir()
	sessions := 0
	r.cut = func(q *http.Request) bool {
		if len(q.TLS.PeerCertificates) > 0 {
			sessions++
			return sessions <= 3 // as often as Enrol tries
		}
		return false
	}
	e := uplink.Enrolment{Pack: pack, Dir: dir, Keys: keys.key}
	if _, err := uplink.Enrol(t.Context(), e); err == nil {
		t.Fatal("no session, and enrolled")
	}
	id, err := identity.Open(dir)
	if err != nil || len(id.Proofs()) != 1 || !id.Enrolled() {
		t.Fatalf("%d proofs wait, %v", len(id.Proofs()), err)
	}
	r.run(id, nil)
	eventually(t, "the collector keeps the proof", func() bool { return len(id.Proofs()) == 0 })
	if got := r.verify("avocet-1", pack.Secret); len(got.Keys) != 2 {
		t.Errorf("%v", got)
	}
	if e := r.events("keys"); len(e) != 1 {
		t.Errorf("told several times, recorded %d times", len(e))
	}
}

// Networks that are wanted later get a key by the device key alone; names that
// are none get nothing, and a key is asked for until it is there.
func TestKeysWantedLater(t *testing.T) {
	r := newRig(t)
	pack, keys := r.pack("avocet", time.Hour), disk{}
	id, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: pack, Dir: t.TempDir(), Keys: keys.key})
	if err != nil {
		t.Fatal(err)
	}
	asked := []string{"kestrel", "merlin"}
	if got := r.server.unproved("avocet-1", asked); !slices.Equal(got, []string{"merlin"}) {
		t.Errorf("wanted %v", got)
	}
	if got := r.server.unproved("bittern-1", asked); !slices.Equal(got, asked) {
		t.Errorf("of one that proved nothing %v", got)
	}
	if _, err := id.Prove("avocet-1", map[string]key.Public{"merlin": {7}}, identity.Secret{}); err != nil {
		t.Fatal(err)
	}
	r.run(id, nil)
	eventually(t, "the second proof is kept", func() bool { return len(id.Proofs()) == 0 })
	if got := r.server.unproved("avocet-1", asked); len(got) != 0 {
		t.Errorf("still wanted %v", got)
	}
	if st := r.verify("avocet-1", pack.Secret); st.Number != 2 || len(st.Keys) != 3 {
		t.Errorf("%+v", st)
	}
	r.stop()
	r.start()
	r.say(id, wire.Said{})
	if got := r.server.unproved("avocet-1", asked); len(got) != 0 {
		t.Errorf("after a restart of the collector %v", got)
	}
}

// What a gateway says about another, or does not sign, is not kept.
func TestProofsOfOthersAreNotKept(t *testing.T) {
	r := newRig(t)
	avocet, bittern := r.enrolled("avocet"), r.enrolled("bittern")
	prove := func(id *identity.Identity, gateway string) identity.Proof {
		p, err := id.Prove(gateway, map[string]key.Public{"kestrel": {byte(len(gateway))}}, identity.NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	spoilt := prove(avocet, "avocet-1")
	spoilt.Signature = nil
	for name, p := range map[string]identity.Proof{
		"signed by another device": prove(bittern, "avocet-1"),
		"of another gateway":       prove(avocet, "bittern-1"),
		"not signed":               spoilt,
		"nonsense":                 {Text: []byte("x")},
	} {
		told := r.say(avocet, wire.Said{Proofs: []identity.Proof{p}})
		if len(told.Known) != 0 {
			t.Errorf("%s: kept", name)
		}
	}
	if all, err := r.server.Keys(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("kept %+v, %v", all, err)
	}
	if n := len(r.events("refused")); n != 4 {
		t.Errorf("%d refusals in the log of acts", n)
	}
}

// say sends one message as a gateway, and gives what is told.
func (r *rig) say(id *identity.Identity, said wire.Said) (told wire.Told) {
	r.t.Helper()
	conf, err := id.TLSConfig(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	data, err := json.Marshal(said)
	if err != nil {
		r.t.Fatal(err)
	}
	uid := id.UID()
	body := message(r.t, &protobufs.AgentToServer{InstanceUid: uid[:], AgentDescription: &protobufs.AgentDescription{},
		CustomMessage: &protobufs.CustomMessage{Capability: wire.Capability, Type: wire.Gateway, Data: data}})
	resp, err := r.client(conf).Post("https://"+r.addr+Path, "application/x-protobuf", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	var reply protobufs.ServerToAgent
	if err := errors.Join(err, proto.Unmarshal(raw, &reply)); err != nil || resp.StatusCode != http.StatusOK {
		r.t.Fatalf("answered with %d, %v", resp.StatusCode, err)
	}
	if raw := reply.GetCustomMessage().GetData(); len(raw) > 0 {
		if err := json.Unmarshal(raw, &told); err != nil {
			r.t.Fatal(err)
		}
	}
	return told
}

// Two machines with one disk are named at the third contact at the latest, keep
// their sessions, and are one again when one of them is enrolled anew. A reboot
// is no second machine, nor is a restart of the collector.
func TestCopiedDiskIsNamed(t *testing.T) {
	r := newRig(t)
	id := r.enrolled("avocet")
	contact := func(boots ...string) {
		t.Helper()
		for _, b := range boots {
			r.say(id, wire.Said{Boot: b})
		}
	}
	contact("one", "one", "two", "two", "three") // reboots
	if got := r.server.Copies("avocet-1"); got != nil || len(r.events("two copies")) != 0 {
		t.Fatalf("reboots are taken for copies: %+v", got)
	}
	contact("four", "three")
	got := r.server.Copies("avocet-1")
	if len(got) != 2 || got[0].Boot != "three" || got[1].Boot != "four" || got[0].From == "" {
		t.Fatalf("%+v", got)
	}
	contact("four", "three", "four")
	r.stop()
	r.start()
	contact("three")
	if e := r.events("two copies"); len(e) != 1 || !strings.Contains(e[0].Detail, "three") || !strings.Contains(e[0].Detail, "four") {
		t.Errorf("%d acts: %+v", len(e), e)
	}
	if got := r.server.Copies("avocet-1"); len(got) != 2 {
		t.Errorf("forgotten at the restart: %+v", got)
	}
	r.clock(25 * time.Hour)
	if got := r.server.Copies("avocet-1"); got != nil {
		t.Errorf("not heard for a day: %+v", got)
	}
	r.clock(0)
	anew, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: r.pack("avocet", time.Hour), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.say(anew, wire.Said{Boot: "three"})
	if got := r.server.Copies("avocet-1"); got != nil {
		t.Errorf("another device, and still %+v", got)
	}
}

// However far an enrolment came before it was cut off, the next one, or the
// agent, ends with the same keys and with a proof that the operator believes.
func TestEnrolmentCutOffAnywhere(t *testing.T) {
	for _, last := range []string{uplink.StepPack, uplink.StepKey, uplink.StepNetwork + "kestrel", uplink.StepNetwork + "heron", uplink.StepCertificate} {
		t.Run(last, func(t *testing.T) {
			r := newRig(t)
			pack, keys, dir := r.pack("avocet", time.Hour), disk{}, t.TempDir()
			func() {
				defer func() {
					if recover() == nil {
						t.Error("it was not cut off")
					}
				}()
				uplink.Enrol(t.Context(), uplink.Enrolment{Pack: pack, Dir: dir, Keys: keys.key, Progress: func(step string, _ bool, _ string) {
					if step == last {
						panic("kill -9") // nothing of ours runs after it
					}
				}})
			}()
			half, err := identity.Open(dir)
			if err != nil || half.Enrolled() && len(half.Proofs()) == 0 {
				t.Errorf("enrolled, and the proof is lost: %v", err)
			}
			before := maps.Clone(keys)
			id, err := uplink.Enrol(t.Context(), uplink.Enrolment{Pack: pack, Dir: dir, Keys: keys.key})
			if err != nil || len(id.Proofs()) != 0 {
				t.Fatalf("again: %v", err)
			}
			st := r.verify("avocet-1", pack.Secret)
			if st.Number != 1 || len(st.Keys) != 2 {
				t.Errorf("%+v", st)
			}
			for n, k := range before {
				if st.Keys[n] != k {
					t.Errorf("another key for %s", n)
				}
			}
		})
	}
}
