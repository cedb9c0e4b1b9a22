package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/agent/config/bundle"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/cmd/internal/centre"
	"github.com/ginnel/ginnel/cmd/internal/cli"
	"github.com/ginnel/ginnel/cmd/internal/fleet"
)

// members is what a list needs to know of a fleet.
type members interface {
	Gateways() []fleet.Gateway
	Gateway(name string) (fleet.Gateway, bool)
	KeyOf(gateway, network string) (fleet.Key, bool)
}

const siteHint = "ginnelctl sites lists those that are known"

// revocation shuts out the device that keys.csv has of a gateway.
func revocation(f members, name string) (bundle.Denial, error) {
	g, err := revocable(f, name)
	if err != nil {
		return bundle.Denial{}, err
	}
	d := bundle.Denial{Kind: bundle.Revoke, Gateways: []string{name}, Site: g.Site}
	for _, network := range g.Networks {
		if k, ok := f.KeyOf(name, network); ok {
			d.Keys = append(d.Keys, k.Public)
		}
	}
	if k, ok := f.KeyOf(name, fleet.Device); ok {
		if d.Device, err = deviceHash(k.Public); err != nil {
			return bundle.Denial{}, fmt.Errorf("keys.csv: %s: %w", name, err)
		}
	}
	if len(d.Keys) == 0 {
		return bundle.Denial{}, cli.WithHint(fmt.Errorf("keys.csv has no key of %s: no hub lets it in", name), "ginnelctl keys list")
	}
	return d, nil
}

// revocable finds a gateway that a list can shut out.
func revocable(f members, name string) (fleet.Gateway, error) {
	g, ok := f.Gateway(name)
	switch {
	case !ok:
		return g, cli.WithHint(fmt.Errorf("%s is not a gateway of this fleet", name), "a gateway's name, such as avocet-1; "+siteHint)
	case g.Hub:
		return g, cli.WithHint(fmt.Errorf("%s is a hub: a list shuts out who calls a hub", name), "take it out of fleet.toml, and push")
	}
	return g, nil
}

// formerDevices shuts out the devices that proved keys as a gateway and are not
// the one of keys.csv. What the collector shows of them is signed by themselves
// only: a key that somebody of the fleet has now is never shut out by it.
func formerDevices(f members, name string, all []centre.Keys) ([]bundle.Denial, error) {
	g, err := revocable(f, name)
	if err != nil {
		return nil, err
	}
	present, inUse := "", map[string]bool{}
	if k, ok := f.KeyOf(name, fleet.Device); ok {
		if present, err = deviceHash(k.Public); err != nil {
			return nil, fmt.Errorf("keys.csv: %s: %w", name, err)
		}
	}
	if present == "" {
		return nil, cli.WithHint(fmt.Errorf("keys.csv has no device of %s: which ones are former is not known", name), "ginnelctl keys list")
	}
	for _, other := range f.Gateways() {
		for _, network := range other.Networks {
			if k, ok := f.KeyOf(other.Name, network); ok {
				inUse[k.Public] = true
			}
		}
	}
	keys := map[string][]string{} // of a device
	for _, k := range all {
		if k.Gateway != name {
			continue
		}
		for _, p := range k.Proofs {
			st, err := p.Stated()
			sum := sha256.Sum256(st.Device)
			device := hex.EncodeToString(sum[:])
			if err != nil || st.Gateway != name || device == present {
				continue
			}
			for _, network := range slices.Sorted(maps.Keys(st.Keys)) {
				for _, public := range append(st.Former[network], st.Keys[network]) {
					if k := public.String(); !inUse[k] && !slices.Contains(keys[device], k) {
						keys[device] = append(keys[device], k)
					}
				}
			}
		}
	}
	var list []bundle.Denial
	for _, device := range slices.Sorted(maps.Keys(keys)) {
		list = append(list, bundle.Denial{Kind: bundle.Revoke, Gateways: []string{name}, Keys: keys[device], Device: device, Site: g.Site})
	}
	if len(list) == 0 {
		return nil, cli.WithHint(fmt.Errorf("no device but the one of keys.csv ever proved a key as %s", name), "without --former it is that one that is shut out")
	}
	return list, nil
}

// deviceHash is the SHA-256, in hex, of a device key as keys.csv has it.
func deviceHash(public string) (string, error) {
	pkix, err := base64.StdEncoding.DecodeString(public)
	if err != nil || len(pkix) == 0 {
		return "", errors.New("the device key is not base64")
	}
	sum := sha256.Sum256(pkix)
	return hex.EncodeToString(sum[:]), nil
}

// isolation shuts out a site's gateways, or an organisation's networks.
func isolation(f members, networks []fleet.Network, site, organisation string) (bundle.Denial, error) {
	d := bundle.Denial{Kind: bundle.Isolate, Site: site, Organisation: organisation}
	for _, n := range networks {
		if organisation != "" && n.Organisation == organisation {
			d.Networks = append(d.Networks, n.Name)
		}
	}
	for _, g := range f.Gateways() {
		switch {
		case site == "" || g.Site != site:
		case g.Hub:
			return d, cli.WithHint(fmt.Errorf("%s is a hub: a list shuts out who calls a hub", site), "take it out of fleet.toml, and push")
		default:
			d.Gateways = append(d.Gateways, g.Name)
		}
	}
	switch {
	case organisation != "" && len(d.Networks) == 0:
		return d, cli.WithHint(fmt.Errorf("%s has no network in this fleet", organisation), "an organisation as [organisation] in fleet.toml names it")
	case site != "" && len(d.Gateways) == 0:
		return d, cli.WithHint(fmt.Errorf("%s is not a site of this fleet", site), siteHint)
	}
	return d, nil
}

// isIsolation says whether a denial is that of a site or an organisation.
func isIsolation(d bundle.Denial, site, organisation string) bool {
	return d.Kind == bundle.Isolate && d.Site == site && d.Organisation == organisation
}

func isolated(l *bundle.DenyList, site, organisation string) bool {
	return l != nil && slices.ContainsFunc(l.Denials, func(d bundle.Denial) bool { return isIsolation(d, site, organisation) })
}

// tellChange prints the list as it will be, with what is another than now.
func tellChange(w io.Writer, now, next *bundle.DenyList, f members) error {
	before := &bundle.DenyList{}
	if now != nil {
		before = now
	}
	line := func(mark string, d bundle.Denial) error {
		_, err := fmt.Fprintf(w, "  %s %-8s %s\n", mark, d.Kind, cli.Printable(tellDenial(d, f)))
		return err
	}
	if _, err := fmt.Fprintf(w, "list %d, over %d: what is shut out, all of it\n\n", next.Number, before.Number); err != nil {
		return err
	}
	for _, d := range before.Denials {
		mark := " "
		if !has(next, d) {
			mark = "-"
		}
		if err := line(mark, d); err != nil {
			return err
		}
	}
	for _, d := range next.Denials {
		if !has(before, d) {
			if err := line("+", d); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintln(w, "\nAt once and without a trial; nobody else's tunnel changes.")
	return err
}

func has(l *bundle.DenyList, d bundle.Denial) bool {
	return slices.ContainsFunc(l.Denials, func(o bundle.Denial) bool { return reflect.DeepEqual(o, d) })
}

// tellDenial is a denial on a line or two: who, by which keys, and why.
func tellDenial(d bundle.Denial, f members) string {
	who := strings.Join(d.Gateways, ", ")
	if len(d.Networks) > 0 {
		who = fmt.Sprintf("%s: %s, with all %d gateways in it", d.Organisation, strings.Join(d.Networks, ", "), inNetworks(f, d.Networks))
	}
	if d.Kind == bundle.Revoke {
		var prints []string
		for _, k := range d.Keys {
			if raw, err := base64.StdEncoding.DecodeString(k); err == nil {
				prints = append(prints, identity.Fingerprint(raw))
			}
		}
		who += ", by its keys " + strings.Join(prints, ", ")
		if len(prints) == 0 {
			who = strings.TrimSuffix(who, ", by its keys ") + ", by name"
		}
	}
	if d.Why != "" {
		who += "\n             " + d.Why
	}
	return who
}

// inNetworks counts the gateways that are in one of the networks, but for hubs.
func inNetworks(f members, networks []string) (n int) {
	for _, g := range f.Gateways() {
		if !g.Hub && slices.ContainsFunc(g.Networks, func(name string) bool { return slices.Contains(networks, name) }) {
			n++
		}
	}
	return n
}
