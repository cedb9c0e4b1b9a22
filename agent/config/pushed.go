package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/ginnel/ginnel/agent/config/bundle"
)

// What only a pushed config needs: who may sign the next one, where the
// collector is, and how long a change may take to prove itself.

// Bounds of what a pushed config may say.
const (
	signersMin         = 2 // of a pushed config: one may be lost
	signersMax         = 32
	collectorsMax      = 16
	DefaultTrial       = 90 * time.Second
	trialMin, trialMax = 10 * time.Second, time.Hour
)

const signerHint = "a line as in ~/.ssh/id_ed25519.pub"

// signers reads the keys that may sign the next config, each of them once.
func (t table) signers(generation uint64) []string {
	var list []string
	first := map[string]string{} // fingerprint -> path
	for _, e := range t.strings("signers", "") {
		if strings.Contains(e.text, "PRIVATE KEY") {
			t.r.problem(e.at, e.path, "take it out of here; its public half belongs here, "+signerHint, "a secret key must not be in this file")
			continue
		}
		s, err := bundle.ParseSigner(e.text)
		if err != nil {
			t.r.problem(e.at, e.path, signerHint, "%s is %v", show(e.text), err)
			continue
		}
		list = append(list, s.String())
		print := s.Fingerprint()
		if earlier, taken := first[print]; taken {
			t.r.problem(e.at, e.path, "every signer has a key of their own", "is the key of %s as well", earlier)
			continue
		}
		first[print] = e.path
	}
	const two = "the public keys of two operators at least: one may be lost"
	switch v, n := t.v.of["signers"], len(list); {
	case generation > 0 && v == nil:
		t.missing("signers", two)
	case generation > 0 && n < signersMin && v.kind == arrayKind && n == len(v.list):
		t.problem("signers", two, "has %s; a config with a generation needs %d", plural(n, "key"), signersMin)
	case n > signersMax:
		t.problem("signers", "", "has %d keys, at most %d", n, signersMax)
	}
	return list
}

// collectors reads the URLs of the collector, the preferred one first.
func (t table) collectors() []string {
	const form = "as in https://collector.example.net"
	var list []string
	first := map[string]string{} // URL -> path
	for _, e := range t.strings("collector", "") {
		if err := checkCollector(e.text); err != nil {
			t.r.problem(e.at, e.path, form, "%v", err)
			continue
		}
		if earlier, taken := first[e.text]; taken {
			t.r.problem(e.at, e.path, "", "is %s as well", earlier)
			continue
		}
		first[e.text] = e.path
		list = append(list, e.text)
	}
	if n := len(list); n > collectorsMax {
		t.problem("collector", "", "has %d URLs, at most %d", n, collectorsMax)
	}
	return list
}

// checkCollector refuses what is not https://HOST[:PORT]. It never repeats more
// than that: a URL may carry a password.
func checkCollector(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("is not a URL")
	case u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%s is not https://HOST[:PORT]", show(u.Redacted()))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("%s has more than a host and a port", show(u.Scheme+"://"+u.Host))
	}
	if p := u.Port(); p != "" {
		if _, err := net.LookupPort("tcp", p); err != nil {
			return fmt.Errorf("%s has no port from 1 to 65535", show(text))
		}
	}
	return nil
}
