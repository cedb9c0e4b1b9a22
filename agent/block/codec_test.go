package block_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
	"github.com/ginnel/ginnel/checks/hist"
)

var update = flag.Bool("update", false, "write the golden block anew: only together with a new version byte")

var sameHistogram = cmp.Comparer(func(a, b *hist.Histogram) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, _ := a.AppendBinary(nil)
	y, _ := b.AppendBinary(nil)
	return bytes.Equal(x, y)
})

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// minute is a minute of avocet-1 with n checks, one tunnel and the site.
func minute(n int, every time.Duration) *block.Block {
	random := rand.New(rand.NewPCG(1, 2))
	b := &block.Block{
		Gateway: "avocet-1", Epoch: 0x0123456789abcdef, First: 4711, Sequence: 4711,
		Boot: "6a1f7f1e-0c51-4a39-9d52-8f6f5e0a7c11", Start: noon, Length: time.Minute,
	}
	add := func(s block.Subject, rtt time.Duration) {
		s.State, s.Since = checks.Up, noon.Add(-time.Duration(random.IntN(30*24*3600*1000))*time.Millisecond)
		if rtt > 0 {
			s.RTT = new(hist.Histogram)
			for range int(time.Minute / every) {
				s.OK, s.Sent, s.Received = s.OK+1, s.Sent+1, s.Received+1
				s.RTT.Add(rtt + time.Duration(random.ExpFloat64()*float64(rtt)/10))
			}
		}
		b.Subjects = append(b.Subjects, s)
	}
	add(block.Subject{Class: block.SiteClass, Name: "avocet-1"}, 0)
	add(block.Subject{Class: block.TunnelClass, Name: "kestrel/hub-north", Network: "kestrel"}, 11*time.Millisecond)
	for i := range n {
		add(block.Subject{
			Class: block.CheckClass, Name: fmt.Sprintf("service-%d", i), Network: "kestrel",
			Target: fmt.Sprintf("198.51.100.%d:443", 20+i), StandsFor: fmt.Sprintf("Service number %d", i),
		}, time.Duration(5+i)*time.Millisecond)
	}
	return b
}

// eventful has something in every field.
func eventful() *block.Block {
	b := minute(3, 10*time.Second)
	b.First, b.Start, b.Length = 4707, noon.Add(250*time.Millisecond), 5*time.Minute+7
	b.Subjects[2].State = checks.Down
	b.Subjects[2].Cause = block.Cause{Reason: checks.Timeout, Code: "GN-HUB-02", Text: "hub-south did not answer", Owner: "centre"}
	b.Subjects[3].Since = time.Time{}
	b.Subjects[4].Degraded, b.Subjects[4].Failed, b.Subjects[4].Unknown = 1, 2, math.MaxUint32
	b.Edges = []block.Edge{
		{At: noon.Add(-41 * time.Second), Class: block.TunnelClass, Name: "kestrel/hub-north", From: checks.Up, To: checks.Down,
			Reason: checks.NoHandshake, Code: "GN-HUB-02", Text: "hub-north did not answer, é", Owner: "centre"},
		{At: noon.Add(3*time.Second + 123456789), Class: block.CheckClass, Name: "service-1", From: checks.Up, To: checks.UnknownState, Reason: checks.Blocked},
		{At: noon.Add(time.Minute), Class: block.SiteClass, Name: "avocet-1", From: checks.DegradedState, To: checks.MaintenanceMode},
	}
	b.Gaps = []block.Gap{
		{From: noon.Add(-9 * time.Minute), To: noon, Reason: block.GatewayOff},
		{From: time.Date(1970, 1, 1, 0, 0, 4, 5, time.UTC), To: noon, Reason: block.ClockStepped},
		{From: noon, To: noon.Add(5 * time.Minute), Reason: block.Thinned},
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	one := &block.Block{Gateway: "a", First: 1, Sequence: 1, Start: noon, Length: 1}
	for _, want := range []*block.Block{one, minute(0, time.Second), minute(20, 10*time.Second), eventful()} {
		packed, err := block.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := block.Decode(packed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, sameHistogram); diff != "" {
			t.Errorf("not what was packed (-want +got):\n%s", diff)
		}
		name, err := block.NameOf(packed)
		if err != nil || name != want.Name() {
			t.Errorf("NameOf = %+v, %v; want %+v", name, err, want.Name())
		}
	}
}

// TestGolden fails when blocks in spools and stores of today could no longer be read.
func TestGolden(t *testing.T) {
	file := filepath.Join("testdata", "v1.block.hex")
	if *update {
		packed, err := block.Encode(eventful())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(hex.EncodeToString(packed)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := block.Decode(packed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(eventful(), got, sameHistogram); diff != "" {
		t.Errorf("the golden block reads otherwise (-want +got):\n%s", diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name, want string
		change     func(*block.Block)
	}{
		{"no gateway", "packing block 4711: gateway has no name", func(b *block.Block) { b.Gateway = "" }},
		{"no sequence", "packing block 0: it stands for 0 to 0, which is no range from 1", func(b *block.Block) { b.First, b.Sequence = 0, 0 }},
		{"range backwards", "packing block 4711: it stands for 4712 to 4711, which is no range from 1", func(b *block.Block) { b.First = 4712 }},
		{"no length", "packing block 4711: length 0s is not above 0", func(b *block.Block) { b.Length = 0 }},
		{"no state", `packing block 4711: state "" is not known`, func(b *block.Block) { b.Subjects[0].State = "" }},
		{"class", `packing block 4711: class "door" is not known`, func(b *block.Block) { b.Subjects[0].Class = "door" }},
		{"time", "packing block 4711: time 0009-01-01 00:00:00 +0000 UTC is out of range", func(b *block.Block) {
			b.Subjects[0].Since = time.Date(9, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		{"text", `packing block 4711: "\xff" is not UTF-8`, func(b *block.Block) { b.Subjects[0].Target = "\xff" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := minute(1, time.Second)
			tt.change(b)
			if _, err := block.Encode(b); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestDecodeRefusesDamage changes and cuts every byte.
func TestDecodeRefusesDamage(t *testing.T) {
	packed, err := block.Encode(eventful())
	if err != nil {
		t.Fatal(err)
	}
	for i := range packed {
		if _, err := block.Decode(packed[:i]); err == nil {
			t.Errorf("%d of %d bytes were accepted", i, len(packed))
		}
		bad := bytes.Clone(packed)
		bad[i] ^= 0x10
		if _, err := block.Decode(bad); err == nil {
			t.Errorf("byte %d changed, and it was accepted", i)
		}
	}
	if _, err := block.Decode(append(packed, 0)); err == nil {
		t.Error("a byte too many was accepted")
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, every := range []time.Duration{10 * time.Second, 30 * time.Second} {
		b.Run(fmt.Sprintf("20checks-%v", every), func(b *testing.B) {
			m := minute(20, every)
			var packed []byte
			b.ReportAllocs()
			for b.Loop() {
				packed, _ = block.Encode(m)
			}
			b.ReportMetric(float64(len(packed)), "bytes/minute")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	packed, err := block.Encode(minute(20, 10*time.Second))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := block.Decode(packed); err != nil {
			b.Fatal(err)
		}
	}
}
