package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block/evidence"
)

// A list of evidence stays within the width, whatever was seen.
func TestEvidenceList(t *testing.T) {
	list := []evidence.Entry{{ID: "20261123T070410-11c39dc3", At: time.Date(2026, 11, 23, 7, 4, 7, 0, time.UTC), Name: "heron/hub-south",
		Text: "Patient records went from up to down: connecting to 198.51.100.20:443: no answer in time"}}
	var out bytes.Buffer
	if err := writeEntries(&out, list, time.UTC); err != nil {
		t.Fatal(err)
	}
	want := `20261123T070410-11c39dc3  Mon 23 Nov 07:04:07  heron/hub-south
    Patient records went from up to down: connecting to 198.51.100.20:443: no
    answer in time
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
