package main

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/ginnel/ginnel/agent"
	"github.com/ginnel/ginnel/agent/config"
)

// The collectors that a config names are not to be covered by its prefixes either.
func TestPlacesOfCollectors(t *testing.T) {
	h := &hostSide{paths: agent.DefaultPaths(t.TempDir())}
	_, collector := h.places(t.Context(), &config.Config{Hash: "ab12", Collector: []string{"https://192.0.2.80:8443"}})
	if !slices.Equal(collector, []netip.Addr{netip.MustParseAddr("192.0.2.80")}) {
		t.Errorf("collectors at %v", collector)
	}
}
