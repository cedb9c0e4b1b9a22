package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/checks"
)

// What kinds object to stands among the other mistakes, and nothing twice.
func TestParseWithTellsAllAtOnce(t *testing.T) {
	text := `gateway = "Avocet 1"
[[network]]
name    = "kestrel"
address = ["100.64.0.7/32"]
[[network.hub]]
name        = "hub-north"
public_key  = "OYqDrg1mdCZQm+SBsF6wRqHNv5vi4Pdqhb+kn2p+ll8="
endpoints   = ["hub-north.example.net:51820"]
allowed_ips = ["100.64.0.1/32"]
[[check]]
name   = "records"
kind   = "tcpp"
target = "198.51.100.20:443"
[[check]]
name   = "results"
kind   = "TCP"
target = "198.51.100.20:443"
`
	validate := func(s checks.Spec) error {
		return fmt.Errorf("kind %q: %w", s.Kind, checks.ErrNoKind)
	}
	_, err := config.ParseWith("desired.toml", []byte(text), validate)
	problems, ok := errors.AsType[config.Problems](err)
	if !ok || len(problems) != 3 {
		t.Fatalf("%v", err)
	}
	for i, want := range []string{"desired.toml:1:11: gateway: ", `desired.toml:12:10: check[0].kind: kind "tcpp"`, "desired.toml:16:10: check[1].kind: "} {
		if got := problems[i].OneLine(); !strings.HasPrefix(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%d: %q, want one line that begins with %q", i, got, want)
		}
	}
}
