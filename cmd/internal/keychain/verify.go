package keychain

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/tunnels/key"
)

// ErrWaiting is for a gateway that has proved nothing yet: waiting for a key,
// which is no mistake.
var ErrWaiting = errors.New("it has proved no key yet")

// Error is what the collector shows for a gateway and is not to be believed.
type Error struct {
	Gateway string
	Network string // empty: all of them
	Shown   string // fingerprint of the key that was shown; empty: none was
	Reason  string
	Advice  string
}

func (e *Error) Error() string {
	text := e.Gateway
	if e.Network != "" {
		text += " " + e.Network
	}
	if e.Shown != "" {
		text += " " + e.Shown
	}
	return text + ": " + e.Reason
}

// Hint is what to do next.
func (e *Error) Hint() string { return e.Advice }

const (
	substituted = "somebody changed it on the way: look at the collector before anything is pushed"
	heldBack    = "the collector is back from an older copy, or holds something back"
	packAnew    = "ginnelctl site add makes a new pack for the site; enrol with it"
)

// Verify gives what a gateway states of its keys now. proofs are those that the
// collector shows, oldest first; secrets those of its packs that are kept here,
// newest first; known its rows of keys.csv. A device is believed when a pack's
// secret vouches for it, or keys.csv has it; what it signed is believed by that.
// The error is an *Error, or wraps ErrWaiting.
func Verify(gateway string, proofs []identity.Proof, secrets []identity.Secret, known []fleet.Key) (identity.Statement, error) {
	v := verdict{gateway: gateway, known: known}
	for _, p := range proofs {
		if err := v.read(p, secrets); err != nil {
			return identity.Statement{}, err
		}
	}
	i := slices.IndexFunc(v.shown, func(s shown) bool { return s.vouched })
	switch {
	case len(v.shown) == 0 && len(known) == 0:
		return identity.Statement{}, fmt.Errorf("%s: %w", gateway, ErrWaiting)
	case len(v.shown) == 0:
		return identity.Statement{}, v.dropped(known[0], "")
	case i < 0:
		return identity.Statement{}, v.stranger(v.shown[0], len(secrets) > 0)
	}
	return v.newest()
}

// verdict is what is known of one gateway's proofs so far.
type verdict struct {
	gateway string
	known   []fleet.Key
	shown   []shown // newest first
}

type shown struct {
	identity.Statement
	vouched bool // its device is in keys.csv, or vouched for by the secret
	secret  int  // index of the secret that its MAC is of; -1: of none
}

// read takes one proof, which must at least be whole and this gateway's.
func (v *verdict) read(p identity.Proof, secrets []identity.Secret) error {
	st, err := p.Stated()
	if err != nil {
		return v.spoilt(p, err)
	}
	s := shown{Statement: st, secret: slices.IndexFunc(secrets, func(s identity.Secret) bool { _, err := p.ByPack(s); return err == nil })}
	if st.Gateway != v.gateway {
		return &Error{Gateway: v.gateway, Reason: "the collector shows a proof of " + st.Gateway + " for it", Advice: substituted}
	}
	s.vouched = s.secret >= 0 || v.device() == encode(st.Device)
	for i, o := range v.shown {
		same := bytes.Equal(o.Device, st.Device)
		if s.secret >= 0 && o.secret == s.secret && !same {
			return &Error{Gateway: v.gateway, Shown: identity.Fingerprint(st.Device),
				Reason: "two devices used the secret of one pack", Advice: "somebody has a copy of the pack: revoke the gateway and make a new one"}
		}
		if same && s.vouched {
			v.shown[i].vouched = true
		}
		s.vouched = s.vouched || same && o.vouched
	}
	v.shown = append([]shown{s}, v.shown...)
	return nil
}

// newest is the last word of the device that was vouched for last.
func (v *verdict) newest() (identity.Statement, error) {
	if !v.shown[0].vouched {
		return identity.Statement{}, v.stranger(v.shown[0], false)
	}
	last := v.shown[0].Statement
	own := slices.DeleteFunc(slices.Clone(v.shown), func(s shown) bool { return !bytes.Equal(s.Device, last.Device) })
	for _, s := range own {
		if s.Number > last.Number {
			last = s.Statement
		}
	}
	for _, s := range own {
		for network, k := range s.Keys {
			if !accounts(last, network, k) {
				return identity.Statement{}, &Error{Gateway: v.gateway, Network: network, Shown: fingerprint(k),
					Reason: "one device stated two keys, and neither takes the place of the other", Advice: "two copies of its disk? " + packAnew}
			}
		}
	}
	if v.device() == encode(last.Device) {
		for _, row := range v.known {
			if k, err := key.ParsePublic(row.Public); row.Network != fleet.Device && (err != nil || !accounts(last, row.Network, k)) {
				return identity.Statement{}, v.dropped(row, fingerprint(last.Keys[row.Network]))
			}
		}
	}
	return last, nil
}

// accounts says whether a statement knows a key, as a present or a former one.
func accounts(st identity.Statement, network string, k key.Public) bool {
	return st.Keys[network] == k || slices.Contains(st.Former[network], k)
}

// dropped is for a known key that what is shown does not know of.
func (v *verdict) dropped(row fleet.Key, fingerprint string) error {
	network := row.Network
	if network == fleet.Device {
		network = ""
	}
	return &Error{Gateway: v.gateway, Network: network, Shown: fingerprint,
		Reason: "the collector shows proofs that are older than keys.csv, which has " + row.Fingerprint, Advice: heldBack}
}

// spoilt is for a proof that nobody signed as it is: which key in it is new?
func (v *verdict) spoilt(p identity.Proof, err error) error {
	e := &Error{Gateway: v.gateway, Reason: "a proof that the collector shows is spoilt: " + err.Error(), Advice: substituted}
	st, claimErr := p.Claimed()
	if claimErr != nil {
		return e
	}
	for _, network := range slices.Sorted(maps.Keys(st.Keys)) {
		k := st.Keys[network]
		if e.Network == "" || !slices.ContainsFunc(v.known, func(r fleet.Key) bool { return r.Network == network && r.Public == k.String() }) {
			e.Network, e.Shown = network, fingerprint(k)
		}
	}
	return e
}

// stranger is for a device that nobody here vouches for.
func (v *verdict) stranger(s shown, secrets bool) error {
	e := &Error{Gateway: v.gateway, Shown: identity.Fingerprint(s.Device)}
	for _, network := range slices.Sorted(maps.Keys(s.Keys)) {
		e.Network, e.Shown = network, fingerprint(s.Keys[network])
		break
	}
	switch {
	case v.device() != "":
		e.Reason = "it is stated by another device than the one in keys.csv, and no pack's secret here vouches for that"
		e.Advice = "if the gateway was replaced: whoever made its new pack runs ginnelctl keys approve, and you git pull"
	case secrets:
		e.Reason, e.Advice = "no proof of it has the MAC of its pack's secret", substituted
	default:
		e.Reason = "neither is the secret of its pack here, nor its device key in keys.csv"
		e.Advice = "git pull; or have whoever made its pack run ginnelctl keys list first"
	}
	return e
}

// device is the device key in keys.csv; empty: it has none.
func (v *verdict) device() string {
	for _, row := range v.known {
		if row.Network == fleet.Device {
			return row.Public
		}
	}
	return ""
}

func encode(pkix []byte) string { return base64.StdEncoding.EncodeToString(pkix) }

func fingerprint(k key.Public) string {
	if k.IsZero() {
		return ""
	}
	return identity.Fingerprint(k[:])
}
