package fhir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/reach"
)

// statement is what we keep of a CapabilityStatement.
type statement struct {
	fhir     string // fhirVersion
	software string // name and version
	hash     string // of all of it but its date, hex
}

// judge reads an answer. A zero statement without a fault is one that wants a
// login first: such a server has been reached, and we have none.
func judge(answer *http.Response, body []byte, version string) (statement, *reach.Fault) {
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return statement{}, nil
	case code >= 300 && code < 400:
		return statement{}, reach.Fail(checks.Assertion, checks.PhaseAssert, "it sends us on (status %d) to %q: the base in the config is not its own", code, answer.Header.Get("Location"))
	case code != http.StatusOK:
		return statement{}, reach.Fail(checks.Assertion, checks.PhaseAssert, "status %d, not 200", code)
	case len(body) > bodyMost:
		return statement{}, reach.Fail(checks.Protocol, checks.PhaseResponse, "an answer of more than %d bytes", bodyMost)
	}
	got, err := parse(body)
	switch {
	case err != nil:
		return got, reach.Fail(checks.Protocol, checks.PhaseResponse, "%v", err)
	case !strings.HasPrefix(got.fhir, version):
		return got, reach.Fail(checks.Assertion, checks.PhaseAssert, "it speaks FHIR %s, not %s", got.fhir, version)
	}
	return got, nil
}

// parse reads a CapabilityStatement.
func parse(body []byte) (statement, error) {
	var all map[string]any
	if err := json.Unmarshal(body, &all); err != nil {
		return statement{}, fmt.Errorf("the answer is no JSON: %w", err)
	}
	if kind, _ := all["resourceType"].(string); kind != "CapabilityStatement" && kind != "Conformance" { // DSTU2's name
		return statement{}, fmt.Errorf("the answer is a %q, not a CapabilityStatement", kind)
	}
	s := statement{fhir: cmp.Or(word(all["fhirVersion"]), "unknown")}
	if software, ok := all["software"].(map[string]any); ok {
		s.software = strings.TrimSpace(word(software["name"]) + " " + word(software["version"]))
	}
	delete(all, "date") // servers write the time of the answer there
	sorted, err := json.Marshal(all)
	if err != nil {
		return s, err
	}
	sum := sha256.Sum256(sorted)
	s.hash = hex.EncodeToString(sum[:])
	return s, nil
}

// word is a string of foreign JSON, fit for a line.
func word(v any) string {
	s, _ := v.(string)
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "")
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
}

func (s statement) String() string {
	return fmt.Sprintf("%s, FHIR %s, statement %.12s", cmp.Or(s.software, "unnamed"), s.fhir, s.hash)
}

// remember says what answers, and in the agent's log when that has changed.
func (c *check) remember(r *checks.Result, got statement) {
	r.Detail = got.String()
	if c.before != (statement{}) && c.before != got {
		r.Detail = fmt.Sprintf("changed: %s; until now %s", got, c.before)
		fmt.Fprintf(os.Stderr, "check %s: it has changed: %s, until now %s\n", c.target.Check, got, c.before)
	}
	c.before = got
}
