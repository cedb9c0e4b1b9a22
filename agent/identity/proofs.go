package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/ginnel/ginnel/agent/internal/durable"
	"github.com/ginnel/ginnel/tunnels/key"
)

// proofsFile has the newest proof, and those that the collector has not said
// that it keeps. There is no secret in it.
const proofsFile = "proofs.json"

type proofs struct {
	Newest  *Proof  `json:"newest"`
	Waiting []Proof `json:"waiting"` // one with a MAC at the most, then one without
}

func (i *Identity) readProofs() error {
	text, err := os.ReadFile(i.path(proofsFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &i.proofs); err != nil {
		return fault(fmt.Errorf("%s: it cannot be read: %w", i.path(proofsFile), err), "remove it: the keys are proved anew")
	}
	return nil
}

// Prove states the public keys of networks together with all that were stated
// before, under the secret of the pack where there is one. It is durable when
// Prove returns, and waits for the collector: see Proofs. Where all of it was
// stated already, that proof is given again. Prepare must have been called.
func (i *Identity) Prove(gateway string, keys map[string]key.Public, s Secret) (Proof, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.key == nil {
		return Proof{}, errors.New("prove keys: there is no device key yet")
	}
	st, same, err := i.next(gateway, keys)
	if err != nil {
		return Proof{}, fmt.Errorf("prove keys: %w", err)
	}
	if same {
		for _, p := range append(slices.Clone(i.proofs.Waiting), *i.proofs.Newest) {
			if _, err := p.ByPack(s); err == nil || s.IsZero() {
				return p, nil
			}
		}
	}
	p, err := i.newProof(st, s)
	if err != nil {
		return Proof{}, fmt.Errorf("prove keys: %w", err)
	}
	waiting := slices.DeleteFunc(slices.Clone(i.proofs.Waiting), func(old Proof) bool { return !s.IsZero() || len(old.MAC) == 0 })
	return p, i.saveProofs(proofs{&p, append(waiting, p)})
}

// next is the statement that follows the newest; same: it would say nothing
// new. The caller holds mu.
func (i *Identity) next(gateway string, keys map[string]key.Public) (st Statement, same bool, err error) {
	device, err := i.DevicePublic()
	if err != nil {
		return st, false, err
	}
	st = Statement{Gateway: gateway, UID: i.uid.String(), Device: device, Number: 1, Keys: maps.Clone(keys), At: time.Now().UTC().Truncate(time.Second)}
	if i.proofs.Newest == nil {
		return st, false, nil
	}
	last, err := i.proofs.Newest.ByDevice(device)
	if err != nil { // of another device key, or spoilt: a new beginning
		return st, false, nil
	}
	same = last.Gateway == gateway && last.UID == st.UID
	st.Number, st.Keys, st.Former = last.Number+1, last.Keys, last.Former
	if st.Keys == nil {
		st.Keys = map[string]key.Public{}
	}
	for network, k := range keys {
		former, had := st.Keys[network]
		if former == k {
			continue
		}
		same = false
		if had {
			if st.Former == nil {
				st.Former = map[string][]key.Public{}
			}
			st.Former[network] = append(st.Former[network], former)
			if over := len(st.Former[network]) - maxFormer; over > 0 {
				st.Former[network] = st.Former[network][over:]
			}
		}
		st.Keys[network] = k
	}
	return st, same, nil
}

// Proofs are those that the collector has not said that it keeps.
func (i *Identity) Proofs() []Proof {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return slices.Clone(i.proofs.Waiting)
}

// Stated are the keys of the newest proof, by network; nil: none were proved.
func (i *Identity) Stated() map[string]key.Public {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.proofs.Newest == nil {
		return nil
	}
	st, err := i.proofs.Newest.Stated()
	if err != nil {
		return nil
	}
	return st.Keys
}

// Keep takes the collector's word that it keeps the proofs of these hashes.
func (i *Identity) Keep(hashes []string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(i.proofs.Waiting), func(p Proof) bool { return slices.Contains(hashes, p.Hash()) })
	if len(left) == len(i.proofs.Waiting) {
		return nil
	}
	return i.saveProofs(proofs{i.proofs.Newest, left})
}

func (i *Identity) saveProofs(p proofs) error {
	text, err := json.Marshal(p)
	if err == nil {
		err = durable.WriteFile(i.path(proofsFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("save the proofs of keys: %w", err)
	}
	i.proofs = p
	return nil
}
