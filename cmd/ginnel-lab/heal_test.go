package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(i+1))
	}
	for _, x := range []struct {
		of   []time.Duration
		p    int
		want time.Duration
	}{
		{took, 99, 198}, {took, 50, 100}, {took[:20], 99, 20}, {took[:20], 50, 10}, {took[:1], 50, 1}, {took[:2], 99, 2},
	} {
		if got := percentile(x.of, x.p); got != x.want {
			t.Errorf("percentile %d of %d: %d, want %d", x.p, len(x.of), got, x.want)
		}
	}
}

// What is somebody else's must not be taken for ours: nobody would see it change.
func TestOursByItsTag(t *testing.T) {
	for line, want := range map[string]bool{
		"6024:\tfrom 192.168.10.0/24 lookup 21688 proto 103":                      true,
		"unreachable 198.51.100.0/24 table 21688 proto 103 metric 4278198272":     true,
		"local 100.64.0.7 dev gn-kestrel-nc5e table local proto kernel":           true,
		"31003:\tfrom 192.168.206.3 lookup 998":                                   false,
		"192.168.202.0/24 via 192.168.200.9 dev br-other proto 104 metric 1024":   false,
		"192.168.201.0/24 via 192.168.200.103 dev br-other proto 102 metric 103 ": false,
		"5: gnat0@gnat1: <BROADCAST,UP> mtu 1400 alias not ginnel's":              false,
	} {
		if got := isOurs(line); got != want {
			t.Errorf("%q is ours: %v", line, got)
		}
	}
}

func TestDiffering(t *testing.T) {
	got := differing("one\ntwo\ntwo\nthree\n", "one\ntwo\nfour\n")
	if want := []string{"+ four", "- three", "- two"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// The other config must differ in each of its parts, or a crash between the two
// has little to do.
func TestOtherConfig(t *testing.T) {
	const a = `[[network]]
name = "kestrel"
address = ["100.64.0.7/32"]
allowed_ips = ["100.64.0.1/32", "198.51.100.0/24"]
[[network]]
name = "heron"
address = ["100.64.64.7/32"]
allowed_ips = ["100.64.64.1/32", "203.0.113.0/24"]
`
	b := otherConfig(a)
	for _, want := range []string{`"osprey"`, "100.64.192.7", "100.64.0.107/32", "100.65.19.0/24", "203.0.113.128/25", "198.51.100.0/25"} {
		if !strings.Contains(b, want) {
			t.Errorf("%s is not in it:\n%s", want, b)
		}
	}
	if strings.Contains(b, `"heron"`) {
		t.Errorf("heron is in it:\n%s", b)
	}
}
