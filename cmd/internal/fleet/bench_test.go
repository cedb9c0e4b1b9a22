package fleet_test

import (
	"testing"

	"github.com/ginnel/ginnel/cmd/internal/fleet"
	"github.com/ginnel/ginnel/cmd/internal/fleet/fleettest"
)

// BenchmarkTenThousand reads and compiles a fleet of ten thousand sites.
func BenchmarkTenThousand(b *testing.B) {
	dir := b.TempDir()
	if _, err := fleettest.Write(dir, 10_000, fleettest.Signers); err != nil {
		b.Fatal(err)
	}
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, err := fleet.Load(dir); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("compile", func(b *testing.B) {
		f, err := fleet.Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := f.CompileAll(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
