package spool

import (
	"fmt"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

// BenchmarkSample counts results of a thousand checks, one after the other.
func BenchmarkSample(b *testing.B) {
	s, err := Open(b.TempDir(), Options{Gateway: "avocet-1"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var subjects []Subject
	for i := range 1000 {
		subjects = append(subjects, Subject{Class: block.CheckClass, Name: fmt.Sprint("check", i), Target: "198.51.100.20", StandsFor: "records"})
		if err := s.SetState(subjects[i], checks.Up); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	r := checks.Result{Verdict: checks.OK, Sent: 1, Received: 1, RTT: make([]time.Duration, 1)}
	for i := 0; b.Loop(); i++ {
		r.RTT[0] = 11*time.Millisecond + time.Duration(i%997)*time.Microsecond
		if err := s.Sample(subjects[i%1000], r); err != nil {
			b.Fatal(err)
		}
	}
}
